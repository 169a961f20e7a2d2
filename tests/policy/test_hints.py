"""Which scope a refusal names: the smallest that would help, in the token's spelling; nothing where it would tell or promise too much."""

from __future__ import annotations

import json
from typing import Any

import pytest

from smart_gateway.boundary.labels import LabelLimit
from smart_gateway.fhir.outcomes import REQUIRED_SCOPE_URL, SMART_REQUIRED_SCOPE_URL
from smart_gateway.policy.access import Access
from smart_gateway.policy.authorize import authorize
from smart_gateway.policy.model import ActorRule, ClientRule, OpenedOperation, PlainScopes, Policy, UserBound, UserRule
from smart_gateway.policy.rules.labelling import LabelRule
from smart_gateway.principal import Actor, Ceiling
from tests.support.asgi import Front, Reply, ScriptedUpstream
from tests.support.deciding import DEFAULT, decide, denied, parse, policy, principal, scopes

JSON = {"content-type": "application/fhir+json"}


def hints(method: str, target: str, scope: str, under: Policy = DEFAULT, **claims: Any) -> list[str]:
    headers = JSON if method in {"POST", "PUT"} else {}
    return [m.scope for m in denied(decide(method, target, scope, under=under, headers=headers, **claims)).missing]


NEEDED = [
    ("GET", "/Observation/o1", "patient/Patient.rs", ["patient/Observation.r"]),
    ("GET", "/Observation/o1/_history/1", "patient/Patient.rs", ["patient/Observation.r"]),
    ("GET", "/Observation/o1/_history", "patient/Patient.rs", ["patient/Observation.r"]),
    ("GET", "/Observation/_history", "patient/Patient.rs", ["patient/Observation.s"]),
    ("GET", "/Observation?code=x", "patient/Patient.rs", ["patient/Observation.s"]),
    ("GET", "/Observation?code=x", "patient/Observation.r", ["patient/Observation.s"]),
    ("GET", "/Patient/123/Observation", "patient/Patient.rs", ["patient/Observation.s"]),
    ("POST", "/Observation", "patient/Patient.rs", ["patient/Observation.c"]),
    ("PUT", "/Observation/o1", "patient/Observation.rs", ["patient/Observation.u"]),
    ("DELETE", "/Observation/o1", "patient/Observation.rs", ["patient/Observation.d"]),
    ("DELETE", "/Observation?code=x", "patient/Patient.rs", ["patient/Observation.d", "patient/Observation.s"]),
    ("GET", "/Observation/o1", "user/Patient.rs", ["user/Observation.r"]),
    ("GET", "/Observation/o1", "openid", ["patient/Observation.r"]),
    # in the spelling of the token
    ("GET", "/Observation/o1", "patient/Patient.read", ["patient/Observation.read"]),
    ("GET", "/Observation?code=x", "patient/Patient.read", ["patient/Observation.read"]),
    ("POST", "/Observation", "patient/Patient.read", ["patient/Observation.write"]),
    ("GET", "/Observation/o1", "patient/Patient.read patient/Condition.rs", ["patient/Observation.r"]),
]


@pytest.mark.parametrize(("method", "target", "scope", "wanted"), NEEDED, ids=[f"{m} {t} {s}" for m, t, s, _ in NEEDED])
def test_the_smallest_scope_for_each_permission(method: str, target: str, scope: str, wanted: list[str]) -> None:
    assert hints(method, target, scope, fhir_user="Practitioner/p") == wanted


def client(**rule: Any) -> dict[str, Any]:
    return {"clients": {"c": ClientRule(**rule)}}


