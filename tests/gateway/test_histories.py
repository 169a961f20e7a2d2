"""Histories end to end: every version is judged by itself (semantics 5)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from tests.support.asgi import PUBLIC, UPSTREAM, Asked, DisobedientUpstream, Front, Reply, ScriptedUpstream, code_of, observation, outcome
from tests.support.deciding import policy

BOUNDED = "patient/Observation.rs"
INSTANCE, TYPE, SYSTEM = "/Observation/o1/_history", "/Observation/_history", "/_history"


def version(number: int, patient: str = "123", id: str = "o1") -> dict[str, Any]:
    return {
        "fullUrl": f"{UPSTREAM}/Observation/{id}",
        "resource": observation(id, patient, meta={"versionId": str(number)}),
        "request": {"method": "PUT", "url": f"Observation/{id}"},
        "response": {"status": "200", "etag": f'W/"{number}"'},
    }


def deletion(number: int, id: str = "o1") -> dict[str, Any]:
    return {"request": {"method": "DELETE", "url": f"Observation/{id}/_history/{number}"}, "response": {"status": "204"}}


def history(*entries: Mapping[str, Any], next: str | None = None) -> dict[str, Any]:
    link = [{"relation": "next", "url": f"{UPSTREAM}{next}"}] if next is not None else []
    return {"resourceType": "Bundle", "type": "history", "total": len(entries), "link": link, "entry": list(entries)}


def numbers(response: httpx.Response) -> list[str]:
    """Version numbers of a history's entries."""
    assert response.status_code == 200, response.text
    bundle = response.json()
    assert bundle["type"] == "history"
    return [entry["resource"]["meta"]["versionId"] if "resource" in entry else "gone" for entry in bundle.get("entry", [])]


async def test_only_versions_inside_leave() -> None:
    upstream = ScriptedUpstream()
    for target in (INSTANCE, TYPE, SYSTEM):
        upstream.replies[f"GET {target}"] = Reply(
            200, history(deletion(4), version(3), version(2, "999"), version(1)), {"ETag": 'W/"4"', "Last-Modified": "x"}
        )
    front = Front(upstream, BOUNDED)
    for target in (INSTANCE, TYPE, SYSTEM):
        response = await front.get(f"{target}?_count=10")
        assert numbers(response) == ["3", "1"]
        assert "total" not in response.json()
        assert not {"etag", "last-modified"} & set(response.headers)
        assert response.json()["link"] == [{"relation": "self", "url": f"{PUBLIC}{target}?_count=10"}]
    assert [asked.line for asked in upstream.asked] == [f"GET {INSTANCE}", f"GET {TYPE}", f"GET {SYSTEM}"]
    assert upstream.asked[0].header("accept-encoding") == "identity"
    assert [event.removed for event in front.log.events] == [2, 2, 2]


@pytest.mark.parametrize("status", [404, 403])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_history_without_a_version_looks_as_one_that_never_was(status: int, method: str) -> None:
    upstream = ScriptedUpstream()
    upstream.replies["GET /Observation/theirs/_history"] = Reply(200, history(version(1, "999", "theirs")), {"ETag": 'W/"1"'})
    upstream.replies["GET /Observation/gone/_history"] = Reply(200, history(deletion(2, "gone")))
    upstream.replies["GET /Observation/empty/_history"] = Reply(200, history())
    upstream.replies["GET /Observation/deleted/_history"] = Reply(410, outcome("gone"))
    upstream.replies["GET /Observation/swapped/_history"] = Reply(200, history(version(1, "123", "other")))
    front = Front(upstream, f"{BOUNDED} patient/Patient.r", policy=policy(absent_and_forbidden=status))
    faces = []
    for target in ("Observation/theirs", "Observation/gone", "Observation/empty", "Observation/deleted", "Observation/swapped",
                   "Patient/999", "Observation/never"):  # fmt: skip
        response = await front.request(method, f"/{target}/_history")
        headers = {name: value for name, value in response.headers.items() if name != "x-request-id"}
        faces.append((response.status_code, headers, response.text.replace(response.headers["x-request-id"], "ID")))
    assert faces[0][0] == status
    assert all(face == faces[-1] for face in faces)
    assert "GET /Patient/999/_history" not in [asked.line for asked in upstream.asked]


async def test_over_a_type_nothing_left_is_an_empty_history() -> None:
    upstream = ScriptedUpstream()
    for target in (TYPE, SYSTEM):
        upstream.replies[f"GET {target}"] = Reply(200, history(version(1, "999"), deletion(2)))
        response = await Front(upstream, BOUNDED).get(target)
        assert numbers(response) == []
        assert "total" not in response.json()


async def test_head_is_a_get_without_its_body() -> None:
    upstream = ScriptedUpstream()
    upstream.replies[f"GET {INSTANCE}"] = Reply(200, history(version(1)))
    front = Front(upstream, BOUNDED)
    head, get = await front.request("HEAD", INSTANCE), await front.get(INSTANCE)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"] == str(len(get.content))


async def test_conditions_of_the_client_are_no_part_of_it() -> None:
    upstream = ScriptedUpstream()
    upstream.replies[f"GET {INSTANCE}"] = Reply(200, history(version(1)), {"ETag": 'W/"1"'})
    response = await Front(upstream, BOUNDED).get(INSTANCE, headers={"If-None-Match": 'W/"1"', "If-Modified-Since": "x"})
    assert numbers(response) == ["1"]
    assert upstream.asked[0].header("if-none-match") is None


