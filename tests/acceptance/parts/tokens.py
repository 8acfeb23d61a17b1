"""Keys, and tokens made by PyJWT and python-jose, as an identity provider would."""

import base64
import json
import time

import jose.jwt
import jwt
from cryptography.hazmat.primitives import hashes, hmac, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

SECRET = "an acceptance test's secret, longer than any hash it is used with: 0123456789"
ISSUER = "https://id.example.com/"


class Keys:
    """One key pair of each kind, in the forms that libraries and the gateway read."""

    def __init__(self, folder):
        self.private = {
            "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
            "ES256": ec.generate_private_key(ec.SECP256R1()),
            "EdDSA": ed25519.Ed25519PrivateKey.generate(),
        }
        self.folder = folder
        for algorithm in self.private:
            self.public_file(algorithm).write_bytes(self.public_pem(algorithm))
        jwks = [self.jwk(algorithm) for algorithm in self.private]
        self.jwks_file = folder / "jwks.json"
        self.jwks_file.write_text(json.dumps({"keys": jwks}))

    def public_file(self, algorithm):
        return self.folder / f"{algorithm}.pem"

    def public_pem(self, algorithm):
        encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        return self.private[algorithm].public_key().public_bytes(encoding, form)

    def _key(self, algorithm):
        kind = algorithm if algorithm == "EdDSA" else algorithm[:2].replace("PS", "RS") + "256"
        return self.private[kind]

    def signer(self, algorithm):
        """What a library signs with: the secret, or the private key as PEM."""
        if algorithm.startswith("HS"):
            return SECRET
        encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        return self._key(algorithm).private_bytes(encoding, form, serialization.NoEncryption()).decode()

    def jwk(self, algorithm):
        key = self.private[algorithm].public_key()
        written = jwt.get_algorithm_by_name(algorithm).to_jwk(key, as_dict=True)
        return {**written, "kid": f"key-{algorithm}", "use": "sig", "alg": algorithm}


def claims(subject="alice", lifetime=600, **more):
    """What the routes want, with `more` on top; a claim that is None is left out."""
    now = int(time.time())
    said = {"sub": subject, "iss": ISSUER, "aud": "chat", "iat": now, "exp": now + lifetime, **more}
    return {name: value for name, value in said.items() if value is not None}


def by_pyjwt(keys, algorithm, said, headers=None):
    return jwt.encode(said, keys.signer(algorithm), algorithm=algorithm, headers=headers)


def by_jose(keys, algorithm, said, headers=None):
    return jose.jwt.encode(said, keys.signer(algorithm), algorithm=algorithm, headers=headers)


def part(data):
    """base64url without padding (RFC 7515 s2)."""
    return base64.urlsafe_b64encode(data if isinstance(data, bytes) else json.dumps(data).encode()).rstrip(b"=").decode()


def forged(header, said, sign=lambda message: b""):
    """A token put together by hand, for what no library makes."""
    message = f"{part(header)}.{part(said)}"
    return f"{message}.{part(sign(message.encode()))}"


def hs256(secret):
    """Signs as HS256 does, with anything."""

    def sign(message):
        mac = hmac.HMAC(secret, hashes.SHA256())
        mac.update(message)
        return mac.finalize()

    return sign
