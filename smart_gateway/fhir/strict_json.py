"""Strict JSON: UTF-8 without a mark, no doubled keys, bounded depth, no surprises in numbers."""

from __future__ import annotations

import json
from typing import Any, Literal

import msgspec

JsonReason = Literal["duplicate-key", "depth", "syntax", "encoding", "constant"]

MAX_DEPTH = 64

_TEXTS: dict[JsonReason, str] = {
    "duplicate-key": "An object of the JSON text has the same key twice.",
    "depth": "The JSON text is nested too deeply.",
    "syntax": "The text is not well-formed JSON.",
    "encoding": "The JSON text is not UTF-8 without a byte order mark.",
    "constant": "NaN and Infinity are no JSON values.",
}
_BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xfe\xff", b"\xff\xfe")
_CONSTANTS = (b"NaN", b"Infinity", b"-Infinity")
# Brackets become parentheses; everything but these and quotes goes.
_PARENTHESES = bytes.maketrans(b"[]{}", b"()()")
_NO_MARKS = bytes(byte for byte in range(256) if byte not in b'[]{}"')
_CHUNK = 65536

_decoder = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder()


class JsonError(ValueError):
    """The text is not strict JSON; ``text`` is one sentence that holds nothing of the input."""

    def __init__(self, reason: JsonReason) -> None:
        super().__init__(_TEXTS[reason])
        self.reason: JsonReason = reason
        self.text = _TEXTS[reason]


def parse_json(data: bytes, *, max_depth: int = MAX_DEPTH) -> Any:
    """The value of the JSON text ``data``; decimals as float.

    Raises JsonError and nothing else: for doubled keys at any level (also where one is spelled with ``\\u`` escapes), more
    than ``max_depth`` levels, NaN and Infinity, numbers too large to hold, lone surrogates, other encodings.
    Spec: RFC 8259; semantics 1 (doubled JSON keys, JSON depth).
    """
    if data.startswith(_BYTE_ORDER_MARKS):
        raise JsonError("encoding")
    _require_depth(data, max_depth)
    value = _decode(data)
    _require_unique_keys(data, value)
    return value


def _decode(data: bytes) -> Any:
    try:
        return _decoder.decode(data)
    except UnicodeDecodeError:
        raise JsonError("encoding") from None
    except RecursionError:  # a caller deep in the stack; the depth itself was judged before
        raise JsonError("depth") from None
    except msgspec.DecodeError:
        raise JsonError("constant" if data.strip() in _CONSTANTS else "syntax") from None


def _require_depth(data: bytes, max_depth: int) -> None:
    """Takes away the innermost pairs of brackets, level by level; what is left after ``max_depth`` rounds is too deep.

    It runs before the parser, whose recursion this bounds. Up to the first syntax error both see the same brackets.
    """
    nest = _brackets(data)
    if nest.count(b"(") <= max_depth:
        return
    too_deep = b"(" * (max_depth + 1)
    for _ in range(max_depth):
        if too_deep in nest:
            raise JsonError("depth")
        peeled = nest.replace(b"()", b"")
        if len(peeled) == len(nest):
            break
        nest = peeled
    if nest:
        raise JsonError("depth" if b"()" in nest or too_deep in nest else "syntax")


def _brackets(data: bytes) -> bytes:
    """The brackets of ``data`` outside of strings, as parentheses."""
    if b"\\" in data:
        # Pairs of backslashes first, so that the quote in \\" closes and the one in \" does not.
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    # Two quotes side by side hold nothing, neither inside nor outside of a string: without them the others keep their parity.
    marks = data.translate(_PARENTHESES, _NO_MARKS).replace(b'""', b"")
    if b'"' not in marks:
        return marks
    outside: list[bytes] = []
    start = 0
    for position in range(0, len(marks), _CHUNK):
        pieces = marks[position : position + _CHUNK].split(b'"')
        outside.append(b"".join(pieces[start::2]))
        start = (start + len(pieces) - 1) % 2
    return b"".join(outside)


def _require_unique_keys(data: bytes, value: Any) -> None:
    """A member that the decoder dropped took its colon along: written again, the value then has fewer colons.

    A colon that was spelled as an escape would make up for that; texts with one are read once more, pair by pair.
    """
    if b"\\u003a" in data or b"\\u003A" in data:
        _pairwise.decode(data.decode())
    elif _encoder.encode(value).count(b":") != data.count(b":"):
        raise JsonError("duplicate-key")


def _unique(pairs: list[tuple[str, Any]]) -> None:
    if len({key for key, _ in pairs}) != len(pairs):
        raise JsonError("duplicate-key")


# Only the keys matter here: numbers stay text, so that none can be too large to read.
_pairwise = json.JSONDecoder(object_pairs_hook=_unique, parse_int=str, parse_float=str)