READ = ("GET", "/Observation/o1", "patient/Patient.rs")
DOCTOR = {"fhir_user": "Practitioner/p"}
LESS = {"users": {"Practitioner": UserRule(scopes=scopes("user/Patient.rs"))}}
SILENT: list[tuple[str, tuple[str, str, str], dict[str, Any], dict[str, Any]]] = [
    ("a client that did not register it", READ, client(registered_scopes=scopes("patient/Patient.rs")), {}),
    ("registered in another context", READ, client(registered_scopes=scopes("user/*.rs")), {}),
    ("registered for another permission", READ, client(registered_scopes=scopes("patient/Observation.s")), {}),
    ("registered for nothing", READ, client(registered_scopes=()), {}),
    ("a limit", READ, client(limit=scopes("patient/Patient.rs")), {}),
    ("a pin", READ, client(pin=scopes("patient/Patient.rs")), {}),
    ("a client that may not come", READ, {"clients": {"other": ClientRule()}}, {}),
    ("the issuer's ceiling", READ, {}, {"ceilings": (Ceiling("the issuer", scopes("patient/Patient.rs")),)}),
    ("an actor's limit", READ, {"actors": {"robot": ActorRule(scopes("patient/Patient.rs"))}}, {"actors": (Actor("robot"),)}),
    ("an actor that may not act", READ, {"actors": {}}, {"actors": (Actor("robot"),)}),
    ("labels that leave it nothing", READ, {"labels": ()}, {}),
    ("somebody else's record", ("GET", "/Patient/456", "patient/Observation.rs"), {}, {}),
    ("somebody else's compartment", ("GET", "/Patient/456/Observation", "patient/Patient.rs"), {}, {}),
    ("no patient in context", READ, {}, {"patient": None}),
    ("a user whom the policy gives nothing", ("GET", "/Observation/o1", "user/Patient.rs"), {}, {"fhir_user": None}),
    ("a user whom a rule gives less", ("GET", "/Observation/o1", "user/Patient.rs"), LESS, DOCTOR),
    ("a user of another patient", ("GET", "/Patient/456", "user/Observation.rs"), {}, {"fhir_user": "Patient/123"}),
    ("a list of patients without any", ("GET", "/Observation/o1", "user/Patient.rs"), {"patients": "panel"}, DOCTOR),
    ("system scopes without the role", ("GET", "/Observation/o1", "system/Patient.rs"), client(), {}),
    ("permissions of UMA", READ, {}, {"permitted": ()}),
    ("a type that only policies open", ("POST", "/Subscription", "patient/Patient.rs"), {}, {}),
    ("an operation that is not opened", ("POST", "/$graphql", "patient/Patient.rs"), {}, {}),
    ("another rule denies still", ("GET", "/Observation?patient=456", "patient/Patient.rs"), {}, {}),
    ("a shared type that is none here", ("GET", "/Practitioner/p", "patient/Patient.rs"), {"shared_types": frozenset()}, {}),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "choices", "claims"), [case[1:] for case in SILENT], ids=[case[0] for case in SILENT])
def test_no_hint_where_it_would_not_help_or_is_none_of_theirs(
    asked: tuple[str, str, str], choices: dict[str, Any], claims: dict[str, Any]
) -> None:
    found = decide(*asked, under=policy(**choices), headers=JSON if asked[0] == "POST" else {}, **{"client_id": "c", **claims})
    assert denied(found).missing == ()


def test_a_registered_filter_is_part_of_the_hint() -> None:
    under = policy(**client(registered_scopes=scopes("patient/Observation.rs?category=laboratory")))
    assert hints(*READ, under, client_id="c") == ["patient/Observation.r?category=laboratory"]


def test_labels_that_leave_something_hide_no_hint_and_the_hint_tells_nothing_of_them() -> None:
    limited = policy(labels=(LabelRule(LabelLimit(ceiling="N")),))
    assert hints(*READ, limited) == hints(*READ) == ["patient/Observation.r"]


# --- operations that the policy opens ---------------------------------------------------------------------------------------------

OPENED = OpenedOperation(
    "$score",
    frozenset({"type", "instance"}),
    frozenset({"GET", "HEAD"}),
    frozenset({"Patient"}),
    scopes=scopes("patient/Patient.rs"),
    plain=frozenset({"__score"}),
)


def opened(scope: str, under: dict[str, Any] | None = None, rule: OpenedOperation = OPENED, **claims: Any) -> list[str]:
    request = parse("GET", "/Patient/123/$score")
    access = Access(principal(scope, client_id="c", **claims), policy(operations=(rule,), **(under or {})))
    return [m.scope for m in denied(authorize(request, access)).missing]


def test_an_operation_names_the_scope_that_opens_it() -> None:
    assert opened("patient/Observation.rs") == ["patient/Patient.rs"]
    plain = OpenedOperation("$score", OPENED.levels, OPENED.methods, OPENED.types, plain=frozenset({"__score"}))
    assert opened("patient/Patient.rs", rule=plain) == ["__score"]


@pytest.mark.parametrize(
    ("under", "wanted"),
    [
        (client(registered_scopes=scopes("patient/*.rs")), ["patient/Patient.rs"]),
        (client(registered_scopes=scopes("patient/*.r")), []),
        (client(registered_scopes=(), plain=PlainScopes(registered=frozenset({"__score"}))), ["__score"]),
        (client(registered_scopes=()), []),
        (client(limit=scopes("patient/Observation.rs")), []),
        (client(pin=scopes("patient/Observation.rs")), []),
    ],
)
def test_only_where_the_client_could_have_it(under: dict[str, Any], wanted: list[str]) -> None:
    assert opened("patient/Patient.r", under) == wanted


