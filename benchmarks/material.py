"""What is asked and answered: one resource, two searchsets, and tokens that the gateway verifies for real."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

ISSUER = "http://127.0.0.1/issuer"
PATIENT = "pat-a"
_KEY_ID = "bench"


def observation(id: str) -> dict[str, Any]:
    """An Observation of PATIENT of a little under 2 kB, as servers store it."""
    filler = "The quick brown fox jumps over the lazy dog. " * 20
    return {
        "resourceType": "Observation",
        "id": id,
        "meta": {"versionId": "1", "lastUpdated": "2026-01-01T00:00:00.000+00:00"},
        "text": {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{filler}</div>'},
        "status": "final",
        "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "laboratory"}]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4", "display": "Heart rate"}]},
        "subject": {"reference": f"Patient/{PATIENT}"},
        "encounter": {"reference": "Encounter/enc-1"},
        "effectiveDateTime": "2026-01-01T10:00:00Z",
        "performer": [{"reference": "Practitioner/prac-1"}],
        "valueQuantity": {"value": 72.5, "unit": "/min", "system": "http://unitsofmeasure.org", "code": "/min"},
        "referenceRange": [{"low": {"value": 60.0, "unit": "/min"}, "high": {"value": 100.0, "unit": "/min"}}],
    }


def searchset(count: int) -> dict[str, Any]:
    """A searchset of ``count`` Observations: one is about 2 kB, 27 about 50 kB."""
    base = "http://127.0.0.1/fhir"
    entries = [{"fullUrl": f"{base}/Observation/o{i}", "resource": observation(f"o{i}"), "search": {"mode": "match"}} for i in range(count)]
    return {"resourceType": "Bundle", "id": "b", "type": "searchset", "total": count, "entry": entries}


class Tokens:
    """A key of our own: its public half as a key set file, its private half signs what the load tests carry."""

    def __init__(self, folder: Path) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = jwt.algorithms.RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        self.jwks = folder / "jwks.json"
        self.jwks.write_text(json.dumps({"keys": [public | {"kid": _KEY_ID, "use": "sig", "alg": "RS256"}]}))

    def make(self, scope: str, audience: str, **claims: Any) -> str:
        """An access token that lives for an hour."""
        now = int(time.time())
        payload = {"iss": ISSUER, "aud": audience, "sub": "bench", "client_id": "bench", "iat": now, "exp": now + 3600, "scope": scope}
        return jwt.encode(payload | claims, self._key, algorithm="RS256", headers={"kid": _KEY_ID, "typ": "at+jwt"})
