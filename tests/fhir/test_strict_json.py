"""Strict JSON: what is read, what is refused and why, and that nothing else can happen."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smart_gateway.fhir.strict_json import JsonError, parse_json

MEBIBYTE = 1024 * 1024
SCALARS = st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4), max_leaves=25
)
# Fragments that meet in places where lexers differ.
FRAGMENTS = st.sampled_from(
    [
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
        b"\\",
        b":",
        b",",
        b"a",
        b'"a"',
        b'"a":',
        b"1",
        b"\\u003a",
        b"\\u0061",
        b"\\ud800",
        b'\\"',
        b"\\\\",
        b" ",
        b"\xc3\xa9",
        b"\xff",
    ]
)


def refused(data: bytes, **options: int) -> str:
    with pytest.raises(JsonError) as caught:
        parse_json(data, **options)
    assert str(caught.value) == caught.value.text
    return caught.value.reason


def nested(data: Any) -> int:
    match data:
        case dict():
            return 1 + max(map(nested, data.values()), default=0)
        case list():
            return 1 + max(map(nested, data), default=0)
        case _:
            return 0


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a":1}', {"a": 1}),
        (' [1, 2.50, -0, 1E5, "x", true, false, null] ', [1, 2.5, 0, 1e5, "x", True, False, None]),
        ('"\\u00e9\\ud83d\\ude00\\/\\n"', "é😀/\n"),
        ('"é"', "é"),
        ('{"a":{"a":{"a":1}},"b":[{"a":1},{"a":1}]}', {"a": {"a": {"a": 1}}, "b": [{"a": 1}, {"a": 1}]}),
        ('{"a:b":"c:d","e":":::"}', {"a:b": "c:d", "e": ":::"}),
        ('{"a\\u003ab":"\\u003A"}', {"a:b": ":"}),
        ('{"":1}', {"": 1}),
        ('"[[[{{{\\"]]"', '[[[{{{"]]'),
        ("99999999999999999999999999999999", 99999999999999999999999999999999),
        ("1e-999999999999", 0.0),
        ("{}", {}),
        ("3", 3),
    ],
)
def test_json_is_read(text: str, value: object) -> None:
    assert parse_json(text.encode()) == value


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":1}',
        '{"a":1,"b":2,"a":3}',
        '{"a":1,"\\u0061":2}',
        '{"\\u0061":1,"\\u0061":2}',
        '{"a":1,"\\u0061":"\\u003a"}',
        '{"a":"\\u003a:","a":""}',
        '{"x":"\\\\u003a","a":1,"a":":"}',
        '[[{"b":{"a":1,"a":null}}]]',
        '{"":1,"":2}',
        '{"a":{"k":1},"a":{"k":1}}',
        '{"a":":","a":"::"}',
        '{"é":1,"\\u00e9":2}',
        '{"\\/":1,"/":2}',
        '{"a":1e5,"b":[{"resourceType":"Patient","resourceType":"Patient"}]}',
    ],
)
def test_doubled_keys_are_refused(text: str) -> None:
    assert refused(text.encode()) == "duplicate-key"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"{",
        b"[1,]",
        b'{"a":1,}',
        b"{a:1}",
        b"{'a':1}",
        b'{"a" 1}',
        b"{1:2}",
        b"[1 2]",
        b"01",
        b"1.",
        b".5",
        b"+1",
        b"-",
        b"0x1",
        b"1e",
        b"1_000",
        b"tRUE",
        b"{}{}",
        b"[1]\x00",
        b"/**/1",
        b"\x0b1",
        b"\xc2\xa01",
        b'"a',
        b'"\n"',
        b'"\x00"',
        b'"\\x"',
        b'"\\u00e"',
        b'"\\ud800"',
        b'"\\udc00"',
        b'"\\ud800\\u0041"',
        b"1e400",
        b"-1e400",
        b"1" * 5000,
        b"]",
        b"[}",
        b'{"a":1]',
        b'[\\"]',
        b"]" * 70 + b"[" * 70,
    ],
)
def test_other_texts_are_refused(data: bytes) -> None:
    assert refused(data) in {"syntax", "depth"}


@pytest.mark.parametrize(
    "data", [b'"\xff"', b'"\xc0\xaf"', b'"\xed\xa0\x80"', b'{"\xfe":1}', b"\xef\xbb\xbf{}", "{}".encode("utf-16"), "{}".encode("utf-32")]
)
def test_only_utf_8_is_read(data: bytes) -> None:
    assert refused(data) == "encoding"


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", " NaN "])
def test_constants_that_are_no_json(text: str) -> None:
    assert refused(text.encode()) == "constant"
    assert refused(f"[{text}]".encode()) == "syntax"


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]")])
def test_the_depth_is_exact(opening: bytes, closing: bytes) -> None:
    levels = opening.count(b"[") + opening.count(b"{")
    for depth in (64, 10, 2):
        times = depth // levels
        assert nested(parse_json(opening * times + b"1" + closing * times, max_depth=depth)) == depth
        assert refused(b"[" + opening * times + b"1" + closing * times + b"]", max_depth=depth) == "depth"
        among_others = b"[[],{}," + opening * (times - 1) + b"[]" + closing * (times - 1) + b",[],{}]"
        deepest = levels * (times - 1) + 2
        assert nested(parse_json(among_others, max_depth=deepest)) == deepest
        assert refused(among_others, max_depth=deepest - 1) == "depth"


def test_brackets_in_strings_are_no_levels() -> None:
    assert parse_json(json.dumps(["[" * 100, "]" * 100, '"[' * 100, "\\", "\\[" * 100]).encode()) is not None
    # Strings that would close levels for a careless counter.
    deep = b'["]",' * 70 + b"1" + b',"["]' * 70
    assert refused(deep) == "depth"
    assert refused(b'["\\"]",' * 70 + b"1" + b"]" * 70) == "depth"
    assert refused(b'["\\\\","]",' * 70 + b"1" + b"]" * 70) == "depth"


def test_width_is_no_depth() -> None:
    assert len(parse_json(b"[" + b",".join([b'{"a":[[]]}'] * 10_000) + b"]")) == 10_000


@pytest.mark.parametrize(
    "data",
    [
        b"[" * (16 * MEBIBYTE),
        b"[" * (8 * MEBIBYTE) + b"]" * (8 * MEBIBYTE),
        b'{"a":' * (3 * MEBIBYTE),
        b"[{}," * (4 * MEBIBYTE),
        b'[""' * MEBIBYTE,
        b'["\\"",' * MEBIBYTE,
        b"".join([b"[" + b"[" * 31 + b"]" * 31 + b","] * 60_000),
    ],
    ids=["open", "balanced", "objects", "siblings", "strings", "escapes", "spine"],
)
def test_a_whole_body_of_brackets_is_too_deep(data: bytes) -> None:
    assert refused(data) == "depth"


@pytest.mark.parametrize("data", [b'"' * (4 * MEBIBYTE), b"\\" * (4 * MEBIBYTE), b"9" * (4 * MEBIBYTE), b"-" * MEBIBYTE, b"]" * MEBIBYTE])
def test_other_floods_are_refused(data: bytes) -> None:
    assert refused(data) == "syntax"


def test_strings_over_chunk_borders_are_seen_whole() -> None:
    inside = b'"[' + b'x"' * 0 + b"[" * 70_000 + b'"'
    assert parse_json(b"[" + inside + b',"]' + b"]" * 70_000 + b'"]')[0].startswith("[[")
    assert refused(b"[" + inside + b"," + b"[" * 70 + b"]" * 70 + b"]") == "depth"


def test_a_caller_deep_in_the_stack_is_refused_too() -> None:
    """The parser's own recursion may end before our depth does."""

    def down(levels: int) -> str:
        if levels:
            return down(levels - 1)
        try:
            parse_json(b"[" * 60 + b"]" * 60)
        except JsonError as error:
            return error.reason
        return "read"

    results = set()
    for levels in range(0, sys.getrecursionlimit(), 5):
        try:
            results.add(down(levels))
        except RecursionError:
            break
    assert results <= {"read", "depth"}


@given(VALUES)
def test_what_json_writes_is_read_back(value: Any) -> None:
    ascii_, plain = json.dumps(value).encode(), json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    assert parse_json(ascii_) == value
    assert parse_json(plain) == value


@given(st.lists(FRAGMENTS, max_size=30).map(b"".join) | st.binary(max_size=60))
@example(b'{"a":1,"a":1}')
def test_any_bytes_are_read_as_json_reads_them_or_refused(data: bytes) -> None:
    try:
        value = parse_json(data, max_depth=8)
    except JsonError:
        return
    assert nested(value) <= 8
    assert value == json.loads(data.decode("utf-8"), object_pairs_hook=_no_doubles)


def _no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


@given(st.lists(st.sampled_from([b"[", b"]", b'"', b"\\", b"1,"]), max_size=40).map(b"".join))
def test_no_text_that_json_reads_is_refused_but_for_its_depth(data: bytes) -> None:
    try:
        value = json.loads(data)
    except ValueError:
        refused(data, max_depth=4)
        return
    if nested(value) > 4:
        assert refused(data, max_depth=4) == "depth"
    else:
        assert parse_json(data, max_depth=4) == value
