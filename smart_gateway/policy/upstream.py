"""The request to send upstream, built from what was parsed (semantics 0.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

from smart_gateway.fhir.query import encode_query

_PLAIN_PATH = re.compile(r"[A-Za-z0-9_.\-~$/]+")  # what quoting would leave as it is


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """The request to send, relative to the upstream base: ``path`` segments and decoded ``query`` pairs (or, for a POST
    ``_search``, the form). ``headers`` are those that the plan itself sets (``If-Match``, ``Prefer``, ``Accept``); ``content`` a JSON
    body that was written from what was parsed."""

    method: str
    path: tuple[str, ...]
    query: tuple[tuple[str, str], ...] = ()
    form: tuple[tuple[str, str], ...] | None = None
    headers: tuple[tuple[str, str], ...] = ()
    content: bytes | None = None

    @property
    def target(self) -> str:
        """Path and query, percent-encoded anew from what was parsed (semantics 0.1); ``/`` before the path, no base."""
        path = "/" + "/".join(self.path)
        if _PLAIN_PATH.fullmatch(path) is None or path.count("/") != len(self.path):
            path = "/" + "/".join([quote(segment, safe="$") for segment in self.path])
        return f"{path}?{encode_query(self.query)}" if self.query else path
