"""Which places the paths below the base name, and which paths name none."""

from __future__ import annotations

import pytest

from smart_gateway.errors import RequestError, UnknownPath, UnknownType
from smart_gateway.fhir.references import Reference
from smart_gateway.request.path import PathGrammar, Place, Target

TYPES = ("Patient", "Observation", "Encounter", "Practitioner", "RelatedPerson", "Device", "Binary")
COMPARTMENTS = ("Patient", "Encounter", "Practitioner", "RelatedPerson", "Device")
GRAMMAR = PathGrammar(TYPES, COMPARTMENTS, "/a/fhir")

GOOD = {
    "": Target(Place.BASE),
    "/": Target(Place.BASE),
    "/metadata": Target(Place.METADATA),
    "/.well-known/smart-configuration": Target(Place.SMART_CONFIGURATION),
    "/.well-known/oauth-protected-resource": Target(Place.PROTECTED_RESOURCE),
    "/_history": Target(Place.SYSTEM_HISTORY),
    "/_search": Target(Place.SYSTEM_SEARCH),
    "/$export": Target(Place.OPERATION, operation="$export"),
    "/%24export": Target(Place.OPERATION, operation="$export"),
    "/Patient": Target(Place.TYPE, "Patient"),
    "/Patient/_history": Target(Place.TYPE_HISTORY, "Patient"),
    "/Patient/_search": Target(Place.TYPE_SEARCH, "Patient"),
    "/Patient/$match": Target(Place.OPERATION, "Patient", operation="$match"),
    "/Patient/$my-op.v2": Target(Place.OPERATION, "Patient", operation="$my-op.v2"),
    "/Patient/1": Target(Place.INSTANCE, "Patient", "1"),
    "/Patient/metadata": Target(Place.INSTANCE, "Patient", "metadata"),
    "/Patient/-": Target(Place.INSTANCE, "Patient", "-"),
    "/Patient/a.b": Target(Place.INSTANCE, "Patient", "a.b"),
    "/Patient/.a": Target(Place.INSTANCE, "Patient", ".a"),
    "/Patient/" + "a" * 64: Target(Place.INSTANCE, "Patient", "a" * 64),
    "/Patient/1/_history": Target(Place.INSTANCE_HISTORY, "Patient", "1"),
    "/Patient/1/_history/2": Target(Place.VERSION, "Patient", "1", "2"),
    "/Patient/1/$everything": Target(Place.OPERATION, "Patient", "1", operation="$everything"),
    "/Patient/1/%24everything": Target(Place.OPERATION, "Patient", "1", operation="$everything"),
    "/Patient/1/Observation": Target(Place.COMPARTMENT, "Observation", compartment=Reference("Patient", "1")),
    "/Patient/1/*": Target(Place.COMPARTMENT, compartment=Reference("Patient", "1")),
    "/Patient/1/_search": Target(Place.COMPARTMENT_SEARCH, compartment=Reference("Patient", "1")),
    "/Patient/1/*/_search": Target(Place.COMPARTMENT_SEARCH, compartment=Reference("Patient", "1")),
    "/Patient/1/Observation/_search": Target(Place.COMPARTMENT_SEARCH, "Observation", compartment=Reference("Patient", "1")),
}

UNKNOWN = [
    "/x",
    "/_foo",
    "/*",
    "/a-b",
    "/.well-known/openid-configuration",
    "/.well-known",
    "/metadata/1",
    "/_history/1",
    "/_search/x",
    "/Observation/1/Patient",
    "/Observation/1/_search",
    "/Observation/1/*",
    "/Patient/1/2",
    "/Patient/1/_foo",
    "/Patient/1/Observation/2",
    "/Patient/1/Observation/_history",
    "/Patient/1/_history/2/3",
    "/Patient/1/Observation/_search/x",
    "/Patient/1/$x/y",
    "/$x/y",
]

FAULTY = {
    "//": "empty-segment",
    "//Patient": "empty-segment",
    "/Patient//1": "empty-segment",
    "/Patient/": "empty-segment",
    "/Patient/1/": "empty-segment",
    "/Patient/1/_history/": "empty-segment",
    "/.": "dot-segment",
    "/..": "dot-segment",
    "/./Patient": "dot-segment",
    "/Patient/.": "dot-segment",
    "/Patient/..": "dot-segment",
    "/Patient/../Observation": "dot-segment",
    "/Patient/...": "invalid-id",
    "/Patient/1/_history/....": "invalid-id",
    "/Patient/a_b": "invalid-id",
    "/Patient/a*b": "invalid-id",
    "/Patient/~": "invalid-id",
    "/Patient/" + "a" * 65: "invalid-id",
    "/Patient/_SEARCH": "invalid-id",
    "/Patient/1/_history/_": "invalid-id",
    "/Patient/$": "invalid-operation",
    "/Patient/$a_b": "invalid-operation",
    "/$a$b": "invalid-operation",
    "/patient": "wrong-case",
    "/PATIENT/1": "wrong-case",
    "/Metadata": "wrong-case",
    "/_SEARCH": "wrong-case",
    "/Patient/1/observation": "wrong-case",
    "/patient/1/Observation/_search": "wrong-case",
    "/Patient/a%2Fb": "encoded-separator",
    "/Patient/a%2fb": "encoded-separator",
    "/Patient%2F1": "encoded-separator",
    "/Patient/%2e": "encoded-separator",
    "/Patient/%2E%2E/Observation": "encoded-separator",
    "/Patient/a%5Cb": "encoded-separator",
    "/Pat%69ent/1": "encoded-path",
    "/Patient/1%00": "encoded-path",
    "/Patient/1%0d%0a": "encoded-path",
    "/Patient/%252F": "encoded-path",
    "/Patient/1%3F_count=1": "encoded-path",
    "/Patient/%c0%af": "encoded-path",
    "/Patient/%": "malformed-encoding",
    "/Patient/%2": "malformed-encoding",
    "/Patient/%zz": "malformed-encoding",
    "/Patient/%u002f": "malformed-encoding",
    "/Patient/1#x": "fragment",
    "/Patient\\1": "backslash",
    "/Patient/1;v=2": "path-parameter",
    "/Patient;x/1": "path-parameter",
    "/Patient/1 ": "path-character",
    "/Patient/1,2": "path-character",
    "/Patient/a:b": "path-character",
    "/Patient/a@b": "path-character",
    "/Patient/a|b": "path-character",
    "/Pätient/1": "path-character",
    "/Patient/１": "path-character",
    "/Patient/\x00": "control-character",
    "/Patient/1\r\nX: y": "control-character",
    "/Patient/\x7f": "control-character",
}


