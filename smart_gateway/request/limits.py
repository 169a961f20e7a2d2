"""How much of anything one request may bring."""

from __future__ import annotations

from dataclasses import dataclass

_KIB = 1024
_MIB = 1024 * 1024

_LARGEST_FORM = _MIB  # bytes of a POST _search: many thousand values, and no more work than one request may cause


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds, each with its own refusal; sizes are bytes, times seconds.

    ``token`` is the access token; ``headers`` all header names and values together; ``url`` path and query together;
    ``parameters`` those of query and form together; ``body`` counts as sent and as decompressed, ``ratio`` bounds the second by
    the first; ``depth`` is JSON nesting; ``entries`` those of a Bundle; ``header_time`` and ``body_time`` how long each may take to arrive.
    Spec: semantics 1.
    """

    token: int = 16 * _KIB
    headers: int = 64 * _KIB
    url: int = 8 * _KIB
    parameters: int = 1000
    body: int = 16 * _MIB
    depth: int = 64
    entries: int = 1000
    ratio: int = 100
    header_time: float = 10.0
    body_time: float = 30.0

    @property
    def form(self) -> int:
        """The largest form of a POST ``_search``, in bytes: never more than a body may have."""
        return min(self.body, _LARGEST_FORM)
