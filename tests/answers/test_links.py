from __future__ import annotations

import zlib
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from smart_gateway.answers.links import link_sealer, open_page, page_context, parse_target, relative_target, self_url
from smart_gateway.boundary.model import NOTHING, Filter
from smart_gateway.errors import PageExpired, PageRefused, RequestError
from smart_gateway.fhir.interactions import Interaction
from smart_gateway.fhir.references import Reference
from smart_gateway.policy.access import Access
from smart_gateway.policy.pages import Page, PageBranch, UnionPage
from smart_gateway.policy.paging import plan_opened
from smart_gateway.policy.plan import (
    Branch,
    CheckHistory,
    CheckSearchset,
    CheckUnion,
    SortKey,
    UpstreamRequest,
)
from smart_gateway.request.model import FhirRequest, QueryParameter
from tests.answers.conftest import BASES, NOW, POLICY, PUBLIC, SEALER, UPSTREAM, access, principal

PLACE = ("Observation",)
SEARCH = FhirRequest(
    Interaction.SEARCH_TYPE, "GET", "Observation", parameters=(QueryParameter("code", "code", "http://loinc.org|8867-4 &"),)
)


def sealed(found: Access, url: str, exact: bool = True, drop: tuple[str, ...] = ()) -> str | None:
    """The ``_page`` value of the next link to ``url``."""
    rule = CheckSearchset("Observation", NOTHING, exact, drop_elements=drop)
    sealer = link_sealer(SEARCH, PLACE, found, SEALER, NOW, lambda size: b"\x01" * size)
    links = {link["relation"]: link["url"] for link in sealer.links((("next", url),), rule)}
    if "next" not in links:
        return None
    assert links["next"].startswith(f"{PUBLIC}/Observation?_page=")
    return links["next"].partition("=")[2]


def test_round_trip(lab: Access) -> None:
    token = sealed(lab, f"{UPSTREAM}?_getpages=a-b&_getpagesoffset=10&name=M%C3%BCller+x&empty=", False, ("subject",))
    assert token is not None
    query = (("_getpages", "a-b"), ("_getpagesoffset", "10"), ("name", "Müller x"), ("empty", ""))
    assert open_page(token, "Observation", lab, SEALER, NOW + 5) == Page(
        UpstreamRequest("GET", (), query), "Observation", drop_elements=("subject",)
    )


def test_a_page_knows_the_includes_of_its_search(lab: Access) -> None:
    rule = CheckSearchset("Observation", NOTHING, False, includes=(("_revinclude", "Provenance:target"),))
    sealer = link_sealer(SEARCH, PLACE, lab, SEALER, NOW, lambda size: b"\x01" * size)
    link = sealer.links((("next", f"{UPSTREAM}?_getpages=a"),), rule)[1]["url"]
    page = open_page(link.partition("=")[2], "Observation", lab, SEALER, NOW)
    assert isinstance(page, Page)
    assert page.includes == rule.includes
    opened = plan_opened(page, lab).answer
    assert isinstance(opened, CheckSearchset)
    assert opened.includes == rule.includes


@pytest.mark.parametrize(
    ("url", "path"),
    [
        (f"{UPSTREAM}?p=1", ()),
        (f"{UPSTREAM}/?p=1", ()),
        (f"{UPSTREAM}/Observation?p=1", ("Observation",)),
        (f"{PUBLIC}/Observation?p=1", ("Observation",)),
        (f"{UPSTREAM}/Patient/123/Observation?p=1", ("Patient", "123", "Observation")),
    ],
)
def test_links_under_the_bases_are_read(url: str, path: tuple[str, ...]) -> None:
    target = relative_target(url, BASES, "Observation", PLACE)
    assert target is not None
    assert parse_target(target, "Observation", PLACE) == UpstreamRequest("GET", path, (("p", "1"),))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "?_getpages=x",
        "/fhir?_getpages=x",
        "Observation?page=2",
        "http://evil.example/fhir?_getpages=x",
        "//127.0.0.1:8090/fhir?_getpages=x",
        f"{UPSTREAM}@evil.example/?p=1",
        f"{UPSTREAM}.evil.example?p=1",
        f"{UPSTREAM}-other?p=1",
        "http://127.0.0.1:8090@evil.example/fhir?p=1",
        "http://user:pw@127.0.0.1:8090/fhir?p=1",
        "HTTP://127.0.0.1:8090/fhir?p=1",
        f"{UPSTREAM}/Patient?p=1",
        f"{UPSTREAM}/Observation/1",
        f"{UPSTREAM}/Observation/1/_history",
        f"{UPSTREAM}/metadata",
        f"{UPSTREAM}/$expunge?p=1",
        f"{UPSTREAM}/Observation/$lastn?p=1",
        f"{UPSTREAM}/../admin?p=1",
        f"{UPSTREAM}/../Observation?p=1",
        f"{UPSTREAM}/Patient/../Observation?p=1",
        f"{UPSTREAM}/%2e%2e/Observation?p=1",
        f"{UPSTREAM}//Observation?p=1",
        f"{UPSTREAM}/Observation/?p=1",
        f"{UPSTREAM}/Observation;x=1?p=1",
        f"{UPSTREAM}/Observation?p=1#frag",
        f"{UPSTREAM}/Observation?p=1\r\nHost: evil",
        f"{UPSTREAM}/Observation?p=a b",
        f"{UPSTREAM}/Observation?p=%0d%0aHost",
        f"{UPSTREAM}/Observation?p=%zz",
        f"{UPSTREAM}/Observation?p=%ff",
        f"{UPSTREAM}/Observation?p=é",
        f"{UPSTREAM}/Observation?p=\\",
        f"{UPSTREAM}/Observation?" + "&".join(f"p{n}=1" for n in range(1001)),
    ],
)
def test_any_other_link_is_dropped(lab: Access, url: str) -> None:
    assert relative_target(url, BASES, "Observation", PLACE) is None
    assert sealed(lab, url) is None