def paged(pages: Mapping[str | None, Reply]) -> ScriptedUpstream:
    """An upstream whose pages are told apart by ``_offset``."""

    def page(asked: Asked) -> Reply:
        return pages[dict(asked.query).get("_offset")]

    upstream = ScriptedUpstream()
    upstream.replies = {f"GET {target}": page for target in (INSTANCE, TYPE, SYSTEM)}
    return upstream


@pytest.mark.parametrize("target", [INSTANCE, TYPE, SYSTEM])
async def test_pages_go_on_the_same_history(target: str) -> None:
    pages = {
        None: Reply(200, history(version(3), next=f"{target}?_offset=1")),
        "1": Reply(200, history(version(2, "999"), version(1))),
    }
    front = Front(paged(pages), BOUNDED)
    first = await front.get(target)
    assert numbers(first) == ["3"]
    next = {link["relation"]: link["url"] for link in first.json()["link"]}["next"]
    second = await front.get(next)
    assert numbers(second) == ["1"]
    assert second.json()["link"] == [{"relation": "self", "url": next}]


async def test_pages_of_which_nothing_is_left_are_passed_over() -> None:
    pages = {
        None: Reply(200, history(deletion(3), next=f"{INSTANCE}?_offset=1")),
        "1": Reply(200, history(version(2, "999"), next=f"{INSTANCE}?_offset=2")),
        "2": Reply(200, history(version(1))),
    }
    assert numbers(await Front(paged(pages), BOUNDED).get(INSTANCE)) == ["1"]


async def test_an_instance_of_which_nothing_shows_within_the_pages_looked_at_is_absent() -> None:
    endless = DisobedientUpstream(Reply(200, history(version(2, "999"), next=f"{INSTANCE}?_offset=1")))
    assert (await Front(endless, BOUNDED).get(INSTANCE)).status_code == 404
    assert len(endless.asked) == 6


async def test_a_later_page_of_which_nothing_is_left_is_empty() -> None:
    pages = {None: Reply(200, history(version(3), next=f"{INSTANCE}?_offset=1")), "1": Reply(200, history(version(2, "999")))}
    front = Front(paged(pages), BOUNDED)
    next = (await front.get(INSTANCE)).json()["link"][1]["url"]
    assert numbers(await front.get(next)) == []


async def test_without_any_bound_it_streams_in_the_public_base() -> None:
    upstream = ScriptedUpstream()
    body = json.dumps(history(deletion(2), version(1, "999"), next=f"{INSTANCE}?_offset=1")).encode()
    upstream.replies[f"GET {INSTANCE}"] = Reply(200, body)
    response = await Front(upstream, "system/*.rs").get(f"{INSTANCE}?_list=x")
    assert response.content == body.replace(UPSTREAM.encode(), PUBLIC.encode())
    assert upstream.asked[0].query == [("_list", "x")]


async def test_a_whole_type_keeps_its_deletions_and_total() -> None:
    upstream = ScriptedUpstream()
    upstream.replies[f"GET {TYPE}"] = Reply(200, history(deletion(2), version(1, "999")))
    response = await Front(upstream, "system/Observation.rs").get(TYPE)
    assert (numbers(response), response.json()["total"]) == (["gone", "1"], 2)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, {"resourceType": "Bundle", "type": "searchset", "entry": []}),
        Reply(200, observation()),
        Reply(200, b"<Bundle/>", type="application/fhir+xml"),
        Reply(200, history(version(1)), {"Content-Encoding": "gzip"}),
        Reply(302, b"", {"Location": f"{UPSTREAM}/Observation/o1"}),
        Reply(500, outcome("secret")),
    ],
)
@pytest.mark.parametrize("target", [INSTANCE, TYPE, SYSTEM])
async def test_what_is_no_history_is_502(reply: Reply, target: str) -> None:
    response = await Front(DisobedientUpstream(reply), BOUNDED).get(target)
    assert (response.status_code, code_of(response)) == (502, "upstream-error")
    assert "secret" not in response.text


async def test_a_provenance_is_judged_by_what_its_targets_are_now() -> None:
    provenance = {"resourceType": "Provenance", "id": "p", "target": [{"reference": "Observation/o1"}]}
    entry = {"resource": provenance, "request": {"method": "PUT", "url": "Provenance/p"}, "response": {"status": "200"}}
    scope = "patient/Observation.rs patient/Provenance.rs"
    for patient, expected in (("123", ["Observation/o1", "Provenance/p"]), ("999", ["Observation/o1"])):
        upstream = ScriptedUpstream(observation("o1", patient))
        upstream.replies[f"GET {SYSTEM}"] = Reply(200, history(version(1), entry))
        response = await Front(upstream, scope).get(SYSTEM)
        assert [entry["request"]["url"] for entry in response.json()["entry"]] == expected


async def test_refusals() -> None:
    front = Front(ScriptedUpstream(), "patient/Patient.rs")
    refused = await front.get(INSTANCE)
    assert (refused.status_code, code_of(refused)) == (403, "insufficient-scope")
    assert (await front.get(INSTANCE, token=None)).status_code == 401
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert (await front.request(method, TYPE)).status_code == 405
