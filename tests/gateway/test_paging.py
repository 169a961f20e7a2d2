"""Paging end to end: links sealed for one token, opened by any replica, judged anew; empty pages passed over (semantics 4)."""

from __future__ import annotations

import random
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from smart_gateway.answers.sealing import Sealer
from smart_gateway.policy.model import ClientRule
from tests.support.asgi import NOW, PUBLIC, FakeVerifier, Front, Reply, ScriptedUpstream, code_of, observation, outcome, searchset
from tests.support.deciding import policy, principal, scopes
from tests.support.paging import PagingUpstream, ids, link, pages, performed

UNION = policy(compartment_search="union")
STYLES = pytest.mark.parametrize("style", ["getpages", "offset", "cursor"])
MODES = pytest.mark.parametrize("under", [policy(), UNION], ids=["parameter", "union"])


def full(style: str = "getpages", number: int = 10) -> PagingUpstream:
    return PagingUpstream(*(observation(f"o{n}") for n in range(number)), style=style)


async def next_of(front: Front, target: str = "/Observation?_count=3") -> str:
    found = link(await front.get(target))
    assert found is not None
    return found


@STYLES
@MODES
@pytest.mark.parametrize("seed", range(8))
async def test_pages_of_a_server_that_widens_hold_everything_once(style: str, under: Any, seed: int) -> None:
    rng = random.Random(seed)
    resources = [observation(f"o{n}", rng.choice(("123", "456", "789"))) for n in range(rng.randrange(60))]
    front = Front(PagingUpstream(*resources, style=style, widened=True), "patient/Observation.rs", policy=under)
    found = await pages(front, f"/Observation?_count={rng.choice((1, 2, 5))}")
    given = [id for page in found for id in page]
    assert sorted(given) == sorted(f"Observation/{r['id']}" for r in resources if r["subject"]["reference"] == "Patient/123")


@STYLES
@pytest.mark.parametrize(("foreign", "requests", "expected"), [(0, 1, 1), (3, 2, 1), (14, 5, 1), (15, 6, 1), (18, 6, 0), (40, 6, 0)])
async def test_at_most_five_empty_pages_are_passed_over(style: str, foreign: int, requests: int, expected: int) -> None:
    resources = [*(observation(f"x{n}", "456") for n in range(foreign)), observation("mine"), *(observation(f"y{n}") for n in range(5))]
    upstream = PagingUpstream(*resources, style=style, widened=True)
    response = await Front(upstream, "patient/Observation.rs").get("/Observation?_count=3")
    assert len(upstream.asked) == requests
    assert bool(ids(response)) == bool(expected)
    assert link(response) is not None
    assert "456" not in response.text


async def test_the_page_that_was_reached_has_its_own_links() -> None:
    upstream = PagingUpstream(*(observation(f"x{n}", "456") for n in range(4)), *(observation(f"o{n}") for n in range(4)), widened=True)
    front = Front(upstream, "patient/Observation.rs")
    response = await front.get("/Observation?_count=2")
    assert ids(response) == ["Observation/o0", "Observation/o1"]
    assert link(response, "self") == f"{PUBLIC}/Observation?_count=2"
    assert ids(await front.get(link(response) or "")) == ["Observation/o2", "Observation/o3"]
    assert front.log.events[0].removed == 4


async def test_a_next_page_that_fails_leaves_its_link() -> None:
    upstream = PagingUpstream(*(observation(f"x{n}", "456") for n in range(9)), widened=True)
    upstream.replies["GET "] = Reply(500, outcome("inner words"))
    response = await Front(upstream, "patient/Observation.rs").get("/Observation?_count=3")
    assert ids(response) == []
    assert link(response) is not None


@pytest.mark.parametrize("url", ["http://evil.example/fhir?_getpages=1", "http://127.0.0.1:8090/fhir/Patient?x=1", "/fhir?_getpages=1"])
async def test_a_next_link_elsewhere_is_neither_followed_nor_given(url: str) -> None:
    upstream = ScriptedUpstream()
    page = searchset(observation("x", "456"), link=[{"relation": "next", "url": url}])
    upstream.replies["GET /Observation"] = Reply(200, page)
    for under in (policy(), UNION):
        upstream.asked.clear()
        response = await Front(upstream, "patient/Observation.rs", policy=under).get("/Observation")
        assert ids(response) == []
        assert link(response) is None
        assert {asked.line for asked in upstream.asked} == {"GET /Observation"}


