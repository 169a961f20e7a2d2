"""The searchset that has nothing in it."""

from __future__ import annotations

import msgspec

_encode = msgspec.json.Encoder().encode


def empty_searchset(self_url: str) -> bytes:
    """A searchset Bundle without entries, in FHIR JSON; ``self_url`` is the search as the public sees it."""
    return _encode({"resourceType": "Bundle", "type": "searchset", "total": 0, "link": [{"relation": "self", "url": self_url}]})
