"""A certificate authority kept with the `openssl` command, for clients' certificates."""

import datetime
import subprocess

from .child import PATIENCE

CONFIG = """
[req]
distinguished_name = unused
[unused]
[ca]
default_ca = clients
[clients]
database = index.txt
serial = serial
crlnumber = crlnumber
new_certs_dir = .
certificate = ca.pem
private_key = ca.key
default_md = sha256
default_crl_days = 1
policy = any
unique_subject = no
[any]
organizationName = optional
commonName = optional
[authority]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
"""


class ClientAuthority:
    """Signs what it is asked to, and keeps a list of what it took back."""

    def __init__(self, folder, name):
        self.folder, self.file, self.crl = folder, folder / "ca.pem", folder / "ca.crl"
        folder.mkdir()
        (folder / "openssl.cnf").write_text(CONFIG)
        (folder / "index.txt").touch()
        (folder / "serial").write_text("1000\n")
        (folder / "crlnumber").write_text("01\n")
        self._new_key("ca", f"/CN={name}", "-x509", "-days", "1", "-extensions", "authority", out="ca.pem")
        self.publish()

    def _run(self, *command):
        ran = subprocess.run(["openssl", *command], cwd=self.folder, capture_output=True, text=True, timeout=PATIENCE)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    def _new_key(self, name, subject, *more, out):
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-keyout", f"{name}.key")
        self._run("req", "-new", *key, "-config", "openssl.cnf", "-subj", subject, "-out", out, *more)

    def issue(self, name, subject, names="DNS:client.example.com", usage="clientAuth", ends=None):
        """Certificate and key of a client, as files; `ends` is seconds since 1970, a day from now if it is not said."""
        self._new_key(name, subject, out=f"{name}.csr")
        (self.folder / f"{name}.ext").write_text(f"extendedKeyUsage = {usage}\nsubjectAltName = {names}\n")
        now = datetime.datetime.now(datetime.timezone.utc)
        end = now + datetime.timedelta(days=1) if ends is None else datetime.datetime.fromtimestamp(ends, datetime.timezone.utc)
        dates = []
        for option, date in (("-startdate", now - datetime.timedelta(days=2)), ("-enddate", end)):
            dates += [option, f"{date:%Y%m%d%H%M%S}Z"]
        files = ("-in", f"{name}.csr", "-out", f"{name}.pem", "-extfile", f"{name}.ext")
        self._run("ca", "-batch", "-notext", "-config", "openssl.cnf", *files, *dates)
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    def revoke(self, name):
        self._run("ca", "-config", "openssl.cnf", "-revoke", f"{name}.pem")
        self.publish()

    def publish(self):
        """Writes the list of what was revoked."""
        self._run("ca", "-config", "openssl.cnf", "-gencrl", "-out", "ca.crl")

    def fingerprint(self, name):
        """The SHA-256 of the certificate."""
        said = self._run("x509", "-in", f"{name}.pem", "-noout", "-fingerprint", "-sha256")
        return bytes.fromhex(said.partition("=")[2].strip().replace(":", ""))
