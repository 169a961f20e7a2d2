"""Settings that change while clients ask: no answer by a mix of two policies, none by the old one once the new one is in force."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from smart_gateway.cli.serving import server
from smart_gateway.demo.fhir_server import DemoServer
from smart_gateway.demo.records import demo_records
from tests.cli.test_serve import ISSUER, PUBLIC, serving
from tests.support.reloading import Ask, Flipping

OPEN = {
    "clients": {"portal": {"limit": ["patient/Observation.rs", "patient/Patient.rs"]}, "ward": {}},
    "users": {"Practitioner": "everything"},
}
CLOSED = {
    "clients": {"portal": {"limit": ["patient/Condition.rs"]}, "ward": {}},
    "users": [{"when": {"claim": {"shift": "night"}}, "boundary": ["user/Patient.rs?gender=${claim.cares_for}"]}],
    "fields": [{"type": "Patient", "permissions": "rs", "hide": ["birthDate"]}],
}


def token(client: str, **claims: object) -> str:
    return ISSUER.token(now=time.time(), audience=PUBLIC, client_id=client, **claims)


def asks() -> list[Ask]:
    """Each of them is answered in another way by each of the two policies."""
    amy = token("portal", scope="patient/*.rs", patient="amy")
    lee = token("ward", scope="user/*.cruds", fhirUser="Practitioner/dr-lee", patient=..., shift="night", cares_for="male")
    return [
        Ask(amy, "/Observation"),
        Ask(amy, "/Condition"),
        Ask(amy, "/Observation?_include=Observation:subject"),
        Ask(lee, "/Patient"),
        Ask(lee, "/Patient?_revinclude=Observation:subject"),
        Ask(lee, "/Patient?birthdate=gt1900"),
    ]


@contextmanager
def fhir_server() -> Iterator[str]:
    """The demonstration's FHIR server on loopback, in a thread."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        base = f"http://127.0.0.1:{bound.getsockname()[1]}/fhir"
        running = server(DemoServer(demo_records(), base_url=base), "httptools", lifespan=False)
        thread = threading.Thread(target=running.run, args=([bound],))
        thread.start()
        try:
            yield base
        finally:
            running.should_exit = True
            thread.join()


@pytest.mark.parametrize("workers", [1, 2])
async def test_no_answer_is_by_a_mix_of_two_policies(tmp_path: Path, workers: int) -> None:
    config, policy = tmp_path / "gateway.yaml", tmp_path / "policy.yaml"
    (tmp_path / "keys.json").write_text(json.dumps(ISSUER.jwks()))
    policy.write_text("{}")
    with fhir_server() as url:
        config.write_text(
            f"server: {{public_url: {PUBLIC}, listen: '127.0.0.1:0', management: '127.0.0.1:0'}}\n"
            f"upstream: {{url: '{url}', fhir_version: R4}}\n"
            f"issuers: [{{issuer: {ISSUER.issuer}, jwks_file: keys.json}}]\n"
            "policy: policy.yaml\n"
        )
        with serving(config, "--workers", str(workers)) as gateway:
            if workers > 1:
                gateway.said("CapabilityStatement was read", workers)
            flipping = Flipping(gateway.base, gateway.process.pid, policy, gateway.log.read_text, (OPEN, CLOSED), workers)
            await flipping.hold(asks(), flips=8)
            assert gateway.stop() == 0
    assert "Traceback" not in gateway.log.read_text()