# --- no hint tells of what is stored ----------------------------------------------------------------------------------------------

MINE = {"resourceType": "Observation", "id": "mine", "subject": {"reference": "Patient/123"}}
OTHERS = {"resourceType": "Observation", "id": "others", "subject": {"reference": "Patient/456"}}


@pytest.mark.parametrize("scope", ["patient/Patient.rs", "patient/Observation.s", "user/Patient.rs"])
async def test_a_refusal_is_the_same_for_mine_for_others_and_for_what_is_not_there(scope: str) -> None:
    upstream = ScriptedUpstream(MINE, OTHERS)
    gateway = Front(upstream, scope, claims={"fhir_user": "Practitioner/p"})
    seen = set()
    for id in ("mine", "others", "absent"):
        answer = await gateway.get(f"/Observation/{id}")
        outcome = answer.json()
        for issue in outcome["issue"]:
            issue.pop("diagnostics")  # the request id
        seen.add((answer.status_code, answer.headers["www-authenticate"], json.dumps(outcome)))
    assert len(seen) == 1
    assert upstream.asked == []


async def test_what_is_outside_gets_no_hint_that_would_tell_that_it_is_there() -> None:
    gateway = Front(ScriptedUpstream(MINE, OTHERS), "patient/Observation.rs", policy=policy(absent_and_forbidden=403))
    for id in ("others", "absent"):
        answer = await gateway.get(f"/Observation/{id}")
        assert answer.status_code == 403
        assert "extension" not in answer.text
        assert "scope=" not in answer.headers["www-authenticate"]


@pytest.mark.parametrize("url", [REQUIRED_SCOPE_URL, SMART_REQUIRED_SCOPE_URL])
async def test_either_extension_and_the_challenge_name_it(url: str) -> None:
    gateway = Front(ScriptedUpstream(), "patient/Patient.rs", required_scope_url=url)
    answer = await gateway.get("/Observation/o1")
    (issue,) = answer.json()["issue"]
    assert issue["extension"] == [{"url": url, "valueString": "patient/Observation.r"}]
    assert 'error="insufficient_scope", scope="patient/Observation.r"' in answer.headers["www-authenticate"]
    assert "may" in issue["details"]["text"]
    in_xml = await gateway.get("/Observation/o1", headers={"accept": "application/fhir+xml"})
    assert f'<extension url="{url}"><valueString value="patient/Observation.r"/>' in in_xml.text


def bundle(kind: str, *urls: str) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": kind, "entry": [{"request": {"method": "GET", "url": url}} for url in urls]}


async def test_each_entry_of_a_batch_has_its_own() -> None:
    upstream = ScriptedUpstream()
    upstream.replies["POST "] = upstream.replies["POST /"] = Reply(200, {"resourceType": "Bundle", "type": "batch-response", "entry": []})
    gateway = Front(upstream, "patient/Patient.rs")
    body = bundle("batch", "Observation/o1", "Condition?code=x", "Patient/456")
    answer = await gateway.request("POST", "", json=body, headers=JSON)
    told = [entry["response"]["outcome"]["issue"][0].get("extension") for entry in answer.json()["entry"]]
    wanted = [[{"url": REQUIRED_SCOPE_URL, "valueString": scope}] for scope in ("patient/Observation.r", "patient/Condition.s")]
    assert told == [*wanted, None]


@pytest.mark.parametrize(
    ("urls", "wanted"),
    [
        (("Observation/o1", "Condition?code=x"), ["patient/Observation.r", "patient/Condition.s"]),
        (("Observation/o1", "Observation/o2"), ["patient/Observation.r"]),
        (("Observation/o1", "Patient/456/_history"), []),
        (("Observation/o1", "Patient/456/Condition"), []),
    ],
)
async def test_a_transaction_names_them_all_or_none(urls: tuple[str, ...], wanted: list[str]) -> None:
    gateway = Front(ScriptedUpstream(), "patient/Patient.rs")
    answer = await gateway.request("POST", "", json=bundle("transaction", *urls), headers=JSON)
    assert answer.status_code == 403
    extensions = [extension["valueString"] for issue in answer.json()["issue"] for extension in issue.get("extension", [])]
    assert extensions == wanted


def test_a_user_whose_bound_leaves_it_is_told() -> None:
    under = policy(users={"Practitioner": UserRule(UserBound.COMPARTMENT)})
    assert hints("GET", "/Observation/o1", "user/Encounter.rs", under, fhir_user="Practitioner/p") == ["user/Observation.r"]
