"""YAML is read strictly, and every value knows its place."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_gateway.settings.reading.document import MAX_BYTES, read_document, read_value
from smart_gateway.settings.reading.tree import Node


def read(text: str) -> Any:
    document = read_document(text.encode(), "f.yaml")
    assert document.findings == ()
    assert document.root is not None
    return document.root.plain()


def refused(text: str | bytes) -> list[tuple[int | None, int | None, str, str]]:
    data = text if isinstance(text, bytes) else text.encode()
    return [(f.place.line, f.place.column, f.key, f.text) for f in read_document(data, "f.yaml").findings]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1", {"a": 1}),
        ("a: -3", {"a": -3}),
        ("a: 1.5", {"a": 1.5}),
        ("a: true\nb: False", {"a": True, "b": False}),
        ("a: null\nb: ~\nc:", {"a": None, "b": None, "c": None}),
        (
            "a: 0x10\nb: 017\nc: 1_000\nd: 1:30:00\ne: 2024-01-01\nf: .inf",
            {"a": "0x10", "b": "017", "c": "1_000", "d": "1:30:00", "e": "2024-01-01", "f": ".inf"},
        ),
        ("a: \"1\"\nb: 'no'\nc: |\n  on\n", {"a": "1", "b": "no", "c": "on\n"}),
        ("no: 1\n42: x\n~: z", {"no": 1, "42": "x", "~": "z"}),
        ("a: [x, {b: c}]", {"a": ["x", {"b": "c"}]}),
        ("a: &x [1, 2]\nb: *x", {"a": [1, 2], "b": [1, 2]}),
        ("\ufeffa: 1", {"a": 1}),
        ("a: 99999999999999999999", {"a": "99999999999999999999"}),
        ("%YAML 1.1\n---\na: 1\n...\n", {"a": 1}),
    ],
)
def test_values(text: str, value: Any) -> None:
    assert read(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[user/Patient.rs?a=b, c?d?e]", ["user/Patient.rs?a=b", "c?d?e"]),
        ("{a: x?y, b: z?}", {"a": "x?y", "b": "z?"}),
        ("[http://x.example/?z=1]", ["http://x.example/?z=1"]),
        ("[a, ? b : c]", ["a", {"b": "c"}]),
    ],
)
def test_question_marks_in_flow_lists_are_those_of_yaml_1_2(text: str, value: Any) -> None:
    assert read(text) == value


@pytest.mark.parametrize(
    ("text", "line", "column", "key", "says"),
    [
        ("a: 1\nb: 2\na: 3", 3, 1, "a", "already there (line 1)"),
        ("x:\n  - {a: 1, a: 2}", 2, 12, "x[0].a", "already there (line 2)"),
        ("a: !!str 1", 1, 4, "a", "tags are not used"),
        ("a: !foo {b: 1}", 1, 4, "a", "tags are not used"),
        ("!!str a: 1", 1, 1, "", "tags are not used"),
        ("b: &x {c: 1}\na:\n  <<: *x", 3, 3, "a", "merge keys are not used"),
        ("a: yes", 1, 4, "a", '"yes" is a boolean to some YAML readers'),
        ("a: [On, x]", 1, 5, "a[0]", '"On" is a boolean'),
        ("a: off\n", 1, 4, "a", '"off" is a boolean'),
        ("a: 1\n---\nb: 2", 2, 1, "", "a second document begins here"),
        ("a: *b", 1, 4, "a", "an alias without an anchor"),
        ("a: &b [*b]", 1, 8, "a[0]", "an alias without an anchor"),
        ("? [a]\n: b", 1, 3, "", "a key is a text"),
        ('"": 1', 1, 1, "", "an empty key"),
        ("a: [", 1, 5, "", "not YAML"),
        ("a: b: c", 1, 5, "", "not YAML: mapping values are not allowed here"),
        ("a:\n\t- b", 2, 1, "", "not YAML"),
        ("a: \x00", 1, 4, "", "a character that no text may hold"),
        ('a: "\\ud800"', 1, 4, "a", "half a character"),
        ('a: "\\U00110000"', 1, 1, "", "not YAML"),
        (b"a: 1\nb: \xff", 2, 4, "", "not UTF-8"),
        ("[" * 5000, 1, 34, "[0]" * 33, "nested deeper than 32 levels"),
    ],
)
def test_refusals_have_their_place(text: str | bytes, line: int, column: int, key: str, says: str) -> None:
    found = refused(text)
    assert [(found[0][0], found[0][1], found[0][2])] == [(line, column, key)]
    assert says in found[0][3]


def test_an_alias_bomb_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert "too deep or too large" in refused("\n".join(lines))[0][3]


def test_a_large_file_is_refused() -> None:
    assert refused(b"a" * (MAX_BYTES + 1)) == [(None, None, "", "the file is larger than 4 MiB")]


def test_places_are_counted_from_one() -> None:
    root = read_document(b"a:\n  b: [x,\n      y]\n", "f.yaml").root
    assert root is not None
    assert isinstance(root.content, dict)
    places = {path: str(node.place) for path, node in root.walk()}
    assert places == {
        (): "f.yaml:1:1",
        ("a",): "f.yaml:2:3",
        ("a", "b"): "f.yaml:2:6",
        ("a", "b", 0): "f.yaml:2:7",
        ("a", "b", 1): "f.yaml:3:7",
    }


def test_an_alias_is_a_tree_of_its_own() -> None:
    root = read_document(b"a: &x {k: [1]}\nb: *x", "f.yaml").root
    assert root is not None
    first, second = root.child("a"), root.child("b")
    assert isinstance(first, Node)
    assert isinstance(second, Node)
    first.remove("k")
    assert second.plain() == {"k": [1]}


def test_a_variable_has_no_lines() -> None:
    document = read_value("{a: [1], b: yes}", "$X")
    assert document.root is not None
    assert {str(node.place) for _, node in document.root.walk()} == {"$X"}
    assert [str(finding.place) for finding in document.findings] == ["$X"]
    assert document.root.raw == "{a: [1], b: yes}"


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_no_bytes_raise(data: bytes) -> None:
    document = read_document(data, "f.yaml")
    assert all(finding.place.source == "f.yaml" for finding in document.findings)


_YAML_SIGNS = st.text(alphabet="ab:-?[]{},&*!|>'\"%@`#<~ \n\t0.1\\", max_size=80)


@given(_YAML_SIGNS)
def test_no_signs_raise(text: str) -> None:
    document = read_document(text.encode(), "f.yaml")
    if document.root is not None:
        document.root.plain()
