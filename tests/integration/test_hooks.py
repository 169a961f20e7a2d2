"""The operator's own code between real Keycloak's tokens and real HAPI: it refuses, limits, and fails closed."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from tests.integration.app import MakeApp, refused
from tests.integration.records import EVERYBODY
from tests.integration.servers.gateway import Gateway, StartGateway
from tests.integration.servers.keycloak import Keycloak

HOOK = """
    import asyncio

    from smart_gateway import Amendment, Principal, Refusal


    async def consent(principal: Principal) -> Amendment | Refusal:
        if principal.patient == "pat-b":
            return Refusal("Consent was withdrawn.")
        if principal.patient == "pat-w":
            raise RuntimeError("no such table")
        if principal.user_kind == "RelatedPerson":
            await asyncio.sleep(60)
        if principal.user_kind == "Practitioner":
            return Amendment(limit=["user/Observation.rs?category=laboratory", "user/Patient.rs"])
        return Amendment(scopes="user/*.cruds") if principal.user_kind == "none" and principal.patient is None else Amendment()
"""


@pytest.fixture(scope="module")
def hooked(gateways: StartGateway, settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Gateway:
    folder: Path = tmp_path_factory.mktemp("hooks")
    (folder / "ward_hooks.py").write_text(dedent(HOOK))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        return gateways({**settings, "hooks": {"principal": "ward_hooks:consent", "timeout": "300ms"}})


def test_who_the_hook_lets_be_is_judged_as_ever(as_user: MakeApp, hooked: Gateway) -> None:
    amy = as_user("amy", "patient/*.rs", sees="a", at=hooked)
    assert amy.get("/Patient/pat-a").status_code == 200
    refused(amy.get("/Patient/pat-b"), 404)


def test_a_refusal_is_said_in_the_hooks_words_and_recorded(as_user: MakeApp, hooked: Gateway) -> None:
    answer = as_user("ben", "patient/*.rs", at=hooked).get("/Patient/pat-b")
    refused(answer, 403, "refused-by-hook")
    assert "Consent was withdrawn." in answer.text
    (event,) = hooked.events_of(answer.headers["x-request-id"])
    assert (event["outcome"], event["code"], event["patient"]) == ("deny", "refused-by-hook", "pat-b")


def test_a_limit_narrows_what_goes_upstream_and_what_comes_back(as_user: MakeApp, hooked: Gateway) -> None:
    limited = as_user("dr-house", "user/*.rs", sees=EVERYBODY, at=hooked)
    assert as_user("dr-house", "user/*.rs", sees=EVERYBODY).get("/Condition").status_code == 200
    found = [entry["resource"] for entry in limited.get("/Observation?_count=50").json().get("entry", ())]
    assert found
    assert all(any(coding["code"] == "laboratory" for group in one["category"] for coding in group["coding"]) for one in found)
    refused(limited.get("/Condition"), 403)


@pytest.mark.parametrize("user", ["wanda", "rita", "nobody"])
def test_a_hook_that_fails_is_late_or_would_widen_lets_nobody_in(as_user: MakeApp, hooked: Gateway, user: str) -> None:
    answer = as_user(user, "patient/*.rs", "user/*.rs", at=hooked).get("/Patient/pat-a")
    refused(answer, 503, "dependency-unavailable")
    assert "no such table" not in hooked.messages()


def test_the_public_face_asks_nobody(app: MakeApp, hooked: Gateway, keycloak: Keycloak) -> None:
    assert app(None, at=hooked).get("/metadata").status_code == 200
    refused(app(None, at=hooked).get("/Patient/pat-a"), 401, "token-missing")
