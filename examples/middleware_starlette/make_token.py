"""Plays the authorization server: makes a key pair once (key.pem, keys.json) and prints an access token. Never do this in earnest."""

from __future__ import annotations

import argparse
import json
import time
import uuid
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from jwt.algorithms import ECAlgorithm

HERE = Path(__file__).parent


def key(folder: Path) -> ec.EllipticCurvePrivateKey:
    """The private key, made when there is none; its public half in keys.json is what gateway.yaml names."""
    file = folder / "key.pem"
    if not file.exists():
        made = ec.generate_private_key(ec.SECP256R1())
        file.write_bytes(made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        public = {**ECAlgorithm.to_jwk(made.public_key(), as_dict=True), "kid": "example", "use": "sig", "alg": "ES256"}
        (folder / "keys.json").write_text(json.dumps({"keys": [public]}))
    found = load_pem_private_key(file.read_bytes(), None)
    assert isinstance(found, ec.EllipticCurvePrivateKey)
    return found


def token(scope: str, patient: str | None, folder: Path = HERE) -> str:
    """An access token of one hour."""
    now = int(time.time())
    claims = {
        "iss": "https://issuer.example",
        "aud": "http://127.0.0.1:8000/fhir",
        "sub": "amy",
        "client_id": "example-app",
        "jti": str(uuid.uuid4()),
        "iat": now,
        "exp": now + 3600,
        "scope": scope,
    }
    if patient is not None:
        claims["patient"] = patient
    return jwt.encode(claims, key(folder), "ES256", headers={"kid": "example", "typ": "at+jwt"})


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--scope", default="patient/*.rs")
    parser.add_argument("--patient", default="amy")
    given = parser.parse_args()
    print(token(given.scope, given.patient))
