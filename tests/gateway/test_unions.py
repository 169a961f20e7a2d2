"""Searches made of several, end to end: pages together hold every member once, in order (semantics 4, compartments by ``union``)."""

from __future__ import annotations

import random
from typing import Any

import pytest

from smart_gateway.policy.model import Capabilities
from tests.support.asgi import UPSTREAM, Front, Reply, code_of, observation, outcome, searchset
from tests.support.deciding import policy
from tests.support.paging import PagingUpstream, ids, link, pages, performed

UNION = policy(compartment_search="union")
STYLES = ("getpages", "offset", "cursor")


def world(rng: random.Random) -> list[dict[str, Any]]:
    """Observations of patient 123 by either element, by both and by none, dated at random; some without a date."""
    made = []
    for number in range(rng.randrange(1, 45)):
        resource = observation(f"o{number}", rng.choice(("123", "123", "456")))
        if rng.random() < 0.5:
            resource["performer"] = [{"reference": f"Patient/{rng.choice(('123', '456'))}"}]
        day = f"2024-0{rng.randrange(1, 10)}-1{rng.randrange(10)}"
        resource["effectiveDateTime"] = rng.choice((day, f"{day}T0{rng.randrange(10)}:00:00Z"))
        resource["meta"] = {"versionId": "1", "lastUpdated": f"2024-0{rng.randrange(1, 10)}-1{rng.randrange(10)}T10:00:00Z"}
        made.append(resource)
    rng.shuffle(made)
    return made


def is_member(resource: dict[str, Any]) -> bool:
    return any(r.get("reference") == "Patient/123" for r in (resource["subject"], *resource.get("performer", [])))


@pytest.mark.parametrize("seed", range(60))
async def test_pages_hold_every_member_once(seed: int) -> None:
    rng = random.Random(seed)
    resources = world(rng)
    upstream = PagingUpstream(*resources, style=rng.choice(STYLES))
    count = rng.choice((1, 2, 3, 5, 10, 100))
    sort = rng.choice(("", "&_sort=_lastUpdated", "&_sort=-_lastUpdated", "&_sort=-_lastUpdated,_lastUpdated"))
    found = await pages(Front(upstream, "patient/Observation.rs", policy=UNION), f"/Observation?_count={count}{sort}")
    given = [id for page in found for id in page]
    assert sorted(given) == sorted(f"Observation/{r['id']}" for r in resources if is_member(r))
    assert all(len(page) <= count for page in found)
    if sort:
        dates = {f"Observation/{r['id']}": r["meta"]["lastUpdated"] for r in resources}
        assert [dates[id] for id in given] == sorted((dates[id] for id in given), reverse=sort.startswith("&_sort=-"))


@pytest.mark.parametrize("seed", range(30))
async def test_pages_by_date_hold_every_member_once(seed: int) -> None:
    """Dates of different precision: the order is by day here, since servers differ below that."""
    rng = random.Random(seed)
    resources = world(rng)
    front = Front(PagingUpstream(*resources, style=rng.choice(STYLES)), "patient/Observation.rs", policy=UNION)
    sign = rng.choice(("", "-"))
    given = [id for page in await pages(front, f"/Observation?_count={rng.choice((1, 3, 9))}&_sort={sign}date") for id in page]
    assert sorted(given) == sorted(f"Observation/{r['id']}" for r in resources if is_member(r))
    days = {f"Observation/{r['id']}": r["effectiveDateTime"][:10] for r in resources}
    assert [days[id] for id in given] == sorted((days[id] for id in given), reverse=sign == "-")


async def test_each_inclusion_parameter_is_asked_side_by_side() -> None:
    upstream = PagingUpstream(observation("a"), performed("b"), observation("c", "456"), performed("d", subject="123"))
    response = await Front(upstream, "patient/Observation.rs", policy=UNION).get("/Observation?code=x")
    assert ids(response) == ["Observation/a", "Observation/d", "Observation/b"]
    assert [dict(asked.query) for asked in upstream.asked] == [
        {"code": "x", "subject": "Patient/123"},
        {"code": "x", "performer": "Patient/123"},
    ]
    assert response.json()["total"] == 3
    assert [found["relation"] for found in response.json()["link"]] == ["self"]


