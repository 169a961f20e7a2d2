"""Answers compressed for clients that accept it, where the settings say so. Spec: RFC 9110 section 12.5.3."""

from __future__ import annotations

import re

from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ACCEPTED = re.compile(
    rb"(?:^|,)[ \t]*(?:x-)?gzip[ \t]*(?:;[ \t]*q=(?:1(?:\.0{0,3})?|0\.(?=0*[1-9])[0-9]{1,3})[ \t]*)?(?=,|$)", re.IGNORECASE
)
_ACCEPT_ENCODING = b"accept-encoding"
_SMALLEST = 1024  # bytes; below, the head of gzip and the work are not worth it
_LEVEL = 5  # most of the gain for a third of the work of the highest
# What is compressed in itself already.
_COMPRESSED = (*DEFAULT_EXCLUDED_CONTENT_TYPES, "application/pdf", "application/octet-stream", "application/dicom")


def compressing(app: ASGIApp) -> ASGIApp:
    """``app`` with its answers compressed by gzip for clients that accept it, streams chunk by chunk."""
    inner = GZipMiddleware(app, minimum_size=_SMALLEST, compresslevel=_LEVEL, exclude_content_types=_COMPRESSED)

    async def compress(scope: Scope, receive: Receive, send: Send) -> None:
        async def weakened(message: Message) -> None:
            await send(_weakened(message))

        await inner(_with_one_wish(scope), receive, weakened)

    return compress


def _with_one_wish(scope: Scope) -> Scope:
    """``scope`` with nothing in Accept-Encoding but gzip, or nothing where the client does not want it (``gzip;q=0``): the middleware looks
    for the word alone. HEAD has no body to compress."""
    wishes = b",".join(value for name, value in scope["headers"] if name == _ACCEPT_ENCODING)
    headers = [(name, value) for name, value in scope["headers"] if name != _ACCEPT_ENCODING]
    wanted = scope["method"] != "HEAD" and _ACCEPTED.search(wishes) is not None
    return {**scope, "headers": [*headers, (_ACCEPT_ENCODING, b"gzip")] if wanted else headers}


def _weakened(message: Message) -> Message:
    """A strong entity tag names bytes, and compressed they are others. Spec: RFC 9110 section 8.8.3.3."""
    headers = message.get("headers", ()) if message["type"] == "http.response.start" else ()
    if not any(name.lower() == b"content-encoding" for name, _ in headers):
        return message
    weak = [(n, b"W/" + v if n.lower() == b"etag" and not v.startswith(b"W/") else v) for n, v in headers]
    return {**message, "headers": weak}
