"""Three libraries as identity providers: each with a key of its own for every algorithm that it has."""

import dataclasses
import json
import pathlib
import secrets
import subprocess

import jose.exceptions
import jose.jwk
import jose.jwt
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from .child import PATIENCE

# What the gateway knows; a test compares it with the schema that the gateway prints.
SECRETS = {"HS256": 32, "HS384": 48, "HS512": 64}
PAIRS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"]
ALGORITHMS = [*SECRETS, *PAIRS]
NODE = pathlib.Path(__file__).resolve().parent.parent / "node"


@dataclasses.dataclass
class Minted:
    """One algorithm of one library: two tokens with the same claims, and the key of the first."""

    token: str
    # Signed by a key that the gateway does not know.
    stranger: str
    # Of a shared secret, the text; of a key pair, the public key in both forms.
    secret: str | None = None
    pem: str | None = None
    jwk: dict | None = None


def _pair(algorithm):
    """A fresh private key as PEM, and its public one."""
    if algorithm == "EdDSA":
        private = ed25519.Ed25519PrivateKey.generate()
    elif algorithm.startswith("ES"):
        private = ec.generate_private_key(ec.SECP256R1() if algorithm == "ES256" else ec.SECP384R1())
    else:
        private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    public = private.public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private.private_bytes(encoding, form, serialization.NoEncryption()).decode(), public.decode()


def _of_python(encode, to_jwk, algorithms, said):
    minted = {}
    for algorithm in algorithms:
        claims, headers = {**said, "sub": algorithm}, {"kid": f"key-{algorithm}"}
        if algorithm in SECRETS:
            own, other = (secrets.token_hex(SECRETS[algorithm]) for _ in range(2))
            key = {"secret": own}
        else:
            (own, pem), (other, _) = _pair(algorithm), _pair(algorithm)
            key = {"pem": pem, "jwk": {**to_jwk(pem, algorithm), "kid": f"key-{algorithm}", "alg": algorithm, "use": "sig"}}
        tokens = [encode(claims, signer, algorithm=algorithm, headers=headers) for signer in (own, other)]
        minted[algorithm] = Minted(*tokens, **key)
    return minted


def pyjwt(said):
    def to_jwk(pem, algorithm):
        known = jwt.get_algorithm_by_name(algorithm)
        return known.to_jwk(known.prepare_key(pem), as_dict=True)

    return _of_python(jwt.encode, to_jwk, ALGORITHMS, said)


def python_jose_lacks():
    """The algorithms that python-jose can't make a key for."""

    def lacks(algorithm):
        try:
            jose.jwk.construct(secrets.token_hex(64) if algorithm in SECRETS else _pair(algorithm)[1], algorithm)
        except jose.exceptions.JWKError:
            return True
        return False

    return [algorithm for algorithm in ALGORITHMS if lacks(algorithm)]


def python_jose(said):
    def to_jwk(pem, algorithm):
        return jose.jwk.construct(pem, algorithm).to_dict()

    has = [algorithm for algorithm in ALGORITHMS if algorithm not in ("PS256", "PS384", "PS512", "EdDSA")]
    return _of_python(jose.jwt.encode, to_jwk, has, said)


def node_jose(said):
    command = ["node", "mint.mjs", json.dumps(said)]
    ran = subprocess.run(command, cwd=NODE, capture_output=True, text=True, timeout=PATIENCE)
    assert ran.returncode == 0, ran.stderr
    return {algorithm: Minted(**one) for algorithm, one in json.loads(ran.stdout).items()}