@pytest.mark.parametrize(
    "change",
    [
        {"issuer": "https://other.example"},
        {"subject": "other"},
        {"client_id": "other"},
        {"patient": "124"},
        {"patient": None},
        {"tenant": "t"},
        {"fhir_user": Reference("Practitioner", "1")},
        {"scopes": principal("patient/Observation.rs").scopes},
    ],
)
def test_a_page_is_bound_to_whom_it_was_given(lab: Access, change: dict[str, object]) -> None:
    token = sealed(lab, f"{UPSTREAM}?_getpages=x")
    assert token is not None
    with pytest.raises(PageRefused) as refused:
        open_page(token, "Observation", Access(replace(lab.principal, **change), POLICY), SEALER, NOW)  # type: ignore[arg-type]
    assert (refused.value.status, refused.value.reason, refused.value.expression) == (403, "foreign-page", "http._page")


def test_the_order_of_scopes_does_not_matter() -> None:
    assert page_context(principal("user/A.r", "openid"), "A", PUBLIC) == page_context(principal("openid", "user/A.r"), "A", PUBLIC)
    assert page_context(principal("user/A.r"), "A", PUBLIC) != page_context(principal("user/A.r"), "B", PUBLIC)
    assert page_context(principal("user/A.r"), "A", PUBLIC) != page_context(principal("user/A.r"), "A", f"{PUBLIC}/t2")


def test_a_page_of_another_type_or_an_old_one_is_refused(lab: Access) -> None:
    token = sealed(lab, f"{UPSTREAM}?_getpages=x")
    assert token is not None
    with pytest.raises(PageRefused):
        open_page(token, "Patient", lab, SEALER, NOW)
    with pytest.raises(PageExpired) as expired:
        open_page(token, "Observation", lab, SEALER, NOW + 900)
    assert (expired.value.status, expired.value.reason, expired.value.expression) == (404, "page-expired", "http._page")


@pytest.mark.parametrize(
    "sealed",
    [
        b'["page","/Observation/1",["Observation"],null,false,true,[],[],""]',
        b'["page","/Observation",true,[]]',
        b'["/Observation",["Observation"],null,false,true,[],[],""]',
        b'["union",[[false,"/Observation/1","Observation",[],[],0]],null,[]]',
        b'["union",[[true,"/Observation/_search/_search?a=b","Observation",[],[],0]],null,[]]',
        b'["union",[[false,"/Patient?a=b","Observation",[],[],0]],null,[]]',
        b'["other"]',
        b"x",
        b"",
        zlib.compress(b'["page"]'),
    ],
)
def test_what_was_sealed_is_judged_again(lab: Access, sealed: bytes) -> None:
    token = SEALER.seal(sealed, page_context(lab.principal, "Observation", PUBLIC), NOW, b"n" * 12)
    with pytest.raises(PageRefused):
        open_page(token, "Observation", lab, SEALER, NOW)


@pytest.mark.parametrize(
    ("request_", "url"),
    [
        (SEARCH, f"{PUBLIC}/Observation?code=http://loinc.org%7C8867-4%20%26"),
        (replace(SEARCH, parameters=()), f"{PUBLIC}/Observation"),
        (FhirRequest(Interaction.SEARCH_SYSTEM, "GET"), PUBLIC),
        (
            replace(SEARCH, interaction=Interaction.SEARCH_COMPARTMENT, compartment=Reference("Patient", "123"), parameters=()),
            f"{PUBLIC}/Patient/123/Observation",
        ),
        (FhirRequest(Interaction.SEARCH_COMPARTMENT, "GET", compartment=Reference("Patient", "123")), f"{PUBLIC}/Patient/123/*"),
        (FhirRequest(Interaction.PAGE, "GET", "Observation", page="abc"), f"{PUBLIC}/Observation?_page=abc"),
    ],
)
def test_self_is_the_request_as_parsed(request_: FhirRequest, url: str) -> None:
    assert self_url(request_, PUBLIC) == url
    assert urlsplit(url).scheme == "https"