async def test_a_post_stays_a_post_on_every_page() -> None:
    upstream = PagingUpstream(*(observation(f"o{n}") for n in range(5)), *(performed(f"p{n}") for n in range(5)))
    front = Front(upstream, "patient/Observation.rs", policy=UNION)
    found = await pages(front, "/Observation/_search", method="POST", data={"_count": "4", "code": "secret-value"})
    assert sorted(id for page in found for id in page) == sorted(f"Observation/{x}{n}" for x in "op" for n in range(5))
    assert all("secret-value" not in str(asked.query) for asked in upstream.asked)
    assert {asked.method for asked in upstream.asked if b"secret-value" in asked.body} == {"POST"}


async def test_a_total_is_told_only_of_what_is_whole() -> None:
    upstream = PagingUpstream(*(observation(f"o{n}") for n in range(5)))
    front = Front(upstream, "patient/Observation.rs", policy=UNION)
    first = await front.get("/Observation?_count=3&_total=accurate")
    assert "total" not in first.json()
    assert "total" not in (await front.get(link(first) or "")).json()
    assert all("_total" not in dict(asked.query) for asked in upstream.asked)
    assert (await front.get("/Observation?_count=5")).json()["total"] == 5


@pytest.mark.parametrize(
    ("query", "code", "expression"),
    [
        ("_summary=count", "union-count", "http._summary"),
        ("_count=0", "union-count", "http._count"),
        ("_sort=code", "sort-not-mergeable", "http._sort"),
        ("_sort=-date,status", "sort-not-mergeable", "http._sort"),
        ("_sort=_score", "sort-not-mergeable", "http._sort"),
        ("_sort=_id", "sort-not-mergeable", "http._sort"),
    ],
)
async def test_what_cannot_be_told_of_several_is_refused(query: str, code: str, expression: str) -> None:
    upstream = PagingUpstream(observation("a"))
    response = await Front(upstream, "patient/Observation.rs", policy=UNION).get(f"/Observation?{query}")
    assert (response.status_code, code_of(response)) == (403, code)
    assert response.json()["issue"][0]["expression"] == [expression]
    assert upstream.asked == []


async def test_the_elements_of_the_order_are_asked_for_and_go_again() -> None:
    upstream = PagingUpstream(observation("a", effectiveDateTime="2024-01-01"), performed("b", effectiveDateTime="2023-01-01"))
    response = await Front(upstream, "patient/Observation.rs", policy=UNION).get("/Observation?_elements=code&_sort=date")
    assert ids(response) == ["Observation/b", "Observation/a"]
    asked = dict(upstream.asked[0].query)["_elements"].split(",")
    assert set(asked) == {"code", "effectiveDateTime", "effectiveInstant", "effectivePeriod", "effectiveTiming", "performer", "subject"}
    assert all("effectiveDateTime" not in entry["resource"] and "subject" not in entry["resource"] for entry in response.json()["entry"])


async def test_entries_of_others_leave_by_no_branch() -> None:
    resources = [observation(f"o{n}", "456") for n in range(30)] + [observation("mine"), performed("by-me")]
    upstream = PagingUpstream(*resources, widened=True)
    found = await pages(Front(upstream, "patient/Observation.rs", policy=UNION), "/Observation?_count=4")
    assert sorted(id for page in found for id in page) == ["Observation/by-me", "Observation/mine"]


async def test_no_further_page_is_asked_for_where_this_one_holds_something() -> None:
    upstream = PagingUpstream(observation("mine"), *(observation(f"o{n}", "456") for n in range(20)), widened=True)
    response = await Front(upstream, "patient/Observation.rs", policy=UNION).get("/Observation?_count=4")
    assert ids(response) == ["Observation/mine"]
    assert len(upstream.asked) == 2


@pytest.mark.parametrize("failing", ["subject", "performer"])
@pytest.mark.parametrize(("status", "expected"), [(500, 502), (503, 503), (400, 400), (404, 404)])
async def test_half_an_answer_is_none(failing: str, status: int, expected: int) -> None:
    upstream = PagingUpstream()
    upstream.replies["GET /Observation"] = lambda asked: (
        Reply(status, outcome("inner words")) if failing in dict(asked.query) else Reply(200, searchset(observation("a")))
    )
    response = await Front(upstream, "patient/Observation.rs", policy=UNION).get("/Observation")
    assert response.status_code == expected
    assert "inner words" not in response.text
    assert '"a"' not in response.text


