"""The upstream's base becomes the public one: in bodies, whole or streamed, and in Location headers."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import urlsplit

from smart_gateway.fhir.references import Bases, parse_reference


class BaseRewriter:
    """Rewrites the upstream base where it opens a quoted string, in JSON as in XML.

    URLs whose slashes a server escapes (``http:\\/\\/``) stay as they are: no decision depends on it.
    """

    __slots__ = ("_needle", "_pattern", "_replacement")

    def __init__(self, bases: Bases) -> None:
        self._needle = b'"' + bases.upstream.encode() if bases.upstream != bases.public else b""
        # What follows must end the base, so that http://host/fhir does not match http://host/fhir-other.
        self._pattern = re.compile(re.escape(self._needle) + rb'(?=[/?"#|\\])')
        self._replacement = b'"' + bases.public.encode()

    def whole(self, body: bytes) -> bytes:
        """``body`` with every such URL in the public base."""
        if not self._needle or self._needle not in body:
            return body
        return self._pattern.sub(lambda _: self._replacement, body)

    def stream(self) -> StreamRewriter:
        """A rewriter for one body that comes in chunks."""
        return StreamRewriter(self._needle, self._pattern, self._replacement)


class StreamRewriter:
    """Rewrites across the borders of chunks; holds back never more than the length of the base."""

    __slots__ = ("_needle", "_pattern", "_replacement", "_tail")

    def __init__(self, needle: bytes, pattern: re.Pattern[bytes], replacement: bytes) -> None:
        self._needle = needle
        self._pattern = pattern
        self._replacement = replacement
        self._tail = b""

    def feed(self, chunk: bytes) -> bytes:
        """What may leave now."""
        if not self._needle:
            return chunk
        data = self._tail + chunk
        # A match that starts before the cut lies whole in the data, the byte after it included.
        done = max(len(data) - len(self._needle), 0)
        if self._needle in data:
            done = max(done, *(match.end() for match in self._pattern.finditer(data)), 0)
        self._tail = data[done:]
        if done == 0:
            return b""
        rewritten = self._pattern.sub(lambda _: self._replacement, data)
        return rewritten[: len(rewritten) - len(self._tail)]

    def finish(self) -> bytes:
        """What is left at the end of the body."""
        tail, self._tail = self._tail, b""
        return tail


@lru_cache(64)
def base_rewriter(bases: Bases) -> BaseRewriter:
    """The rewriter of ``bases``, kept."""
    return BaseRewriter(bases)


def public_location(value: str, bases: Bases) -> str | None:
    """An upstream's Location or Content-Location in the public base; None unless it names a resource (version) under the base.

    Spec: FHIR R4 http.html 3.1.0.8: ``[base]/[type]/[id]/_history/[vid]``; relative forms (RFC 9110 10.2.2) are read too.
    """
    own_path = urlsplit(bases.upstream).path + "/"
    relative = value[len(own_path) :] if value.startswith(own_path) and not value.startswith("//") else value
    reference = parse_reference(relative, bases)
    if reference is None:
        return None
    version = f"/_history/{reference.version}" if reference.version is not None else ""
    return f"{bases.public}/{reference}{version}"