def test_links_hold_the_first_of_each_relation(lab: Access) -> None:
    sealer = link_sealer(SEARCH, PLACE, access("patient/Observation.rs"), SEALER, NOW, lambda size: b"\x01" * size)
    found = (("previous", f"{UPSTREAM}?p=1"), ("prev", f"{UPSTREAM}?p=2"), ("self", f"{UPSTREAM}?p=3"), ("collection", f"{UPSTREAM}?p=4"))
    assert [link["relation"] for link in sealer.links(found, CheckSearchset("Observation", NOTHING, True))] == ["self", "previous"]


INCLUDES = (("_include:iterate", "Observation:subject:Patient"), ("_revinclude", "*"))
BOUND = CheckSearchset("Observation", NOTHING, False, drop_elements=("subject",), includes=INCLUDES)


def union_link(found: Access, *branches: Branch, longest: int = 8192) -> list[dict[str, str]]:
    rule = CheckUnion((), "Observation", 7, (SortKey("date", True), SortKey("_lastUpdated")))
    sealer = link_sealer(SEARCH, (), found, SEALER, NOW, lambda size: b"\x01" * size, longest)
    return sealer.union_links(branches, rule)


@pytest.mark.parametrize(
    "upstream",
    [
        UpstreamRequest("GET", ("Observation",), (("code", "http://loinc.org|1 &?#\u00fc+"), ("subject", "Patient/123"))),
        UpstreamRequest("GET", ("Observation",)),
        UpstreamRequest("GET", (), (("_getpages", "a-b"),)),
        UpstreamRequest("GET", ("Patient", "123", "Observation"), (("code", "x"),)),
        UpstreamRequest("POST", ("Observation", "_search"), form=(("code", "a&b=c"), ("empty", ""))),
        UpstreamRequest("POST", ("Patient", "123", "Observation", "_search"), form=()),
    ],
)
@pytest.mark.parametrize("copies", [1, 60])
def test_a_union_goes_round(lab: Access, upstream: UpstreamRequest, copies: int) -> None:
    unless = (Filter("subject", None, ("Patient/123", "Patient/4\\,5")),)
    branch = Branch(upstream, BOUND, unless, 3)
    links = union_link(lab, *[branch] * copies)
    assert [link["relation"] for link in links] == ["self", "next"]
    assert len(links[1]["url"]) < 2000
    opened = open_page(links[1]["url"].partition("=")[2], "Observation", lab, SEALER, NOW)
    part = PageBranch(upstream, "Observation", ("subject",), unless, 3, INCLUDES)
    assert opened == UnionPage((part,) * copies, "Observation", 7, (SortKey("date", True), SortKey("_lastUpdated")))


def test_a_union_without_anything_left_has_no_next(lab: Access) -> None:
    assert [link["relation"] for link in union_link(lab)] == ["self"]


def test_a_next_link_is_never_left_out_for_its_length(lab: Access) -> None:
    branch = Branch(UpstreamRequest("GET", ("Observation",), (("code", "x"),)), BOUND)
    target = urlsplit(union_link(lab, branch)[1]["url"])
    length = len(f"{target.path}?{target.query}")
    assert len(union_link(lab, branch, longest=length + 1)) == 2
    with pytest.raises(RequestError) as error:
        union_link(lab, branch, longest=length)
    assert (error.value.status, error.value.reason) == (400, "page-too-long")


def test_a_history_and_a_search_are_never_taken_for_each_other(lab: Access) -> None:
    sealer = link_sealer(SEARCH, ("Observation", "_history"), lab, SEALER, NOW, lambda size: b"\x01" * size)
    found = (("next", f"{UPSTREAM}/Observation/_history?page=2"),)
    (_, next) = sealer.links(found, CheckHistory("Observation", None, NOTHING))
    page = open_page(next["url"].partition("=")[2], "Observation", lab, SEALER, NOW)
    assert isinstance(page, Page)
    assert page.history
    assert sealed(lab, f"{UPSTREAM}/Observation/_history?page=2") is None


def test_onward_is_the_next_page_by_the_rule_of_its_link(lab: Access) -> None:
    sealer = link_sealer(SEARCH, PLACE, lab, SEALER, NOW, lambda size: b"\x01" * size)
    assert sealer.onward((("self", UPSTREAM), ("next", f"{UPSTREAM}?p=1")), BOUND) == UpstreamRequest("GET", (), (("p", "1"),))
    for found in ((), (("previous", f"{UPSTREAM}?p=1"),), (("next", "http://evil.example?p=1"),), (("next", f"{UPSTREAM}/Patient?p=1"),)):
        assert sealer.onward(found, BOUND) is None
