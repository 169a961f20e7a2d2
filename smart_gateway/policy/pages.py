"""What paging links hold: the request for a page, and of the rule of its answer what a token's access cannot tell anew."""

from __future__ import annotations

from dataclasses import dataclass

from smart_gateway.boundary.model import Filter
from smart_gateway.policy.plan import SortKey
from smart_gateway.policy.upstream import UpstreamRequest


@dataclass(frozen=True, slots=True)
class Page:
    """What a paging link holds: the request for the page, and of the rule of its answer what a token's access cannot tell anew.

    ``history``: it goes on a CheckHistory (of ``type`` and ``id``), else a CheckSearchset. ``exact`` held for the boundary whose
    ``fingerprint`` is here: for another one it says nothing. ``extent`` is that of its CheckSearchset.
    """

    upstream: UpstreamRequest
    type: str | None
    id: str | None = None
    history: bool = False
    exact: bool = False
    drop_elements: tuple[str, ...] = ()
    fingerprint: str = ""
    includes: tuple[tuple[str, str], ...] = ()
    extent: str = ""


@dataclass(frozen=True, slots=True)
class PageBranch:
    """What is left of one branch of a union: a ``Branch`` without its boundary."""

    upstream: UpstreamRequest
    type: str
    drop_elements: tuple[str, ...] = ()
    unless: tuple[Filter, ...] = ()
    skip: int = 0
    includes: tuple[tuple[str, str], ...] = ()
    extent: str = ""


@dataclass(frozen=True, slots=True)
class UnionPage:
    """What the link to the next page of a CheckUnion holds."""

    branches: tuple[PageBranch, ...]
    type: str | None
    count: int | None = None
    sort: tuple[SortKey, ...] = ()