@pytest.mark.parametrize("path", GOOD)
def test_a_path_of_the_grammar_names_its_place(path: str) -> None:
    assert GRAMMAR.parse(f"/a/fhir{path}".encode()) == GOOD[path]


@pytest.mark.parametrize("compartment", COMPARTMENTS)
def test_all_five_compartments_are_searched_by_path(compartment: str) -> None:
    target = GRAMMAR.parse(f"/a/fhir/{compartment}/x-1/Observation".encode())
    assert target == Target(Place.COMPARTMENT, "Observation", compartment=Reference(compartment, "x-1"))


@pytest.mark.parametrize("path", UNKNOWN)
def test_other_paths_are_unknown(path: str) -> None:
    with pytest.raises(UnknownPath):
        GRAMMAR.parse(f"/a/fhir{path}".encode())


@pytest.mark.parametrize(
    "path", ["/Foo", "/Foo/1", "/Patient/1/Foo", "/Foo/1/Observation", "/Foo/$x", "/Patient/1/Foo/_search", "/Observations"]
)
def test_a_type_that_the_release_lacks_is_unknown(path: str) -> None:
    with pytest.raises(UnknownType):
        GRAMMAR.parse(f"/a/fhir{path}".encode())


@pytest.mark.parametrize(("path", "reason"), FAULTY.items())
def test_a_path_in_doubt_is_refused(path: str, reason: str) -> None:
    with pytest.raises(RequestError) as caught:
        GRAMMAR.parse(f"/a/fhir{path}".encode())
    assert (caught.value.status, caught.value.reason) == (400, reason)


@pytest.mark.parametrize(
    "path", ["/", "/a", "/a/", "/fhir/Patient", "/a/fhirx", "/a/fhirx/Patient", "/A/fhir/Patient", "/a/FHIR/Patient", "/b/a/fhir/Patient"]
)
def test_nothing_outside_of_the_base_is_served(path: str) -> None:
    with pytest.raises(UnknownPath):
        GRAMMAR.parse(path.encode())


@pytest.mark.parametrize(
    "target", ["http://fhir.example.org/a/fhir/Patient", "https://evil.example/a/fhir/Patient", "fhir.example.org:443", "*", "a/fhir", ""]
)
def test_a_target_that_is_no_path_is_refused(target: str) -> None:
    with pytest.raises(RequestError) as caught:
        GRAMMAR.parse(target.encode())
    assert (caught.value.status, caught.value.reason) == (400, "absolute-target")


@pytest.mark.parametrize("base", ["", "/"])
def test_a_base_at_the_root_of_the_host(base: str) -> None:
    grammar = PathGrammar(TYPES, COMPARTMENTS, base)
    assert grammar.parse(b"/Patient/1") == Target(Place.INSTANCE, "Patient", "1")
    assert grammar.parse(b"/") == Target(Place.BASE)
    assert grammar.parse(b"/.well-known/oauth-protected-resource") == Target(Place.PROTECTED_RESOURCE)


def test_protected_resource_metadata_stands_at_the_root_of_the_host_too() -> None:
    """RFC 9728 section 3.1: the well-known part is inserted between the host and the path."""
    assert GRAMMAR.parse(b"/.well-known/oauth-protected-resource/a/fhir") == Target(Place.PROTECTED_RESOURCE)
    for other in (
        b"/.well-known/oauth-protected-resource",
        b"/.well-known/oauth-protected-resource/a",
        b"/.well-known/oauth-protected-resource/a/fhir/x",
    ):
        with pytest.raises(UnknownPath):
            GRAMMAR.parse(other)


def test_long_paths_of_one_character_are_judged_in_linear_time() -> None:
    for character in (b"/", b".", b"%", b"a", b"$", b"*", b"%24"):
        with pytest.raises(RequestError):
            GRAMMAR.parse(b"/a/fhir/Patient/" + character * 100_000)
