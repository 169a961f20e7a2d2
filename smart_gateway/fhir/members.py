"""JSON objects whose members stay the bytes that came: only what a decision needs is read."""

from __future__ import annotations

from typing import Any

import msgspec

from smart_gateway.fhir.strict_json import JsonError, parse_json

Members = dict[str, msgspec.Raw]

_object = msgspec.json.Decoder(Members)
_any = msgspec.json.Decoder()
_encode = msgspec.json.Encoder().encode


def members_of(data: bytes) -> Members:
    """The members of the JSON object ``data``, each as its own bytes.

    Raises JsonError for anything but one object, and for a key that is there twice.
    """
    members: Members = decode(_object, data)
    # What was read, written again, is what came: then no member can have been lost to another of its name. Only else (white space,
    # escaped keys) is the text read pair by pair.
    if _encode(members) != data:
        parse_json(data)
    return members


def value_of(raw: msgspec.Raw) -> Any:
    """The value of one member. Raises JsonError, also for keys that are there twice in it."""
    data = bytes(raw)
    try:
        value = _any.decode(data)
    except (ValueError, RecursionError):
        return parse_json(data)
    # A string holds no keys; of all else, what was read, written again, is what came.
    return value if isinstance(value, str) or _encode(value) == data else parse_json(data)


def text_of(members: Members, name: str) -> str | None:
    """The member ``name`` where it is a string. Raises JsonError."""
    value = value_of(members[name]) if name in members else None
    return value if isinstance(value, str) else None


def decode(decoder: msgspec.json.Decoder[Any], data: bytes) -> Any:
    """``data`` by ``decoder``, which may leave parts unread; these too must be UTF-8. Raises JsonError only."""
    try:
        if not data.isascii():
            data.decode()
        return decoder.decode(data)
    except UnicodeDecodeError:
        raise JsonError("encoding") from None
    except RecursionError:
        raise JsonError("depth") from None
    except msgspec.DecodeError:
        raise JsonError("syntax") from None
