"""``explain`` says what the running gateway then does: both are asked the same few hundred questions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from smart_gateway.cli import main
from tests.integration.app import FHIR_JSON, FORM, MakeApp
from tests.integration.records import EVERYBODY, Resource, lab, record, transaction
from tests.integration.servers.gateway import Gateway
from tests.integration.servers.hapi import Hapi
from tests.integration.servers.keycloak import Keycloak
from tests.integration.servers.realm import LAB

USERS: list[tuple[str, tuple[str, ...], str]] = [  # user, scopes, whose records they may see
    ("amy", ("patient/*.rs",), "ac"),
    ("amy", ("patient/*.cruds",), "ac"),
    ("amy", ("patient/*.read",), "ac"),
    ("amy", ("patient/Observation.rs", "patient/Patient.r"), "ac"),
    ("amy", (f"patient/Observation.rs?category={LAB}",), "a"),
    ("amy", ("patient/Observation.rs?nonsense=1",), ""),
    ("amy", ("patient/Observation.write",), ""),
    ("amy", ("user/*.rs",), "ac"),
    ("dr-house", ("user/*.cruds",), EVERYBODY),
    ("dr-house", ("user/Observation.rs?status=final",), EVERYBODY),
    ("dr-wilson", ("patient/Observation.rs", "user/Patient.rs"), EVERYBODY),
    ("nobody", ("user/*.rs", "patient/*.rs"), ""),
]

QUESTIONS: list[tuple[str, str]] = [
    ("GET", "/Patient/pat-a"),
    ("GET", "/Patient/pat-b"),
    ("HEAD", "/Observation/lab-0-chart-a"),
    ("GET", "/Observation/lab-0-chart-a/_history/1"),
    ("GET", "/Observation/vital-0-chart-a"),
    ("GET", "/Observation/lab-1-chart-b"),
    ("GET", "/Observation/performed-by-anna"),
    ("GET", "/Practitioner/prac-1"),
    ("GET", "/Observation"),
    ("GET", "/Observation?code=8867-4&_count=2"),
    ("GET", "/Observation?patient=pat-a"),
    ("GET", "/Observation?patient=pat-b"),
    ("GET", "/Observation?category=laboratory&_sort=-date"),
    ("GET", "/Observation?_summary=count"),
    ("GET", "/Observation?_elements=status"),
    ("GET", "/Observation?_include=Observation:encounter"),
    ("GET", "/Observation?subject.name=x"),
    ("GET", "/Observation?nonsense=1"),
    ("GET", "/Observation?code:nonsense=1"),
    ("GET", "/Patient?_id=pat-b"),
    ("GET", "/Patient/pat-a/Observation"),
    ("GET", "/Patient/pat-b/Observation"),
    ("GET", "/Condition"),
    ("GET", "/Medication"),
    ("POST", "/Observation/_search"),
    ("DELETE", "/Observation/never-was"),
    ("GET", "/Patient/pat-a/$everything"),
    ("GET", "/Patient/_history"),
    ("GET", "/Nonsense"),
    ("GET", "/metadata"),
]

OURS = "explained-chart-a"  # Anna's, and only of these tests: who may change it, does
NEVER = "explained-never-was"


def observation(id: str = "", *, subject: str = "a", **more: Any) -> str:
    """Somebody's laboratory result to send, under an id of its own or new."""
    return json.dumps({**named(lab(subject, 0), id), **more})


def named(resource: Resource, id: str) -> Resource:
    """The resource under another id, or without one."""
    rest = {name: value for name, value in resource.items() if name != "id"}
    return {**rest, "id": id} if id else rest


WRITES: list[tuple[str, str, str]] = [
    ("POST", "/Subscription", json.dumps({"resourceType": "Subscription", "status": "off"})),
    ("PATCH", "/Observation/lab-0-chart-a", json.dumps({"resourceType": "Subscription", "status": "off"})),
    ("POST", "/Observation", observation()),
    ("POST", "/Observation", observation(subject="b")),
    ("POST", "/Observation", observation(performer=[{"reference": "Patient/pat-b"}])),
    ("POST", "/Observation", observation(status="preliminary", category=[{"text": "no category of the filters"}])),
    ("POST", "/Observation", observation().replace("{", '{"status": "draft", ', 1)),
    ("POST", "/Observation", json.dumps({"resourceType": "Patient"})),
    ("POST", "/Patient", json.dumps({"resourceType": "Patient", "name": [{"family": "Nobody"}]})),
    ("PUT", f"/Observation/{OURS}", observation(OURS)),
    ("PUT", f"/Observation/{OURS}", observation(OURS, subject="b")),
    ("PUT", f"/Observation/{OURS}", observation(OURS, performer=[{"reference": "Patient/pat-b"}])),
    ("PUT", f"/Observation/{OURS}", observation("lab-0-chart-a")),
    ("PUT", f"/Observation/{NEVER}", observation(NEVER)),
    ("PUT", f"/Observation/{NEVER}", observation(NEVER, subject="b")),
    ("PUT", "/Observation/lab-0-chart-b", json.dumps(lab("b", 0))),  # changes nothing, whoever is let through
    ("PUT", "/Patient/pat-b", json.dumps(next(record("b")))),
]

