"""Elements taken out of JSON: what goes, and that all else stays the bytes that it was."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smart_gateway.fhir.fields import FieldPath, parse_field, without

PATIENT = b"""{ "resourceType" : "Patient",
  "id":"1", "birthDate": "1970-01-01", "_birthDate": {"extension":[{"url":"x"}]},
  "name": [ {"family":"A", "given":["B"]}, {"family":"C"} ],
  "identifier":[{"system":"s","value":"1"},{"system":"t","value":"\\u00e9"}], "contact":[{"telecom":[1.0]}],
  "x": 1.00 , "deceasedBoolean":true}"""


@pytest.mark.parametrize(
    ("path", "cut", "put"),
    [
        ("birthDate", b' "birthDate": "1970-01-01", "_birthDate": {"extension":[{"url":"x"}]},', b""),
        ("name", b'\n  "name": [ {"family":"A", "given":["B"]}, {"family":"C"} ],', b""),
        ("name.family", b'[ {"family":"A", "given":["B"]}, {"family":"C"} ]', b'[ {"given":["B"]} ]'),
        ("name.given", b'{"family":"A", "given":["B"]}', b'{"family":"A"}'),
        ("identifier.where(system='s')", b'{"system":"s","value":"1"},', b""),
        ("identifier.where(system='s').value", b'{"system":"s","value":"1"}', b'{"system":"s"}'),
        ("identifier.value", b'{"system":"s","value":"1"},{"system":"t","value":"\\u00e9"}', b'{"system":"s"},{"system":"t"}'),
        ("contact.telecom", b' "contact":[{"telecom":[1.0]}],', b""),  # nothing empty stays
        ("deceased[x]", b' , "deceasedBoolean":true', b""),
        ("deceased", b"", b""),
        ("identifier.where(system='u')", b"", b""),
        ("birthDate.x", b' "_birthDate": {"extension":[{"url":"x"}]},', b' "_birthDate": {"extension":[{"url":"x"}]},'),
    ],
)
def test_all_else_stays_as_it_was(path: str, cut: bytes, put: bytes) -> None:
    assert PATIENT.count(cut) == 1 or not cut
    assert without(PATIENT, (parse_field(path),)) == (PATIENT.replace(cut, put) if cut else PATIENT)


@pytest.mark.parametrize(
    "text", ["", "a.", ".a", "a..b", "A", "a.where(x=1)", "a b", "a[x]y", "a.where(b='c')d", "a[0]", "_a", "a.*", "a.where()", "a,b"]
)
def test_what_is_no_path(text: str) -> None:
    with pytest.raises(ValueError, match="no path"):
        parse_field(text)


def test_a_name_with_escapes_and_one_that_is_there_twice_go_too() -> None:
    data = b'{"resourceType":"Patient","\\u0062irthDate":"1970","birthDate":"1971","id":"1"}'
    assert json.loads(without(data, (parse_field("birthDate"),))) == {"resourceType": "Patient", "id": "1"}


def test_an_item_whose_condition_cannot_be_read_goes() -> None:
    data = b'{"identifier":[{"system":null,"value":"1"},{"value":"2"},{"system":["s"],"value":"3"}]}'
    assert json.loads(without(data, (parse_field("identifier.where(system='s')"),))) == {"identifier": [{"value": "2"}]}


GONE = object()


def model(value: dict[str, Any], path: FieldPath) -> Any:
    """The same by decoded values."""

    def cut(item: Any, steps: tuple[Any, ...]) -> Any:
        if isinstance(item, list):
            kept = [left for one in item if (left := cut(one, steps)) is not GONE]
            return kept if kept or not item else GONE
        if not isinstance(item, dict):
            return item
        where = steps[0].where
        if where is not None and (where[0] not in item or (isinstance(item[where[0]], str) and item[where[0]] != where[1])):
            return item
        return below(item, steps[1:]) if len(steps) > 1 else GONE

    def below(item: dict[str, Any], steps: tuple[Any, ...]) -> Any:
        kept = {}
        for name, inner in item.items():
            left = inner
            if steps[0].matches(name):
                left = cut(inner, steps) if len(steps) > 1 or steps[0].where is not None else GONE
            if left is not GONE:
                kept[name] = left
        return kept if kept or not item else GONE

    left = below(value, path.steps)
    return {} if left is GONE else left


names = st.sampled_from(["a", "b", "_a", "valueString", "value", "c"])
texts = st.text(alphabet='x"\\{}[],: é\n', max_size=4)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.floats(allow_nan=False, allow_infinity=False, width=16), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=3)),
    max_leaves=12,
)
paths = st.lists(st.sampled_from(["a", "b", "value[x]", "c", "a.where(b='x')"]), min_size=1, max_size=3).map(
    lambda p: parse_field(".".join(p))
)


@pytest.mark.generated
@given(value=st.dictionaries(names, values, min_size=1, max_size=4), path=paths, indent=st.sampled_from([None, 1]), ascii=st.booleans())
@settings(max_examples=2000, deadline=None)
def test_it_agrees_with_decoded_values(value: dict[str, Any], path: FieldPath, indent: int | None, ascii: bool) -> None:
    data = json.dumps(value, indent=indent, ensure_ascii=ascii).encode()
    left = without(data, (path,))
    assert json.loads(left) == model(value, path)
    assert list(json.loads(left)) == [name for name in value if name in json.loads(left)]
    if model(value, path) == value:
        assert left == data
