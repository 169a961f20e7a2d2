"""Searches end to end: narrowed, and judged entry by entry (semantics 4)."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.support.asgi import PUBLIC, UPSTREAM, Front, Reply, ScriptedUpstream, code_of, observation, outcome, searchset
from tests.support.deciding import policy, principal

BOUNDED = "patient/Observation.rs"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def served(**members: object) -> ScriptedUpstream:
    upstream = ScriptedUpstream()
    upstream.replies["GET /Observation"] = Reply(200, searchset(observation("o1"), observation("theirs", "999"), **members))
    return upstream


async def test_narrowed_judged_and_logged() -> None:
    upstream = served()
    front = Front(upstream, BOUNDED)
    response = await front.get("/Observation?code=8867-4")
    bundle = response.json()
    assert [entry["resource"]["id"] for entry in bundle["entry"]] == ["o1"]
    assert "total" not in bundle
    assert bundle["link"] == [{"relation": "self", "url": f"{PUBLIC}/Observation?code=8867-4"}]
    assert ("patient", "Patient/123") in upstream.asked[0].query
    assert (front.event.removed, front.event.upstream_status, front.event.outcome) == (1, 200, "permit")
    assert not {"etag", "last-modified"} & set(response.headers)


async def test_a_search_by_post_is_asked_by_post() -> None:
    upstream = ScriptedUpstream()
    upstream.replies["POST /Observation/_search"] = Reply(200, searchset(observation()))
    response = await Front(upstream, BOUNDED).request("POST", "/Observation/_search?_count=5", content="code=8867-4%7C", headers=FORM)
    assert response.status_code == 200
    (asked,) = upstream.asked
    assert asked.query == []
    assert set(parse_qsl(asked.body.decode())) == {("_count", "5"), ("code", "8867-4|"), ("patient", "Patient/123")}
    assert asked.header("content-type") == "application/x-www-form-urlencoded"
    assert asked.header("content-length") == str(len(asked.body))


async def test_a_form_is_not_read_for_nobody() -> None:
    front = Front(ScriptedUpstream(), BOUNDED)
    refused = await front.request("POST", "/Condition/_search", content="patient=%", headers=FORM)
    assert (refused.status_code, code_of(refused)) == (403, "insufficient-scope")
    broken = await front.request("POST", "/Observation/_search", content="patient=%", headers=FORM)
    assert broken.status_code == 400
    other = await front.request("POST", "/Observation/_search", content="{}", headers={"Content-Type": "application/json"})
    assert other.status_code == 415


async def test_paging_links_are_sealed_and_opened_for_the_same_token_only() -> None:
    upstream = served(link=[{"relation": "next", "url": f"{UPSTREAM}/Observation?_getpages=abc&_offset=2"}])
    front = Front(upstream, BOUNDED)
    bundle = (await front.get("/Observation?code=8867-4")).json()
    url = next(link["url"] for link in bundle["link"] if link["relation"] == "next")
    assert "abc" not in url
    upstream.asked.clear()
    assert [e["resource"]["id"] for e in (await front.get(url)).json()["entry"]] == ["o1"]
    assert upstream.asked[0].query == [("_getpages", "abc"), ("_offset", "2")]
    other = Front(upstream, BOUNDED, claims={"patient": "999"})
    assert (await other.get(url)).status_code == 403
    token = dict(parse_qsl(urlsplit(url).query))["_page"]
    assert (await front.get(f"/Condition?_page={token}")).status_code == 403
    front.reload(clock=lambda: 2_000_000_000.0)
    assert (await front.get(url)).status_code == 404


@pytest.mark.parametrize(
    "target", ["/Observation?_getpages=abc", "?_getpages=abc", "/Observation?_page=AAAA", "/Observation?_page=a&_page=b"]
)
async def test_no_other_paging_url_is_opened(target: str) -> None:
    upstream = served()
    response = await Front(upstream, BOUNDED).get(target)
    assert response.status_code in {400, 403, 404}
    assert upstream.asked == []


async def test_links_of_other_hosts_are_dropped() -> None:
    upstream = served(link=[{"relation": "next", "url": "http://10.0.0.7/fhir/Observation?page=2"}])
    bundle = (await Front(upstream, BOUNDED).get("/Observation")).json()
    assert [link["relation"] for link in bundle["link"]] == ["self"]


async def test_another_patient_is_403_or_an_empty_searchset() -> None:
    upstream = served()
    refused = await Front(upstream, BOUNDED).get("/Observation?patient=999")
    assert (refused.status_code, code_of(refused)) == (403, "foreign-patient")
    empty = await Front(upstream, BOUNDED, policy=policy(foreign_patient_search="empty")).get("/Observation?patient=999")
    assert empty.status_code == 200
    assert empty.json() == {
        "resourceType": "Bundle",
        "type": "searchset",
        "total": 0,
        "link": [{"relation": "self", "url": f"{PUBLIC}/Observation?patient=999"}],
    }
    assert upstream.asked == []


@pytest.mark.parametrize(
    ("status", "answered"),
    [
        (400, 400),
        (401, 400),
        (403, 400),
        (404, 404),
        (409, 412),
        (418, 400),
        (422, 422),
        (429, 429),
        (500, 502),
        (503, 503),
        (504, 504),
        (302, 502),
    ],
)
async def test_of_an_upstreams_error_only_the_class_is_kept(status: int, answered: int) -> None:
    upstream = ScriptedUpstream()
    upstream.replies["GET /Observation"] = Reply(
        status, outcome("secret-of-the-upstream Patient/999"), {"Retry-After": "7", "Location": f"{UPSTREAM}/x"}
    )
    front = Front(upstream, BOUNDED)
    response = await front.get("/Observation")
    assert response.status_code == answered
    assert "secret" not in response.text
    assert "999" not in response.text
    assert "location" not in response.headers
    assert response.headers.get("retry-after") == {429: "7", 503: "5"}.get(answered)
    assert front.event.upstream_status == status


async def test_without_a_bound_the_answer_streams_in_the_public_base() -> None:
    chunks = [b'{"resourceType":"Bundle","link":[{"url":"http://127.0', b".0.1:8090/fhi", b'r?_getpages=1"}],"x":"', b"y" * 10, b'"}']
    upstream = ScriptedUpstream()
    upstream.replies["GET /Observation"] = Reply(200, chunks=tuple(chunks), headers={"Content-Length": str(sum(map(len, chunks)))})
    response = await Front(upstream, "system/*.rs").get("/Observation")
    assert response.content == b"".join(chunks).replace(UPSTREAM.encode(), PUBLIC.encode())
    assert "content-length" not in response.headers


async def test_an_answer_in_one_part_keeps_its_length() -> None:
    upstream = served()
    response = await Front(upstream, "system/*.rs").get("/Observation")
    assert int(response.headers["content-length"]) == len(response.content)
    assert response.json()["entry"][0]["fullUrl"] == f"{PUBLIC}/Observation/o1"


async def test_access_is_computed_once_for_a_cached_principal() -> None:
    front = Front(served(), BOUNDED)
    for _ in range(2):
        assert (await front.get("/Observation")).json()["entry"]
    front.snapshot.verifier.principals["t"] = principal(BOUNDED, patient="999")  # type: ignore[attr-defined]
    assert [e["resource"]["id"] for e in (await front.get("/Observation")).json()["entry"]] == ["theirs"]
    front.reload(policy=policy(clients={}))
    assert (await front.get("/Observation")).status_code == 403


async def test_a_form_has_a_limit_of_its_own() -> None:
    front = Front(ScriptedUpstream(observation()), BOUNDED)
    refused = await front.request("POST", "/Observation/_search", content="code=" + "a," * 600_000, headers=FORM)
    assert refused.status_code == 413