# What is stored counts as to be checked: found outside or absent it looks absent.
BY_WHAT_IS_STORED = {"read", "vread", "delete"}
# Outside every bounded token here, or absent: the gateway judges that before any body, which explain judges alone.
STORED_OUTSIDE = {"/Observation/lab-0-chart-b", f"/Observation/{NEVER}"}


@pytest.fixture
def ours(hapi: Hapi) -> Iterator[None]:
    """Anna's Observation that the writes are about; gone in the end."""
    hapi.put(transaction([named(lab("a", 0), OURS)]))
    yield
    remove(hapi, f"/Observation/{OURS}")


def remove(hapi: Hapi, target: str) -> None:
    """Deletes past the gateway."""
    httpx.delete(hapi.base + target, timeout=60, trust_env=False).raise_for_status()


def undo(hapi: Hapi, answer: httpx.Response, target: str) -> None:
    """What a write that was let through has left."""
    if answer.status_code == 201:
        created = answer.headers.get("location", target).partition("/_history")[0].split("/")
        remove(hapi, "/" + "/".join(created[-2:]))
    elif answer.status_code == 200 and target.endswith(OURS):
        hapi.put(transaction([named(lab("a", 0), OURS)]))


class Explainer:
    """The command, for one token before one gateway."""

    def __init__(self, capsys: pytest.CaptureFixture[str], gateway: Gateway, token: str, file: Path) -> None:
        self._options = ["--config", str(gateway.config), "--token", token, "--format", "json"]
        self._capsys, self._file = capsys, file

    def __call__(self, method: str, target: str, body: str | None = None) -> dict[str, Any]:
        """What it says, and that its exit code says the same."""
        self._file.write_text(body or "")
        code = main(["explain", *self._options, *(["--body", str(self._file)] if body else []), method, target])
        said: dict[str, Any] = json.loads(self._capsys.readouterr().out)
        assert code == (0 if said["decision"] == "permit" else 3)
        return said


MakeExplainer = Callable[..., Explainer]


@pytest.fixture
def explainer(capsys: pytest.CaptureFixture[str], gateway: Gateway, keycloak: Keycloak, tmp_path: Path) -> MakeExplainer:
    """``explainer("amy", "patient/*.rs")``."""
    return lambda user, *scopes: Explainer(capsys, gateway, keycloak.user_token(user, *scopes), tmp_path / "body.json")


@pytest.mark.parametrize(("user", "scopes", "sees"), USERS, ids=str)
def test_explain_and_gateway_decide_alike(
    user: str, scopes: tuple[str, ...], sees: str, as_user: MakeApp, explainer: MakeExplainer
) -> None:
    explain, app = explainer(user, *scopes), as_user(user, *scopes, sees=sees)
    for method, target in QUESTIONS:
        headers = {"content-type": FORM} if "_search" in target else {}
        compare(explain(method, target), app(method, target, headers=headers), f"{method} {target}")


@pytest.mark.parametrize(("user", "scopes", "sees"), USERS, ids=str)
def test_explain_and_gateway_judge_bodies_alike(
    user: str, scopes: tuple[str, ...], sees: str, as_user: MakeApp, explainer: MakeExplainer, hapi: Hapi, ours: None
) -> None:
    explain, app = explainer(user, *scopes), as_user(user, *scopes, sees=sees)
    for method, target, body in WRITES:
        said = explain(method, target, body)
        if target in STORED_OUTSIDE and looks_at_stored(first := explain(method, target)):
            said = first | {"decision": "deny", "status": 404, "code": "not-found"}
        answer = app(method, target, content=body, headers={"content-type": FHIR_JSON})
        compare(said, answer, f"{method} {target} {body}")
        undo(hapi, answer, target)


def looks_at_stored(said: dict[str, Any]) -> bool:
    """Whether a permit hangs on what is stored."""
    return any(check.startswith("the stored ") for check in said["checks"])


def compare(said: dict[str, Any], answer: httpx.Response, question: str) -> None:
    """A refusal has the status and code that were said; a permit is served, unless what is stored says otherwise."""
    told = f"{question}: said {said}, did {answer.status_code} {answer.text[:500]}"
    if said["decision"] == "deny":
        assert answer.status_code == said["status"], told
        assert code_of(answer) in {None, said["code"]}, told
        assert answer.headers.get("www-authenticate", "").count("scope=") == (1 if said["required_scopes"] else 0), told
    elif said["interaction"] in BY_WHAT_IS_STORED and answer.status_code == 404:
        assert said["checks"], told
        assert code_of(answer) in {None, "not-found"}, told
    elif said["interaction"] in BY_WHAT_IS_STORED | {"create", "update"}:
        assert answer.status_code in {200, 201, 204}, told
    elif said["checks"]:
        assert answer.status_code == 200, told
    else:  # nothing to check: the upstream's own answer, an error of its own included
        assert answer.status_code == 200 or "HAPI-" in answer.text, told


def code_of(answer: httpx.Response) -> str | None:
    """The stable code of a refusal, which only HEAD is not told."""
    assert answer.headers["content-type"].startswith(FHIR_JSON), answer.text
    if answer.request.method == "HEAD":
        return None
    code: str = answer.json()["issue"][0]["details"]["coding"][0]["code"]
    return code
