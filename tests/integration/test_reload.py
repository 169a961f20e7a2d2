"""A policy that changes while clients ask, in front of real HAPI: batches and pages too are by one policy, never by two."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.servers.gateway import StartGateway
from tests.integration.ward import HIDDEN, OWN, Ward, label
from tests.support.reloading import Ask, Flipping

DAY: dict[str, Any] = {
    "clients": {"portal": {"limit": ["patient/Observation.rs", "patient/Patient.rs"]}, "ward": {}},
    "users": {"Practitioner": "everything"},
}
NIGHT: dict[str, Any] = {
    "clients": {"portal": {"limit": ["patient/Condition.rs"]}, "ward": {}},
    "users": [{"when": {"fhir_user": "Practitioner"}, "boundary": {"patients": {"from_claim": "care_team"}}}],
    "labels": {"ceiling": "N", "unlabelled": "N", "forbidden": [f"{OWN}|SUD"]},
    "fields": [{"type": "Patient", "permissions": "rs", "hide": ["birthDate"]}],
}


@pytest.fixture(autouse=True)
def records(ward: Ward) -> Iterator[None]:
    resources: list[dict[str, Any]] = []
    for name in ("p1", "p2"):
        subject = {"reference": f"Patient/rel-{name}"}
        resources += [
            {"resourceType": "Patient", "id": f"rel-{name}", "birthDate": "1970-01-01", "name": [{"family": "Reload"}]},
            {"resourceType": "Condition", "id": f"rel-c-{name}", "subject": subject},
            *({**_observation(subject), "id": f"rel-o{number}-{name}"} for number in range(2)),
            {**_observation(subject), "id": f"rel-r-{name}", "meta": {"security": [label("R")]}},
        ]
    ward.put(*resources)
    yield
    ward.delete(*(f"{r['resourceType']}/{r['id']}" for r in reversed(resources)))


def _observation(subject: dict[str, str]) -> dict[str, Any]:
    return {"resourceType": "Observation", "status": "final", "code": {"text": HIDDEN}, "subject": subject}


def asks(ward: Ward) -> list[Ask]:
    """Each of them is answered in another way by each of the two policies."""
    amy = ward.token("patient/*.rs", client_id="portal", fhirUser="Patient/rel-p1", patient="rel-p1")
    lee = ward.token("user/*.cruds", client_id="ward", care_team=["rel-p2"])
    each = ("Observation/rel-o0-p1", "Condition/rel-c-p1", "Observation?_id=rel-o1-p1", "Condition?_id=rel-c-p1")
    every = ("Patient/rel-p1", "Observation/rel-r-p2", "Patient/rel-p2", "Patient?_id=rel-p1", "Observation/rel-o0-p1/_history")
    family = "Patient?family=Reload"
    return [
        Ask(amy, "/Observation"),
        Ask(amy, "/Condition"),
        Ask(amy, "", each),
        Ask(amy, "/Observation?_include=Observation:subject"),
        Ask(lee, f"/{family}"),
        Ask(lee, f"/{family}&_revinclude=Observation:subject"),
        Ask(lee, "", every),
        Ask(lee, "/Observation/rel-r-p2"),
        Ask(lee, f"/{family}&birthdate=1970-01-01"),
    ]


async def test_no_answer_is_by_a_mix_of_two_policies(ward: Ward, gateways: StartGateway, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("{}")
    gateway = gateways(ward.settings(str(policy)))
    flipping = Flipping(gateway.base, gateway.running.process.pid, policy, gateway.messages, (DAY, NIGHT))
    await flipping.hold(asks(ward), flips=8)
