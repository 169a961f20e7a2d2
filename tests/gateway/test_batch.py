"""Batches end to end: one Bundle goes up, and each entry of its answer is judged by the rule of its own (semantics 7)."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest

from smart_gateway.request.limits import Limits
from tests.support.asgi import FHIR, PUBLIC, UPSTREAM, Asked, Front, Reply, ScriptedUpstream, code_of, observation, outcome, searchset
from tests.support.entries import entry

SECRET = "canary-7f3a"
SENT = {"Content-Type": FHIR}
ALL = "patient/*.cruds"
THEIRS = observation("theirs", "999", note=[{"text": SECRET}])


def answered(status: str, resource: Any = None, **members: Any) -> dict[str, Any]:
    return {"response": {"status": status, **members}} | ({"resource": resource} if resource is not None else {})


class BatchServer(ScriptedUpstream):
    """A FHIR server that answers a batch by ``answers``: "METHOD url" to an entry; else by what is stored."""

    def __init__(self, *resources: Any, **answers: Any) -> None:
        super().__init__(*resources)
        self.answers: dict[str, Any] = {}
        self.replies["POST "] = self.carry_out

    def carry_out(self, asked: Asked) -> Reply:
        bundle = json.loads(asked.body)
        entries = [self.one(e["request"], e.get("resource")) for e in bundle["entry"]]
        return Reply(200, {"resourceType": "Bundle", "type": f"{bundle['type']}-response", "entry": entries})

    def one(self, request: dict[str, str], resource: Any) -> Any:
        line = f"{request['method']} {request['url']}"
        if line in self.answers:
            return self.answers[line]
        match request["method"]:
            case "GET" if request["url"] in self.stored:
                return answered("200 OK", self.stored[request["url"]])
            case "POST":
                made = {**resource, "id": "new"}
                return answered(
                    "201 Created", made, location=f"{resource['resourceType']}/new/_history/1", etag="1", outcome=outcome(SECRET)
                )
            case "PUT" | "PATCH":
                return answered("200 OK", location=f"{UPSTREAM}/{request['url']}/_history/4", etag='W/"4"')
            case "DELETE":
                return answered("204 No Content")
            case _:
                return answered("404", outcome=outcome(SECRET))

    @property
    def bundles(self) -> list[dict[str, Any]]:
        return [json.loads(asked.body) for asked in self.asked if asked.line == "POST "]


async def post(server: Any, *entries: Any, type: str = "batch", scope: str = ALL, headers: Any = SENT, **choices: Any) -> httpx.Response:
    body = {"resourceType": "Bundle", "type": type, "entry": list(entries)}
    return await Front(server, scope, **choices).request("POST", "", json=body, headers=headers)


def statuses(response: httpx.Response, type: str = "batch") -> list[str]:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith(FHIR)
    bundle = response.json()
    assert (bundle["resourceType"], bundle["type"]) == ("Bundle", f"{type}-response")
    return [e["response"]["status"].split(" ")[0] for e in bundle.get("entry", [])]


async def test_denied_entries_are_answered_in_place_and_the_others_go_up() -> None:
    server = BatchServer(observation())
    response = await post(
        server,
        entry("GET", "Observation/o1"),
        entry("GET", "Observation/../x"),
        entry("PUT", "Observation/o1", observation(status="amended")),
        entry("DELETE", "Observation/theirs"),
        entry("POST", "Observation", observation(patient="999")),
        entry("GET", "Observation/absent"),
        entry("DELETE", "Practitioner/p1"),
    )
    assert statuses(response) == ["200", "400", "200", "404", "403", "404", "403"]
    (bundle,) = server.bundles
    assert [(e["request"]["method"], e["request"]["url"]) for e in bundle["entry"]] == [
        ("GET", "Observation/o1"),
        ("PUT", "Observation/o1"),
        ("GET", "Observation/absent"),
    ]
    entries = response.json()["entry"]
    assert entries[0]["resource"]["id"] == "o1"
    assert entries[2]["response"]["location"] == f"{PUBLIC}/Observation/o1/_history/4"
    assert entries[2]["response"]["etag"] == 'W/"4"'
    assert entries[3] == entries[5]  # outside and absent are one
    assert SECRET not in response.text


async def test_a_refusal_in_place_is_the_one_that_the_request_alone_gets() -> None:
    scope = "patient/Observation.rs"
    alone = (await Front(BatchServer(), scope).get("/Condition/c1")).json()
    (held,) = (await post(BatchServer(), entry("GET", "Condition/c1"), scope=scope)).json()["entry"]
    for shown in (alone, held["response"]["outcome"]):
        shown["issue"][0].pop("diagnostics")
    assert held["response"]["outcome"] == alone
    assert "patient/Condition.r" in json.dumps(alone["issue"][0]["extension"])


async def test_nothing_permitted_nothing_sent() -> None:
    server = BatchServer()
    assert statuses(await post(server, entry("GET", "Patient/999"), entry("GET", "//x"))) == ["404", "400"]
    assert statuses(await post(server)) == []
    assert server.asked == []


async def test_an_update_is_bound_to_the_version_that_was_judged() -> None:
    server = BatchServer(observation())
    given = (entry("PUT", "Observation/o1", observation()), entry("POST", "Observation", observation()))
    assert statuses(await post(server, *given, type="transaction"), "transaction") == ["200", "201"]
    first, second = server.bundles[0]["entry"]
    assert first["request"]["ifMatch"] == 'W/"3"'
    assert "ifMatch" not in second["request"]
    stale = await post(server, entry("PUT", "Observation/o1", observation(), ifMatch='W/"2"'))
    assert statuses(stale) == ["412"]


@pytest.mark.parametrize(
    "refused",
    [
        entry("GET", "Patient/999"),
        entry("PUT", "Observation/theirs", observation("theirs")),
        entry("DELETE", "Observation/absent"),
        entry("POST", "Observation", observation(patient="999")),
        entry("PUT", "Observation/o2", observation("o3")),
        entry("GET", "Observation?patient=Patient/999"),
        entry("GET", "Observation?nonsense=x"),
        entry("GET", "Observation/%2e%2e"),
    ],
)
async def test_a_transaction_with_one_refused_entry_sends_nothing(refused: Any) -> None:
    server = BatchServer(observation(), observation("o2"), THEIRS)
    response = await post(server, entry("POST", "Observation", observation()), refused, type="transaction")
    assert response.status_code in {400, 403}, response.text
    issues = response.json()["issue"]
    assert len(issues) == 1
    assert issues[0]["expression"][0].startswith("Bundle.entry[1]")
    assert server.bundles == []
    assert SECRET not in response.text


async def test_absent_and_outside_are_one_in_a_transaction_too() -> None:
    answers = []
    for target in ("theirs", "absent"):
        response = await post(BatchServer(THEIRS), entry("PUT", f"Observation/{target}", observation(target)), type="transaction")
        answers.append((response.status_code, response.json()["issue"][0]["details"], response.json()["issue"][0]["expression"]))
    assert answers[0] == answers[1]
    assert answers[0][0] == 403


async def test_searches_go_as_gets_with_their_bounds() -> None:
    server = BatchServer()
    query = "Observation?code=x&patient=Patient/123"
    server.answers[f"GET {query}"] = answered(
        "200", searchset(observation(), THEIRS, link=[{"relation": "next", "url": f"{UPSTREAM}?_getpages=1"}])
    )
    response = await post(
        server, entry("GET", "Observation?code=x"), entry("POST", "Observation/_search?code=x"), entry("HEAD", "Observation?code=x")
    )
    assert statuses(response) == ["200", "200", "200"]
    first, second, third = response.json()["entry"]
    assert [e["resource"]["id"] for e in first["resource"]["entry"]] == ["o1"]
    assert [e["resource"]["id"] for e in second["resource"]["entry"]] == ["o1"]
    assert "resource" not in third
    links = {link["relation"]: link["url"] for link in first["resource"]["link"]}
    assert links["self"] == f"{PUBLIC}/Observation?code=x"
    assert links["next"].startswith(f"{PUBLIC}/Observation?_page=")
    assert SECRET not in response.text


async def test_a_patch_goes_as_it_was_read() -> None:
    server = BatchServer(observation())
    document = base64.b64encode(b'[{"op":"replace","path":"/status","value":"amended"}]').decode()
    binary = {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": document}
    moving = {**binary, "data": base64.b64encode(b'[{"op":"replace","path":"/subject/reference","value":"Patient/999"}]').decode()}
    fhirpath = {"resourceType": "Parameters", "parameter": []}
    given = [entry("PATCH", "Observation/o1", patch) for patch in (binary, moving, fhirpath)]
    assert statuses(await post(server, *given)) == ["200", "403", "415"]
    (sent,) = server.bundles[0]["entry"]
    assert sent["resource"] == binary
    assert sent["request"] == {"method": "PATCH", "url": "Observation/o1", "ifMatch": 'W/"3"'}


@pytest.mark.parametrize("scope", [ALL, "system/*.cruds"])
@pytest.mark.parametrize(
    "more",
    [
        {"contentType": "Application/JSON-Patch+JSON; charset=utf-8"},
        {"id": "other", "meta": {"versionId": "9"}, "securityContext": {"reference": "Patient/999"}},
        {"_data": {"extension": [{"url": "urn:x", "valueBase64Binary": "W10="}]}, "content": "W10="},
        {"data": "W3sib3Ai\n OiJyZXBsYWNlIiwicGF0aCI6Ii9zdGF0dXMiLCJ2YWx1ZSI6ImFtZW5kZWQiLCJvcCAiOjF9XQ=="},
    ],
)
async def test_a_patch_in_a_binary_is_made_of_what_was_judged(scope: str, more: dict[str, Any]) -> None:
    server = BatchServer(observation())
    document = base64.b64encode(b' [{"op":"replace","path":"/status","value":"amended","from":"/subject"}]').decode()
    binary = {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": document, **more}
    assert statuses(await post(server, entry("PATCH", "Observation/o1", binary), scope=scope)) == ["200"]
    sent = server.bundles[0]["entry"][0]["resource"]
    assert sent.keys() == {"resourceType", "contentType", "data"}
    assert (sent["resourceType"], sent["contentType"]) == ("Binary", "application/json-patch+json")
    assert json.loads(base64.b64decode(sent["data"], validate=True)) == [{"op": "replace", "path": "/status", "value": "amended"}]


async def test_what_is_sent_is_the_clients() -> None:
    server = BatchServer()
    own = '{"resourceType":"Observation","status":"final","subject":{"reference":"Patient/123"},"valueQuantity":{"value":72.50}}'
    one = f'{{"fullUrl":"urn:uuid:1","resource":{own},"request":{{"method":"POST","url":"Observation"}}}}'
    body = f'{{"resourceType":"Bundle","type":"transaction","entry":[{one}]}}'
    response = await Front(server, ALL).request("POST", "", content=body, headers=SENT)
    assert statuses(response, "transaction") == ["201"]
    assert own in server.asked[-1].body.decode()
    assert server.bundles[0]["entry"][0]["fullUrl"] == "urn:uuid:1"


async def test_without_read_a_write_is_answered_without_its_resource() -> None:
    response = await post(BatchServer(), entry("POST", "Observation", observation()), scope="patient/Observation.c")
    (made,) = response.json()["entry"]
    assert "resource" not in made
    assert made["response"]["location"] == f"{PUBLIC}/Observation/new/_history/1"
    (made,) = (await post(BatchServer(), entry("POST", "Observation", observation()))).json()["entry"]
    assert made["resource"]["id"] == "new"
    assert SECRET not in json.dumps(made)


async def test_the_capability_statement_is_the_gateways() -> None:
    server = BatchServer()
    server.replies["GET /metadata"] = Reply(200, {"resourceType": "CapabilityStatement", "url": UPSTREAM, "rest": [{"mode": "server"}]})
    response = await post(server, entry("GET", "metadata"), type="transaction")
    assert statuses(response, "transaction") == ["200"]
    assert response.json()["entry"][0]["resource"]["rest"][0]["security"]
    assert server.bundles == []


async def test_an_operation_is_judged_and_an_export_has_its_own_requests() -> None:
    server = BatchServer()
    server.answers["GET Patient/123/$everything"] = answered("200", searchset(observation(), THEIRS))
    response = await post(server, entry("GET", "Patient/123/$everything"), entry("GET", "Patient/999/$everything"))
    assert statuses(response)[1] in {"403", "404"}
    assert SECRET not in response.text
    headers = {**SENT, "Prefer": "respond-async"}
    response = await post(server, entry("GET", "$export"), scope="system/*.rs", headers=headers)
    assert statuses(response)[0] in {"400", "403"}


@pytest.mark.parametrize("type", ["batch", "transaction"])
@pytest.mark.parametrize("scope", [ALL, "system/*.cruds"])
async def test_an_operation_by_post_is_no_entry_of_the_bundle(scope: str, type: str) -> None:
    """HAPI takes each POST of a Bundle for a create, whatever its URL says."""
    server = BatchServer(observation())
    server.replies["POST /Observation/$validate"] = Reply(200, outcome(SECRET))
    asked = entry("POST", "Observation/$validate", observation("o2"))
    response = await post(server, asked, entry("GET", "Observation/o1"), scope=scope, type=type)
    assert statuses(response, type) == ["200", "200"]
    assert response.json()["entry"][0]["resource"]["resourceType"] == "OperationOutcome"
    assert [e["request"] for bundle in server.bundles for e in bundle["entry"]] == [{"method": "GET", "url": "Observation/o1"}]
    (sent,) = [asked for asked in server.asked if asked.line == "POST /Observation/$validate"]
    assert sent.header("content-type") == FHIR
    assert json.loads(sent.body)["id"] == "o2"


async def test_unchanged_is_said_here() -> None:
    response = await post(BatchServer(observation()), entry("GET", "Observation/o1", ifNoneMatch='W/"3"'))
    assert statuses(response) == ["304"]
    assert "resource" not in response.json()["entry"][0]


async def test_without_a_bound_it_goes_the_same_way() -> None:
    server = BatchServer({"resourceType": "Patient", "id": "p1", "meta": {"versionId": "1"}, "photo": [{"url": f"{UPSTREAM}/Binary/1"}]})
    given = (entry("GET", "Patient/p1"), entry("POST", "Subscription", {"resourceType": "Subscription"}), entry("GET", "$graphql?query=x"))
    response = await post(server, *given, entry("PUT", "Patient/p2", {"resourceType": "Patient", "id": "p2"}), scope="system/*.cruds")
    assert statuses(response) == ["200", "403", "403", "200"]
    assert response.json()["entry"][0]["resource"]["photo"] == [{"url": f"{PUBLIC}/Binary/1"}]
    assert [asked.line for asked in server.asked] == ["POST "]


def replying(server: BatchServer, change: Any) -> BatchServer:
    """``server``, whose answer to the batch is changed."""
    carry_out = server.carry_out

    def changed(asked: Asked) -> Reply:
        reply = carry_out(asked)
        return change(reply) or reply

    server.replies["POST "] = changed
    return server


def swapped(reply: Reply) -> None:
    reply.body["entry"].reverse()


WRONG: dict[str, Any] = {
    "fewer": lambda reply: reply.body["entry"].pop() and None,
    "more": lambda reply: reply.body["entry"].append(answered("200", THEIRS)),
    "none": lambda reply: reply.body.pop("entry") and None,
    "swapped": swapped,
    "searchset": lambda reply: reply.body.update(type="searchset"),
    "of the other kind": lambda reply: reply.body.update(type="transaction-response"),
    "no Bundle": lambda reply: reply.body.update(resourceType="Parameters"),
    "an outcome": lambda _: Reply(200, outcome(SECRET)),
    "no JSON": lambda _: Reply(200, SECRET.encode()),
    "XML": lambda reply: Reply(200, reply.body, type="application/fhir+xml"),
    "no status": lambda reply: reply.body["entry"][0].update(response={}),
    "a status of words": lambda reply: reply.body["entry"][0].update(response={"status": "fine"}),
    "an entry without response": lambda reply: reply.body["entry"][0].pop("response") and None,
    "an entry that is none": lambda reply: reply.body["entry"].__setitem__(0, [THEIRS]),
    "another's resource": lambda reply: reply.body["entry"][0].update(resource=THEIRS),
    "another type": lambda reply: reply.body["entry"][0].update(resource={"resourceType": "Patient", "id": "o1"}),
    "another's location": lambda reply: reply.body["entry"][1]["response"].update(location="Observation/theirs/_history/1"),
    "location of another type": lambda reply: reply.body["entry"][1]["response"].update(location="Patient/999/_history/1"),
    "created": lambda reply: Reply(201, reply.body),
    "accepted": lambda reply: Reply(202, reply.body),
    "redirect": lambda _: Reply(302, b"", {"Location": f"http://10.0.0.7/{SECRET}"}),
    "failed": lambda _: Reply(500, outcome(SECRET)),
    "doubled keys": lambda reply: Reply(200, json.dumps(reply.body).replace('"entry"', '"entry":[],"entry"', 1).encode()),
    "a doubled resource": lambda reply: Reply(200, json.dumps(reply.body).replace('"resource"', '"resource":{},"resource"', 1).encode()),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("scope", [ALL, "system/*.cruds"])
async def test_an_answer_to_another_question_is_none(name: str, scope: str) -> None:
    server = replying(BatchServer(observation(), observation("o2")), WRONG[name])
    response = await post(server, entry("GET", "Observation/o1"), entry("PUT", "Observation/o2", observation("o2")), scope=scope)
    assert response.status_code == 502, response.text
    assert SECRET not in response.text + str(response.headers)
    assert "999" not in response.text


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "upstream-refused"),
        (404, "upstream-refused"),  # HAPI: a reference that is a search finds nothing
        (409, "precondition-failed"),
        (412, "precondition-failed"),
        (422, "unprocessable"),
    ],
)
async def test_a_transaction_that_the_server_refuses(status: int, code: str) -> None:
    server = replying(BatchServer(), lambda _: Reply(status, outcome(SECRET)))
    response = await post(server, entry("POST", "Observation", observation()), type="transaction")
    assert (response.status_code, code_of(response)) == ({404: 400, 409: 412}.get(status, status), code)
    assert SECRET not in response.text


HIDDEN = {
    "another's in place of ones own": answered("200", {**THEIRS, "id": "o1"}),
    "an outcome that tells": answered("404", outcome=outcome(SECRET)),
    "an outcome for a resource": answered("404", outcome(SECRET)),
    "with another's as outcome": answered("404 Not Found", outcome=THEIRS),
    "another's with an error": answered("500", THEIRS),
    "another's contained": answered("200", {**observation(), "contained": [{"resourceType": "Bundle", "entry": [{"resource": THEIRS}]}]}),
    "not modified": answered("304", THEIRS),
    "a status that tells": answered(f"404 {SECRET}"),
}


@pytest.mark.parametrize("name", HIDDEN)
async def test_nothing_of_others_leaves_in_an_entry(name: str) -> None:
    server = BatchServer(observation())
    server.answers["GET Observation/o1"] = HIDDEN[name]
    server.answers["GET Observation/o2"] = answered("200", observation("o2"))
    for type in ("batch", "transaction"):
        response = await post(server, entry("GET", "Observation/o1"), entry("GET", "Observation/o2"), type=type)
        first, second = statuses(response, type)
        assert (first in {"404", "502"}, second) == (True, "200")
        assert SECRET not in response.text
        assert "999" not in response.text


@pytest.mark.parametrize(
    "answer",
    [
        answered("201", THEIRS, location="Observation/new"),
        answered("201", {"resourceType": "Patient", "id": "999", "name": [{"text": SECRET}]}, location="Observation/new"),
        answered("201", {"resourceType": "Bundle", "entry": [{"resource": THEIRS}]}, location="Observation/new"),
        answered("201", outcome(SECRET)),
        answered("201", location=f"http://10.0.0.7/{SECRET}"),
        answered("201", location="Observation/new", outcome=THEIRS),
        answered("201", location="Observation/new", etag=SECRET * 9, lastModified=SECRET),
        answered("201", [THEIRS]),
    ],
)
async def test_a_write_whose_answer_cannot_be_used_is_answered_with_its_status(answer: Any) -> None:
    server = BatchServer()
    server.answers["POST Observation"] = answer
    response = await post(server, entry("POST", "Observation", observation()))
    assert statuses(response) == ["201"]
    assert "resource" not in response.json()["entry"][0]
    assert SECRET not in response.text
    assert "999" not in response.text


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("2024-02-29T10:00:00.5+02:00", "2024-02-29T10:00:00.5+02:00"),
        ("2024-02-30T10:00:00Z", None),
        ("9999-12-31T23:59:59-01:00", None),
        ("2024-02-29", None),
        (None, None),
    ],
)
async def test_when_an_entry_was_changed_is_told_where_it_is_a_moment(said: str | None, shown: str | None) -> None:
    server = BatchServer()
    server.answers["POST Observation"] = answered("201", location="Observation/new", etag="1", lastModified=said)
    response = await post(server, entry("POST", "Observation", observation()))
    assert statuses(response) == ["201"]
    assert response.json()["entry"][0]["response"].get("lastModified") == shown


async def test_what_others_hold_is_not_learnt_from_links_between_entries() -> None:
    server = BatchServer()
    urn = "urn:uuid:0c9b0f6c-9a06-4f0e-8a39-d6f6a5b2f8d1"
    linked = {**observation(), "subject": {"reference": urn}}
    given = (entry("PUT", "Patient/123", {"resourceType": "Patient", "id": "123"}, urn), entry("POST", "Observation", linked))
    server.stored["Patient/123"] = {"resourceType": "Patient", "id": "123", "meta": {"versionId": "1"}}
    assert statuses(await post(server, *given, type="transaction"), "transaction") == ["200", "201"]
    assert server.bundles[0]["entry"][1]["resource"]["subject"] == {"reference": urn}
    assert statuses(await post(server, *given, type="batch")) == ["200", "403"]


async def test_who_may_nothing_has_no_body_read() -> None:
    response = await Front(BatchServer(), "openid").request("POST", "", content=b"{" * 100, headers=SENT)
    assert (response.status_code, code_of(response)) == (403, "insufficient-scope")


async def test_no_token_no_batch() -> None:
    response = await Front(BatchServer(), ALL).request("POST", "", token=None, content=b"{}", headers=SENT)
    assert response.status_code == 401


async def test_a_bundle_posted_to_its_type_is_data() -> None:
    server = BatchServer()
    server.replies["POST /Bundle"] = Reply(201, b"", {"Location": f"{UPSTREAM}/Bundle/new"})
    body = {"resourceType": "Bundle", "type": "transaction", "entry": [entry("DELETE", "Patient/1")]}
    response = await Front(server, "system/*.cruds").request("POST", "/Bundle", json=body, headers=SENT)
    assert response.status_code == 201
    assert [asked.line for asked in server.asked] == ["POST /Bundle"]


async def test_too_many_entries() -> None:
    response = await post(BatchServer(), *[entry("GET", "Observation/o1")] * 4, limits=Limits(entries=3))
    assert (response.status_code, code_of(response)) == (400, "too-many-entries")


async def test_the_record_tells_what_became_of_the_entries_and_names_nobody() -> None:
    front = Front(BatchServer(observation()), ALL)
    given = [entry("GET", "Observation/o1"), entry("GET", "Observation/o1"), entry("GET", "Patient/999"), entry("GET", "//x")]
    body = {"resourceType": "Bundle", "type": "batch", "entry": given}
    assert statuses(await front.request("POST", "", json=body, headers=SENT)) == ["200", "200", "404", "400"]
    event = front.event
    assert [(e.interaction, e.type, e.status, e.count) for e in event.entries] == [
        ("read", "Observation", 200, 2),
        ("read", "Patient", 404, 1),
        (None, None, 400, 1),
    ]
    assert (event.interaction, event.outcome, event.status, event.id, event.types) == (
        "batch",
        "permit",
        200,
        None,
        ("Observation", "Patient"),
    )
    assert "999" not in repr(event)


async def test_the_record_of_a_refused_transaction() -> None:
    front = Front(BatchServer(), ALL)
    body = {"resourceType": "Bundle", "type": "transaction", "entry": [entry("GET", "Observation/o1"), entry("GET", "Patient/999")]}
    assert (await front.request("POST", "", json=body, headers=SENT)).status_code == 403
    assert [(e.type, e.status, e.count) for e in front.event.entries] == [("Observation", None, 1), ("Patient", 404, 1)]
    assert front.event.outcome == "deny"


async def test_a_dry_run_decides_and_passes_on() -> None:
    server = BatchServer(THEIRS)
    front = Front(server, ALL, dry_run=True)
    body = {"resourceType": "Bundle", "type": "batch", "entry": [entry("GET", "Observation/theirs"), entry("GET", "Patient/999")]}
    response = await front.request("POST", "", json=body, headers=SENT)
    assert statuses(response) == ["200", "404"]
    assert server.bundles == [body]
    assert [(e.type, e.status) for e in front.event.entries] == [("Observation", None), ("Patient", 404)]


async def test_what_a_condition_names_can_be_referred_to() -> None:
    """A conditional update comes to one by id before anything is sent; references to it are then to that id."""
    server = BatchServer({"resourceType": "Patient", "id": "123", "meta": {"versionId": "1"}})
    server.replies["GET /Patient"] = Reply(200, searchset(server.stored["Patient/123"]))
    urn = "urn:uuid:0c9b0f6c-9a06-4f0e-8a39-d6f6a5b2f8d1"
    own = {"resourceType": "Patient", "id": "123"}
    given = [
        entry("POST", "Observation", {**observation(), "subject": {"reference": urn}}),
        entry("PUT", "Patient?identifier=x", own, urn),
    ]
    response = await post(server, *given, type="transaction")
    assert statuses(response, "transaction") == ["201", "200"], response.text
    assert [e["request"]["url"] for e in server.bundles[0]["entry"]] == ["Observation", "Patient/123"]
    twice = await post(server, *given, entry("DELETE", "Patient/123"), type="transaction")
    assert (twice.status_code, code_of(twice)) == (400, "overlapping-entries")
    assert twice.json()["issue"][0]["expression"] == ["Bundle.entry[2]"]
    assert len(server.bundles) == 1