@MODES
@STYLES
async def test_any_replica_opens_a_link(under: Any, style: str) -> None:
    upstream = full(style)
    one, other = (Front(upstream, "patient/Observation.rs", policy=under) for _ in range(2))
    url = await next_of(one)
    assert ids(await one.get(url)) == ids(await other.get(url)) == ["Observation/o3", "Observation/o4", "Observation/o5"]
    head = await other.request("HEAD", url)
    assert (head.status_code, head.content) == (200, b"")


@MODES
async def test_a_link_opens_for_nobody_else(under: Any) -> None:
    upstream = full()
    url = await next_of(Front(upstream, "patient/Observation.rs", policy=under))
    asked = len(upstream.asked)
    strangers = [
        Front(upstream, "patient/Observation.rs", policy=under, claims={"patient": "124"}),
        Front(upstream, "patient/Observation.rs", policy=under, claims={"subject": "somebody"}),
        Front(upstream, "patient/Observation.rs", policy=under, claims={"client_id": "other"}),
        Front(upstream, "patient/*.rs", policy=under),
        Front(upstream, "system/*.rs", policy=under),
        Front(upstream, "patient/Observation.rs", policy=under, sealer=Sealer([b"x" * 32], 900.0)),
    ]
    for stranger in strangers:
        response = await stranger.get(url)
        assert (response.status_code, code_of(response)) == (403, "foreign-page")
    own = Front(upstream, "patient/Observation.rs patient/Patient.rs", policy=under)
    url = await next_of(own)
    asked += len(upstream.asked) - asked
    for wrong in (url.replace("/Observation?", "/Patient?"), url.replace("/Observation?", "?"), url[:-4] + "AAAA"):
        assert code_of(await own.get(wrong)) == "foreign-page"
    assert len(upstream.asked) == asked


@MODES
async def test_a_link_expires(under: Any) -> None:
    now = [NOW]
    front = Front(full(), "patient/Observation.rs", policy=under, clock=lambda: now[0])
    url = await next_of(front)
    now[0] += 899
    assert (await front.get(url)).status_code == 200
    now[0] += 1
    response = await front.get(url)
    assert (response.status_code, code_of(response)) == (404, "page-expired")


@MODES
async def test_keys_are_rotated(under: Any) -> None:
    old, new = b"o" * 32, b"n" * 32
    front = Front(full(), "patient/Observation.rs", policy=under, sealer=Sealer([old], 900.0))
    url = await next_of(front)
    front.reload(sealer=Sealer([new, old], 900.0))
    assert (await front.get(url)).status_code == 200
    front.reload(sealer=Sealer([new], 900.0))
    assert code_of(await front.get(url)) == "foreign-page"


def limited(*texts: str, mode: str) -> Any:
    return policy(clients={"*": ClientRule(limit=scopes(*texts))}, compartment_search=mode)


@pytest.mark.parametrize("mode", ["parameter", "union"])
async def test_a_link_is_judged_by_the_policy_of_now(mode: str) -> None:
    resources = [observation(f"o{n}", category=[{"coding": [{"code": "laboratory" if n == 5 else "vital-signs"}]}]) for n in range(9)]
    front = Front(PagingUpstream(*resources), "patient/Observation.rs", policy=limited("patient/*.rs", mode=mode))
    url = await next_of(front)
    before = await front.get(url)
    assert len(ids(before)) == 3
    front.reload(policy=limited("patient/Observation.rs?category=laboratory", mode=mode))
    after = await front.get(url)
    assert ids(after) == ["Observation/o5"]
    assert "total" not in after.json()
    front.reload(policy=limited("patient/Observation.r", mode=mode))
    refused = await front.get(url)
    assert (refused.status_code, code_of(refused)) == (403, "foreign-page")
    front.reload(policy=limited("patient/Patient.rs", mode=mode))
    assert (await front.get(url)).status_code == 403


