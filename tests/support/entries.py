"""Entries of batches, as a client writes them."""

from __future__ import annotations

from typing import Any


def entry(method: str, url: str, resource: Any = None, full_url: str | None = None, **conditions: str) -> dict[str, Any]:
    """One entry; ``conditions`` are further members of its request (``ifMatch``)."""
    made: dict[str, Any] = {"request": {"method": method, "url": url, **conditions}}
    made |= {"resource": resource} if resource is not None else {}
    return made | ({"fullUrl": full_url} if full_url is not None else {})