async def test_includes_come_once_and_are_judged() -> None:
    shared = {"resourceType": "Practitioner", "id": "p1"}
    foreign = {"resourceType": "Patient", "id": "456"}
    included = [{"fullUrl": f"{UPSTREAM}/x", "resource": r, "search": {"mode": "include"}} for r in (shared, foreign)]

    def reply(asked: Any) -> Reply:
        match = observation("a") if "subject" in dict(asked.query) else performed("b")
        bundle = searchset(match)
        return Reply(200, {**bundle, "entry": [*bundle["entry"], *included]})

    upstream = PagingUpstream()
    upstream.replies["GET /Observation"] = reply
    response = await Front(upstream, "patient/*.rs", policy=UNION).get("/Observation?_include=*")
    assert ids(response) == ["Observation/a", "Observation/b", "Practitioner/p1"]


async def test_the_clients_own_compartment_search_is_exact_too() -> None:
    upstream = PagingUpstream(observation("a"), performed("b"), observation("c", "456"))
    front = Front(upstream, "patient/Observation.rs", policy=UNION)
    assert ids(await front.get("/Patient/123/Observation")) == ["Observation/a", "Observation/b"]
    assert len(upstream.asked) == 2
    everything = Front(PagingUpstream(observation("a"), performed("b"), observation("c", "456")), "system/*.rs", policy=UNION)
    assert ids(await everything.get("/Patient/123/Observation")) == ["Observation/a", "Observation/b"]
    assert (await front.get("/Patient/456/Observation")).status_code == 403


async def test_types_of_a_search_are_asked_one_by_one() -> None:
    patient, other = {"resourceType": "Patient", "id": "123"}, {"resourceType": "Patient", "id": "456"}
    organization = {"resourceType": "Organization", "id": "org"}
    upstream = PagingUpstream(observation("a"), observation("b", "456"), patient, other, organization)
    front = Front(upstream, "patient/*.rs")
    response = await front.get("/?_type=Observation,Patient,Organization")
    assert ids(response) == ["Observation/a", "Patient/123", "Organization/org"]
    assert [(asked.line, dict(asked.query)) for asked in upstream.asked] == [
        ("GET /Observation", {"patient": "Patient/123"}),
        ("GET /Patient", {"_id": "123"}),
        ("GET /Organization", {}),
    ]
    posted = await front.request("POST", "/_search", data={"_type": "Patient,Observation"})
    assert ids(posted) == ["Patient/123", "Observation/a"]


@pytest.mark.parametrize("count", [1, 2, 7, 100])
async def test_pages_over_types_hold_everything_once(count: int) -> None:
    resources = [observation(f"o{n}") for n in range(9)] + [observation(f"x{n}", "456") for n in range(9)]
    resources += [{"resourceType": "Condition", "id": f"c{n}", "subject": {"reference": "Patient/123"}} for n in range(9)]
    upstream = PagingUpstream(*resources, {"resourceType": "Patient", "id": "123"})
    had = {type: frozenset({"patient", "subject", "_id"}) for type in ("Observation", "Condition", "Patient", "Encounter")}
    under = policy(capabilities=Capabilities(had, searches_all=False))
    front = Front(upstream, "patient/*.rs", policy=under)
    found = await pages(front, f"/Patient/123/*?_count={count}")
    given = [id for page in found for id in page]
    expected = [*(f"Observation/o{n}" for n in range(9)), *(f"Condition/c{n}" for n in range(9)), "Patient/123"]
    assert sorted(given) == sorted(expected)
    assert all(len(page) <= count for page in found)


async def test_a_compartment_of_every_type_takes_bounded_requests_a_page() -> None:
    last = {"resourceType": "VisionPrescription", "id": "v", "patient": {"reference": "Patient/123"}}
    upstream = PagingUpstream(last)
    front = Front(upstream, "patient/*.rs")
    first = await front.get("/Patient/123/*")
    asked = len(upstream.asked)
    assert (ids(first), asked) == ([], 40)
    url = link(first)
    assert url is not None
    assert len(url) < 8192
    assert ids(await front.get(url)) == ["VisionPrescription/v"]
    assert "total" not in first.json()


async def test_a_link_too_long_is_no_silent_end() -> None:
    upstream = PagingUpstream(*(observation(f"o{n}") for n in range(5)), style="offset")
    front = Front(upstream, "patient/Observation.rs", policy=UNION)
    rng = random.Random(1)
    codes = ",".join(str(rng.getrandbits(128)) for _ in range(600))
    response = await front.request("POST", "/Observation/_search", data={"code": codes, "_count": "2"})
    assert (response.status_code, code_of(response)) == (400, "page-too-long")
    whole = await front.request("POST", "/Observation/_search", data={"code": codes, "_count": "50"})
    assert len(ids(whole)) == 5
