"""Interactions without a token: each by itself, bounded, and nothing that hangs on it (semantics 11)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from smart_gateway.fhir.interactions import Interaction
from smart_gateway.gateway.callers.identifying import ANONYMOUS
from smart_gateway.policy.access import Access
from smart_gateway.policy.authorize import authorize, authorize_types, is_public
from smart_gateway.policy.model import PublicInteraction
from smart_gateway.policy.plan import Deny, Permit
from smart_gateway.scopes.permissions import Permission
from tests.support.asgi import Front, Reply, ScriptedUpstream, searchset
from tests.support.deciding import parse, policy

REQUESTS = {
    "read": ("GET", "/ValueSet/1"),
    "vread": ("GET", "/ValueSet/1/_history/1"),
    "search-type": ("GET", "/ValueSet?name=x"),
    "create": ("POST", "/ValueSet"),
    "update": ("PUT", "/ValueSet/1"),
    "patch": ("PATCH", "/ValueSet/1"),
    "delete": ("DELETE", "/ValueSet/1"),
    "history-instance": ("GET", "/ValueSet/1/_history"),
    "history-type": ("GET", "/ValueSet/_history"),
    "operation": ("GET", "/ValueSet/$expand?url=http://a.example"),
}


def public(interaction: str, **choices: Any) -> PublicInteraction:
    choices.setdefault("type", "ValueSet")
    if interaction == "operation":
        choices.setdefault("operation", "$expand")
    return PublicInteraction(Interaction(interaction), **choices)


@pytest.mark.parametrize("listed", REQUESTS)
@pytest.mark.parametrize("asked", REQUESTS)
def test_what_is_listed_is_open_and_nothing_else(listed: str, asked: str) -> None:
    under = policy(public=(public(listed),))
    request = parse(*REQUESTS[asked], headers={"content-type": "application/json-patch+json"} if asked == "patch" else None)
    assert is_public(request, under) is (listed == asked)
    denied = authorize_types(request, Access(ANONYMOUS, under))
    assert (denied is None) is (listed == asked)


@pytest.mark.parametrize("listed", REQUESTS)
def test_public_is_never_without_bounds(listed: str) -> None:
    access = Access(ANONYMOUS, policy(public=(public(listed),)))
    assert not any(access.boundary("ValueSet", permission).is_everything or access.unlimited(permission) for permission in Permission)
    assert not any(not access.boundary("CodeSystem", permission).is_nothing for permission in Permission)


def test_other_operations_and_types_stay_closed() -> None:
    access = Access(ANONYMOUS, policy(public=(public("operation"),)))
    assert isinstance(authorize(parse("GET", "/ValueSet/$expand?url=http://a.example"), access), Permit)
    for target in ("/ValueSet/$validate-code?url=x&code=y", "/CodeSystem/$lookup?code=x", "/ValueSet/1", "/ValueSet", "/$export"):
        assert isinstance(authorize(parse("GET", target), access), Deny)


def test_a_search_over_types_opens_no_type_by_itself() -> None:
    request = parse("GET", "/?_type=ValueSet,CodeSystem")
    alone = Access(ANONYMOUS, policy(public=(public("search-system", type=None),)))
    assert isinstance(authorize(request, alone), Deny)
    some = Access(ANONYMOUS, policy(public=(public("search-system", type=None), public("search-type"))))
    assert isinstance(authorize(request, some), Deny)
    assert isinstance(authorize(parse("GET", "/?_type=ValueSet"), some), Permit)


async def test_entries_of_a_public_batch_are_public_each_by_itself() -> None:
    upstream = ScriptedUpstream({"resourceType": "ValueSet", "id": "1"})
    gateway = Front(upstream, policy=policy(public=(public("batch", type=None), public("read"))))
    urls = ("ValueSet/1/_history/1", "ValueSet?name=x", "Patient/1")
    entries = [{"request": {"method": "GET", "url": url}} for url in urls]
    bundle = json.dumps({"resourceType": "Bundle", "type": "batch", "entry": entries})
    answer = await gateway.request("POST", "", token=None, content=bundle, headers={"content-type": "application/fhir+json"})
    assert [entry["response"]["status"][:3] for entry in answer.json()["entry"]] == ["403", "403", "403"]
    assert not upstream.asked


async def test_the_pages_of_a_public_search_are_public() -> None:
    upstream = ScriptedUpstream()
    page = searchset({"resourceType": "ValueSet", "id": "1"})
    page["link"] = [{"relation": "next", "url": "http://127.0.0.1:8090/fhir?_getpages=1"}]
    upstream.replies["GET /ValueSet"] = Reply(200, page)
    gateway = Front(upstream, policy=policy(public=(public("search-type"),)))
    answer = await gateway.get("/ValueSet", token=None)
    (onward,) = [link["url"] for link in answer.json()["link"] if link["relation"] == "next"]
    upstream.replies["GET /"] = upstream.replies["GET "] = Reply(200, searchset({"resourceType": "ValueSet", "id": "2"}))
    answer = await gateway.get(onward, token=None)
    assert answer.status_code == 200
    assert answer.json()["entry"][0]["resource"]["id"] == "2"
