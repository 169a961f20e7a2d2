"""JSON Patch: the examples of RFC 6902, what is refused and where it says so, and laws that hold for generated patches."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_gateway.errors import RequestError, Unprocessable
from smart_gateway.fhir.json_patch import MOST_COPIED, MOST_OPERATIONS, JsonPatch, apply_json_patch, read_json_patch
from smart_gateway.fhir.json_pointer import parse_pointer, value_at
from smart_gateway.fhir.strict_json import parse_json

_SIZE = 1024 * 1024


def read(patch: Any) -> JsonPatch:
    data = patch if isinstance(patch, bytes) else json.dumps(patch).encode()
    return read_json_patch(parse_json(data), data)


def apply(document: Any, patch: Any, **limits: int) -> Any:
    return apply_json_patch(document, read(patch), **{"max_depth": 64, "max_size": _SIZE, **limits})


def op(verb: str, path: str, **members: Any) -> dict[str, Any]:
    return {"op": verb, "path": path, **members}


# RFC 6902, appendix A: name -> document, patch, result; None where it must fail.
APPENDIX = {
    "A.1": ({"foo": "bar"}, [op("add", "/baz", value="qux")], {"baz": "qux", "foo": "bar"}),
    "A.2": ({"foo": ["bar", "baz"]}, [op("add", "/foo/1", value="qux")], {"foo": ["bar", "qux", "baz"]}),
    "A.3": ({"baz": "qux", "foo": "bar"}, [op("remove", "/baz")], {"foo": "bar"}),
    "A.4": ({"foo": ["bar", "qux", "baz"]}, [op("remove", "/foo/1")], {"foo": ["bar", "baz"]}),
    "A.5": ({"baz": "qux", "foo": "bar"}, [op("replace", "/baz", value="boo")], {"baz": "boo", "foo": "bar"}),
    "A.6": (
        {"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}},
        [op("move", "/qux/thud", **{"from": "/foo/waldo"})],
        {"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}},
    ),
    "A.7": (
        {"foo": ["all", "grass", "cows", "eat"]},
        [op("move", "/foo/3", **{"from": "/foo/1"})],
        {"foo": ["all", "cows", "eat", "grass"]},
    ),
    "A.8": (
        {"baz": "qux", "foo": ["a", 2, "c"]},
        [op("test", "/baz", value="qux"), op("test", "/foo/1", value=2)],
        {"baz": "qux", "foo": ["a", 2, "c"]},
    ),
    "A.9": ({"baz": "qux"}, [op("test", "/baz", value="bar")], None),
    "A.10": ({"foo": "bar"}, [op("add", "/child", value={"grandchild": {}})], {"foo": "bar", "child": {"grandchild": {}}}),
    "A.11": ({"foo": "bar"}, [op("add", "/baz", value="qux", xyz=123)], {"foo": "bar", "baz": "qux"}),
    "A.12": ({"foo": "bar"}, [op("add", "/baz/bat", value="qux")], None),
    "A.14": ({"/": 9, "~1": 10}, [op("test", "/~01", value=10)], {"/": 9, "~1": 10}),
    "A.15": ({"/": 9, "~1": 10}, [op("test", "/~01", value="10")], None),
    "A.16": ({"foo": ["bar"]}, [op("add", "/foo/-", value=["abc", "def"])], {"foo": ["bar", ["abc", "def"]]}),
}


@pytest.mark.parametrize("name", APPENDIX)
def test_the_examples_of_the_rfc(name: str) -> None:
    document, patch, result = APPENDIX[name]
    if result is None:
        with pytest.raises(Unprocessable):
            apply(document, patch)
    else:
        assert apply(document, patch) == result


def test_a_doubled_member_of_an_operation_is_no_json() -> None:
    """Appendix A.13."""
    with pytest.raises(ValueError, match="same key twice"):
        read(b'[{"op": "add", "path": "/baz", "value": "qux", "op": "remove"}]')


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("", {"foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, 'k"l': 6, " ": 7, "m~n": 8}),
        ("/foo", ["bar", "baz"]),
        ("/foo/0", "bar"),
        ("/", 0),
        ("/a~1b", 1),
        ("/c%d", 2),
        ("/i\\j", 5),
        ('/k"l', 6),
        ("/ ", 7),
        ("/m~0n", 8),
    ],
)
def test_the_pointers_of_the_rfc(pointer: str, value: Any) -> None:
    """RFC 6901 section 5."""
    document = {"foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, 'k"l': 6, " ": 7, "m~n": 8}
    parsed = parse_pointer(pointer)
    assert parsed is not None
    assert value_at(document, parsed) == value


@pytest.mark.parametrize("pointer", ["foo", "~", "/~", "/~2", "/a~", "#/foo", " /a"])
def test_what_is_no_pointer(pointer: str) -> None:
    assert parse_pointer(pointer) is None
    with pytest.raises(RequestError) as caught:
        read([op("add", "/a", value=1), op("remove", pointer)])
    assert (caught.value.status, caught.value.expression) == (400, "patch[1].path")


@pytest.mark.parametrize(
    ("patch", "expression"),
    [
        ({"op": "add", "path": "/a", "value": 1}, "patch"),
        (None, "patch"),
        ([1], "patch[0]"),
        ([[]], "patch[0]"),
        ([{"path": "/a", "value": 1}], "patch[0].op"),
        ([op("ADD", "/a", value=1)], "patch[0].op"),
        ([op("spam", "/a")], "patch[0].op"),
        ([{"op": None, "path": "/a"}], "patch[0].op"),
        ([{"op": ["add"], "path": "/a", "value": 1}], "patch[0].op"),
        ([{"op": "add", "value": 1}], "patch[0].path"),
        ([{"op": "add", "path": None, "value": 1}], "patch[0].path"),
        ([{"op": "add", "path": ["a"], "value": 1}], "patch[0].path"),
        ([op("add", "/a")], "patch[0].value"),
        ([op("replace", "/a")], "patch[0].value"),
        ([op("test", "/a")], "patch[0].value"),
        ([op("move", "/a")], "patch[0].from"),
        ([op("copy", "/a", **{"from": 1})], "patch[0].from"),
        ([op("move", "/a/b", **{"from": "/a"})], "patch[0].path"),
        ([op("move", "/a", **{"from": ""})], "patch[0].path"),
        ([op("remove", "")], "patch[0].path"),
    ],
)
def test_what_is_no_patch_is_refused_by_its_place(patch: Any, expression: str) -> None:
    with pytest.raises(RequestError) as caught:
        read(patch)
    assert (caught.value.status, caught.value.reason, caught.value.expression) == (400, "malformed-patch", expression)


@pytest.mark.parametrize(
    ("operation", "member"),
    [
        (op("add", "/list/3", value=1), "path"),
        (op("add", "/list/01", value=1), "path"),
        (op("add", "/list/+1", value=1), "path"),
        (op("add", "/list/-1", value=1), "path"),
        (op("add", "/list/\u0661", value=1), "path"),
        (op("add", "/list/99999999999999999999", value=1), "path"),
        (op("add", "/list/x", value=1), "path"),
        (op("add", "/no/thing", value=1), "path"),
        (op("add", "/text/0", value=1), "path"),
        (op("remove", "/no"), "path"),
        (op("remove", "/list/2"), "path"),
        (op("remove", "/list/-"), "path"),
        (op("replace", "/no", value=1), "path"),
        (op("replace", "/list/-", value=1), "path"),
        (op("replace", "/list/00", value=1), "path"),
        (op("move", "/a", **{"from": "/no"}), "from"),
        (op("move", "/no", **{"from": "/no"}), "from"),
        (op("copy", "/a", **{"from": "/list/-"}), "from"),
        (op("copy", "/no/a", **{"from": "/text"}), "path"),
        (op("test", "/no", value=None), "path"),
        (op("test", "/text", value="secret-x"), "value"),
    ],
)
def test_what_cannot_be_applied_is_refused_by_its_place(operation: dict[str, Any], member: str) -> None:
    with pytest.raises(Unprocessable) as caught:
        apply({"list": [1, 2], "text": "secret-y"}, [op("test", "/list/0", value=1), operation])
    assert (caught.value.status, caught.value.expression) == (422, f"patch[1].{member}")
    assert "secret" not in caught.value.text


@pytest.mark.parametrize(
    ("stored", "tested", "equal"),
    [
        (1, 1.0, True),
        (10, 1e1, True),
        (0, -0.0, True),
        (72.5, 72.50, True),
        (1, True, False),
        (0, False, False),
        (True, 1.0, False),
        ("1", 1, False),
        (None, False, False),
        (None, None, True),
        ([], {}, False),
        ([], [], True),
        ("", None, False),
        ([1, [True]], [1, [True]], True),
        ([1, [True]], [1, [1]], False),
        ([1, 2], [2, 1], False),
        ([1], [1, 1], False),
        ({"a": 1, "b": {"c": [2.0]}}, {"b": {"c": [2]}, "a": 1}, True),
        ({"a": 1}, {"a": 1, "b": None}, False),
        ("\u00e9", "e\u0301", False),
        (2**53 + 1, 2**53, False),
    ],
)
def test_equality_is_that_of_json(stored: Any, tested: Any, equal: bool) -> None:
    patch = [op("test", "/x", value=tested)]
    if equal:
        assert apply({"x": stored}, patch) == {"x": stored}
    else:
        with pytest.raises(Unprocessable) as caught:
            apply({"x": stored}, patch)
        assert caught.value.reason == "patch-test-failed"


def test_the_whole_document() -> None:
    assert apply({"a": 1}, [op("add", "", value={"b": 2})]) == {"b": 2}
    assert apply({"a": 1}, [op("replace", "", value=[])]) == []
    assert apply({"a": {"b": 1}}, [op("copy", "/a/c", **{"from": ""})]) == {"a": {"b": 1, "c": {"a": {"b": 1}}}}
    assert apply({"a": {"b": 1}}, [op("move", "", **{"from": "/a"})]) == {"b": 1}
    assert apply({"a": 1}, [op("test", "", value={"a": 1})]) == {"a": 1}
    assert apply({"a": 1}, []) == {"a": 1}


def test_a_move_to_its_own_place_changes_nothing() -> None:
    assert apply({"a": [1, 2]}, [op("move", "/a/0", **{"from": "/a/0"})]) == {"a": [1, 2]}


def test_what_was_copied_is_a_value_of_its_own() -> None:
    patch = [op("copy", "/b", **{"from": "/a"}), op("add", "/b/0/c", value=1), op("add", "/a/-", value=2)]
    assert apply({"a": [{}]}, patch) == {"a": [{}, 2], "b": [{"c": 1}]}


def test_the_text_keeps_values_as_they_came_and_nothing_else() -> None:
    first = b'{"x": {"op": 1}, "value" : {"value": 72.50, "u": "\\u00e9"} , "op":"add", "from":"/ignored", "path":"/a"}'
    data = b" [ " + first + b' , {"op":"remove","path":"/b","value":1} ] '
    text = read(data).text
    assert text == b'[{"op":"add","path":"/a","value":{"value": 72.50, "u": "\\u00e9"}},{"op":"remove","path":"/b"}]'
    assert read(text).operations == read(data).operations


def test_operations_are_counted() -> None:
    assert apply({}, [op("add", "/a", value=1)] * MOST_OPERATIONS) == {"a": 1}
    with pytest.raises(RequestError) as caught:
        read([op("add", "/a", value=1)] * (MOST_OPERATIONS + 1))
    assert (caught.value.status, caught.value.reason, caught.value.expression) == (400, "too-many-operations", "patch")


@pytest.mark.parametrize(
    "patch",
    [
        [op("copy", f"/a/{n}", **{"from": "/a"}) for n in range(500)],
        [op("copy", f"/{n}", **{"from": ""}) for n in range(900)],
        [op("copy", "/t/-", **{"from": "/s"})] * 900,
    ],
    ids=["into itself", "of everything", "of a long text"],
)
def test_a_copy_bomb_is_stopped(patch: list[dict[str, Any]]) -> None:
    with pytest.raises(Unprocessable) as caught:
        apply({"a": {"b": "x" * 100}, "s": "x" * (MOST_COPIED // 100), "t": []}, patch, max_size=1 << 40, max_depth=1000)
    assert (caught.value.status, caught.value.reason) == (422, "patch-limit")


def test_work_on_long_arrays_is_bounded() -> None:
    patch = [op("add", "/a", value=[0] * 200_000), *([op("add", "/a/0", value=0)] * 999)]
    with pytest.raises(Unprocessable) as caught:
        apply({}, patch, max_size=1 << 40)
    assert caught.value.reason == "patch-limit"
    again = [op("test", "/a", value=[0] * 20_000)] * 100
    with pytest.raises(Unprocessable) as tested:
        apply({"a": [0] * 20_000}, again, max_size=1 << 40)
    assert tested.value.reason == "patch-limit"


def test_the_result_is_no_larger_than_a_body() -> None:
    assert apply({}, [op("add", "/a", value="x" * 50)], max_size=60) == {"a": "x" * 50}
    with pytest.raises(Unprocessable) as caught:
        apply({}, [op("add", "/a", value="x" * 50)], max_size=50)
    assert caught.value.reason == "patch-limit"


@pytest.mark.parametrize("operations", [70, 999])
def test_nor_nested_deeper(operations: int) -> None:
    """Each operation puts all that was there one level deeper."""
    deeper = [op("add", "/n", value={}), op("move", "/n/a", **{"from": "/a"}), op("move", "/a", **{"from": "/n"})]
    with pytest.raises(Unprocessable) as caught:
        apply({"a": {}}, (deeper * operations)[:MOST_OPERATIONS])
    assert caught.value.reason == "json-depth"


# Laws, on generated documents.

_keys = st.sampled_from(["a", "b", "/", "~", "", "0", "-", "~1"])
_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 1.0, "x", ""]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_keys, inner, max_size=4),
    max_leaves=12,
)
_documents = st.dictionaries(_keys, _values, max_size=4)


def _escape(token: str) -> str:
    return token.replace("~", "~0").replace("/", "~1")


def _places(value: Any, path: str = "") -> list[str]:
    """Every pointer into ``value``."""
    inner = list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    return [path, *(place for token, item in inner for place in _places(item, f"{path}/{_escape(str(token))}"))]


@st.composite
def _patches(draw: st.DrawFn) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    document = draw(_documents)
    places = st.sampled_from(_places(document)) | st.builds(lambda a, b: f"{a}/{_escape(b)}", st.sampled_from(_places(document)), _keys)
    verbs = st.sampled_from(["add", "remove", "replace", "move", "copy", "test"])
    operation = st.builds(lambda verb, path, source, value: op(verb, path, value=value, **{"from": source}), verbs, places, places, _values)
    return document, draw(st.lists(operation, max_size=6))


class _Failed(Exception):
    pass


def _naive(document: Any, patch: list[dict[str, Any]]) -> Any:
    """A second reading of RFC 6902, on copies that it changes in place."""
    root = {"root": copy.deepcopy(document)}
    for operation in patch:
        _naive_step(root, operation)
    return root["root"]


def _naive_step(root: dict[str, Any], operation: dict[str, Any]) -> None:
    verb, path, source = operation["op"], operation["path"], operation["from"]
    if verb in ("move", "copy"):
        if verb == "move" and path.startswith(source + "/"):
            raise _Failed
        value = copy.deepcopy(_naive_get(root, source))
        if verb == "move":
            _naive_remove(root, source)
        _naive_add(root, path, value)
    elif verb == "add":
        _naive_add(root, path, copy.deepcopy(operation["value"]))
    elif verb == "remove":
        if path == "":
            raise _Failed
        _naive_remove(root, path)
    elif verb == "replace":
        holder, key = _naive_holder(root, path)
        _naive_get(root, path)
        holder[key] = copy.deepcopy(operation["value"])
    elif not _naive_same(_naive_get(root, path), operation["value"]):
        raise _Failed


def _naive_same(a: Any, b: Any) -> bool:
    """Equal as text, once numbers are written one way."""

    def told(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: told(item) for key, item in value.items()}
        if isinstance(value, list):
            return [told(item) for item in value]
        if isinstance(value, bool) or not isinstance(value, int | float):
            return value
        return float(value)

    return json.dumps(told(a), sort_keys=True) == json.dumps(told(b), sort_keys=True)


def _naive_holder(root: dict[str, Any], path: str) -> tuple[Any, Any]:
    tokens = ["root", *(token.replace("~1", "/").replace("~0", "~") for token in path.split("/")[1:])]
    holder: Any = root
    for token in tokens[:-1]:
        holder = _naive_item(holder, token)
    if isinstance(holder, list):
        last = tokens[-1]
        return holder, len(holder) if last == "-" else int(last) if last.isdigit() and str(int(last)) == last else None
    if not isinstance(holder, dict):
        raise _Failed
    return holder, tokens[-1]


def _naive_item(holder: Any, token: str) -> Any:
    if isinstance(holder, dict) and token in holder:
        return holder[token]
    if isinstance(holder, list) and token.isdigit() and str(int(token)) == token and int(token) < len(holder):
        return holder[int(token)]
    raise _Failed


def _naive_get(root: dict[str, Any], path: str) -> Any:
    holder, key = _naive_holder(root, path)
    return _naive_item(holder, str(key))


def _naive_remove(root: dict[str, Any], path: str) -> None:
    _naive_get(root, path)
    holder, key = _naive_holder(root, path)
    del holder[key]


def _naive_add(root: dict[str, Any], path: str, value: Any) -> None:
    holder, key = _naive_holder(root, path)
    if isinstance(holder, dict):
        holder[key] = value
    elif key is None or key > len(holder):
        raise _Failed
    else:
        holder.insert(key, value)


@given(_patches())
def test_any_patch_does_what_a_naive_one_does_and_changes_no_input(made: tuple[dict[str, Any], list[dict[str, Any]]]) -> None:
    document, patch = made
    before = json.dumps([document, patch])
    try:
        expected = _naive(document, patch)
    except _Failed:
        with pytest.raises(RequestError):
            apply(document, patch)
    else:
        assert json.dumps(apply(document, patch), sort_keys=True) == json.dumps(expected, sort_keys=True)
    assert json.dumps([document, patch]) == before


@given(_documents, _values, st.data())
def test_what_is_added_and_removed_again_was_never_there(document: dict[str, Any], value: Any, data: st.DataObject) -> None:
    place = data.draw(st.sampled_from(_places(document)))
    holder = value_at(document, parse_pointer(place) or ())
    if isinstance(holder, list):
        path = f"{place}/{data.draw(st.integers(0, len(holder)))}"
    elif isinstance(holder, dict):
        path = f"{place}/new"
    else:
        return
    assert apply(document, [op("add", path, value=value), op("test", path, value=value), op("remove", path)]) == document


@given(_documents, st.data())
def test_what_is_there_tests_equal_and_replaces_itself(document: dict[str, Any], data: st.DataObject) -> None:
    place = data.draw(st.sampled_from(_places(document)))
    value = value_at(document, parse_pointer(place) or ())
    assert apply(document, [op("test", place, value=value), op("replace", place, value=value)]) == document