async def test_a_total_of_another_boundary_is_not_told() -> None:
    """The page itself has nothing to remove, but what the upstream counts is more than the token may know of now."""
    resources = [observation(f"o{n}", category=[{"coding": [{"code": "laboratory" if n > 2 else "vital-signs"}]}]) for n in range(6)]
    front = Front(PagingUpstream(*resources), "patient/Observation.rs", policy=limited("patient/*.rs", mode="parameter"))
    url = await next_of(front)
    assert (await front.get(url)).json()["total"] == 6
    front.reload(policy=limited("patient/Observation.rs?category=laboratory", mode="parameter"))
    after = await front.get(url)
    assert len(ids(after)) == 3
    assert "total" not in after.json()


async def test_a_page_of_includes_stays_within_what_may_be_read() -> None:
    upstream = full()
    front = Front(upstream, "patient/Observation.rs")
    url = await next_of(front)
    page = searchset(observation("o3"), {"resourceType": "Patient", "id": "123"}, {"resourceType": "Patient", "id": "456"})
    upstream.replies["GET "] = Reply(200, page)
    assert ids(await front.get(url)) == ["Observation/o3"]


@pytest.mark.parametrize("scope", ["patient/*.rs", "user/Observation.rs system/Patient.rs"])
@pytest.mark.parametrize(
    "target",
    [
        "?_getpages=s0&_getpagesoffset=3",
        "/?_getpages=s0",
        "?_getpages=s0&_type=Observation",
        "/Patient?_getpages=s0&_bundletype=searchset",
    ],
)
async def test_no_other_paging_url_is_accepted_under_a_bound(scope: str, target: str) -> None:
    upstream = full()
    response = await Front(upstream, scope).get(target)
    assert (response.status_code, code_of(response)) == (403, "foreign-page")
    assert upstream.asked == []


async def test_without_a_bound_the_upstreams_own_links_pass() -> None:
    front = Front(full(), "system/*.rs")
    url = await next_of(front)
    assert parse_qs(urlsplit(url).query).keys() == {"_getpages", "_getpagesoffset", "_bundletype"}
    assert url.startswith(f"{PUBLIC}?")
    assert ids(await front.get(url)) == ["Observation/o3", "Observation/o4", "Observation/o5"]


async def test_previous_leads_back() -> None:
    front = Front(full("offset"), "patient/Observation.rs")
    first = await front.get("/Observation?_count=3")
    second = await front.get(link(first) or "")
    assert ids(await front.get(link(second, "previous") or "")) == ids(first)


async def test_a_page_longer_than_a_url_is_told_of() -> None:
    upstream = ScriptedUpstream()
    rng = random.Random(1)
    long = "".join(f"{rng.getrandbits(64):x}" for _ in range(700))
    for relation, expected in (("next", 400), ("previous", 200), ("last", 200)):
        page = searchset(observation("a"), link=[{"relation": relation, "url": f"http://127.0.0.1:8090/fhir?_getpages={long}"}])
        upstream.replies["GET /Observation"] = Reply(200, page)
        response = await Front(upstream, "patient/Observation.rs").get("/Observation")
        assert response.status_code == expected
        if expected == 200:
            assert link(response, relation) is None
        else:
            assert code_of(response) == "page-too-long"


async def test_a_union_whose_upstream_forgets_its_pages_is_refused() -> None:
    upstream = PagingUpstream(*(observation(f"o{n}") for n in range(9)), *(performed(f"p{n}") for n in range(9)))
    front = Front(upstream, "patient/Observation.rs", policy=UNION)
    url = await next_of(front)
    upstream._searches.clear()
    response = await front.get(url)
    assert response.status_code == 404


async def test_a_new_token_of_the_same_person_goes_on() -> None:
    upstream = full()
    verifier = FakeVerifier({name: principal("patient/Observation.rs", subject="s") for name in ("t", "u")})
    front = Front(upstream, verifier=verifier)
    url = await next_of(front)
    assert ids(await front.get(url, token="u")) == ["Observation/o3", "Observation/o4", "Observation/o5"]
