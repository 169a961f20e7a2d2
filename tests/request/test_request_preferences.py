"""What the client prefers: media, Prefer, conditions."""

from __future__ import annotations

import pytest

from smart_gateway.request.model import Preferences
from tests.support.asking import ask, fault

MATCHES = ['W/"1"', '"1"', '"a-b.c"', "*", '""']


def preferences(query: str = "", **headers: str) -> Preferences:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return ask("GET", "/fhir/Patient/1" + (f"?{query}" if query else ""), pairs).preferences


def test_nothing_asked_for_is_anything() -> None:
    assert preferences() == Preferences(media="any", accept=None)


@pytest.mark.parametrize(
    ("accept", "media", "wanted"),
    [
        ("application/fhir+json", "json", "application/fhir+json"),
        ("application/json", "json", "application/fhir+json"),
        ("application/fhir+xml", "xml", "application/fhir+xml"),
        ("text/turtle", "turtle", "application/fhir+turtle"),
        ("*/*", "any", None),
        ("image/png", "other", None),
    ],
)
def test_accept_names_the_media(accept: str, media: str, wanted: str | None) -> None:
    found = preferences(accept=accept)
    assert (found.media, found.accept) == (media, wanted)


@pytest.mark.parametrize(
    ("format", "media"),
    [("json", "json"), ("xml", "xml"), ("application/fhir%2Bjson", "json"), ("application/fhir+json", "json"), ("html", "other")],
)
def test_format_overrides_accept(format: str, media: str) -> None:
    assert preferences(f"_format={format}", accept="text/turtle").media == media


@pytest.mark.parametrize("accept", ["json", "a/b;q=2", "*/*;q=x", "text/html text/xml", ";", "a/b/c"])
def test_a_malformed_accept_is_refused(accept: str) -> None:
    error = fault("GET", "/fhir/Patient/1", [(b"accept", accept.encode())])
    assert (error.reason, error.expression) == ("malformed-header", "http.Accept")


@pytest.mark.parametrize("blank", [" ", "\t", " \t"])
@pytest.mark.parametrize("shape", ['a={}!"', 'a{}"', '{}"', 'a{}={}"a"{}x', "a={},b={}="])
def test_blanks_take_no_more_than_their_own_time(shape: str, blank: str) -> None:
    """As many as the headers may be long: a pattern that tries each of them twice would be at it for minutes."""
    blanks = blank * (60_000 // len(blank) // shape.count("{}"))
    assert preferences(prefer=shape.replace("{}", blanks) + ",return=minimal").prefer_return == "minimal"


@pytest.mark.parametrize(
    ("prefer", "returned", "handling", "waiting"),
    [
        ("return=minimal", "minimal", None, False),
        ('Return="representation"; x=y', "representation", None, False),
        ("return=OperationOutcome, handling=strict", "OperationOutcome", "strict", False),
        ("respond-async, wait=10", None, None, True),
        ("Respond-Async", None, None, True),
        ("respond-async;x", None, None, True),
        ("handling=lenient,handling=strict", None, "lenient", False),
        ("return=everything, handling=maybe", None, None, False),
        ("return", None, None, False),
        (",,=,;,return = minimal ,", "minimal", None, False),
        ("xrespond-async", None, None, False),
    ],
)
def test_prefer(prefer: str, returned: str | None, handling: str | None, waiting: bool) -> None:
    found = preferences(prefer=prefer)
    assert (found.prefer_return, found.prefer_handling, found.respond_async) == (returned, handling, waiting)


@pytest.mark.parametrize("value", MATCHES)
def test_entity_tags(value: str) -> None:
    assert preferences(if_match=value).if_match == value
    assert preferences(if_none_match=value).if_none_match == value


def test_if_none_match_may_be_a_list() -> None:
    assert preferences(if_none_match='W/"1", "2"').if_none_match == 'W/"1", "2"'


@pytest.mark.parametrize("value", ["1", "w/1", '"1', 'W/"1"x', '"a" "b"', "", '"a\tb"', "W/*", '"1",'])
@pytest.mark.parametrize("name", ["if-match", "if-none-match"])
def test_what_is_no_entity_tag_is_refused(name: str, value: str) -> None:
    error = fault("PUT", "/fhir/Patient/1", [(name.encode(), value.encode())])
    assert (error.status, error.reason) == (400, "malformed-header")


def test_if_match_is_one_version() -> None:
    assert fault("PUT", "/fhir/Patient/1", [(b"if-match", b'W/"1", W/"2"')]).reason == "malformed-header"


def test_if_modified_since_counts_when_it_is_a_date() -> None:
    date = "Sat, 29 Oct 1994 19:43:31 GMT"
    assert preferences(if_modified_since=date).if_modified_since == date
    assert preferences(if_modified_since="yesterday").if_modified_since is None


def test_if_none_exist_has_criteria() -> None:
    assert preferences(if_none_exist="identifier=a|b").if_none_exist == "identifier=a|b"
    assert fault("POST", "/fhir/Patient", [(b"if-none-exist", b" ")]).reason == "malformed-header"


def test_long_headers_are_read_like_short_ones() -> None:
    assert preferences(accept=", ".join(["text/html"] * 200) + ", application/fhir+json").media == "json"
