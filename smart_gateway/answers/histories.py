"""Histories: every version is judged by itself, and the Bundle is built anew from those inside.

Spec: semantics 5; FHIR R4 http.html 3.1.0.12.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from smart_gateway.answers.entries import IdentifiedEntry, identify
from smart_gateway.answers.judging import Dependence, Judge, Known, Pending, goes_by_today, of_version
from smart_gateway.answers.links import LinkSealer
from smart_gateway.answers.masking import masked_version
from smart_gateway.answers.rewriting import base_rewriter
from smart_gateway.boundary.model import Boundary
from smart_gateway.errors import UpstreamError
from smart_gateway.fhir.bundles import CARRIERS, Searchset, read_history
from smart_gateway.fhir.members import Members, value_of
from smart_gateway.fhir.references import Reference, is_id, parse_reference
from smart_gateway.fhir.versions import is_instant, version_of_tag
from smart_gateway.policy.access import Access
from smart_gateway.policy.plan import CheckHistory, UpstreamRequest
from smart_gateway.scopes.permissions import Permission

_TOTAL = re.compile(rb"\d{1,15}")
_METHODS = frozenset({"POST", "PUT", "PATCH"})
_STATUSES = {"200": "200 OK", "201": "201 Created", "204": "204 No Content"}

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class ConfinedHistory:
    """What may leave of a history; ``removed`` counts the entries that may not. ``is_empty``: no entry is left; ``onward`` is then the next
    page, where there is one."""

    body: bytes
    removed: int
    is_empty: bool
    onward: UpstreamRequest | None = None


class _Made(msgspec.Struct, gc=False, omit_defaults=True, rename={"full_url": "fullUrl"}):
    """An entry as it leaves; a deletion has no ``resource``."""

    full_url: str
    resource: Members | msgspec.Raw | msgspec.UnsetType
    request: dict[str, str]
    response: dict[str, str]


def confine_history(raw: bytes, rule: CheckHistory, access: Access, known: Known, links: LinkSealer) -> ConfinedHistory | Pending:
    """Judges a history (identity encoding, FHIR JSON) version by version. Raises UpstreamError where it cannot be read."""
    try:
        found = read_history(base_rewriter(access.policy.bases).whole(raw))
        dependence = Dependence(known)
        made = _made(found, rule, access, dependence)
        if dependence.missing:
            return Pending(dependence.missing)
        removed = len(found.entries) - len(made)
        onward = None if made else links.onward(found.links, rule)
        return ConfinedHistory(_bundle(found, made, rule, removed, links), removed, not made, onward)
    except ValueError:
        raise UpstreamError("The upstream's answer is not a history that can be read.") from None


def _made(found: Searchset, rule: CheckHistory, access: Access, dependence: Dependence) -> list[_Made]:
    """The entries that may leave.

    What is inside in the same history says nothing of what depends on it: it may be a version of long ago. So it is asked for.
    """
    types = access.policy.vocabulary.types
    judge = Judge(access)
    entries = [_entry(entry, rule, access, judge, dependence) for entry in identify(found, types, types)]
    return [entry for entry in entries if entry is not None]


def _entry(entry: IdentifiedEntry, rule: CheckHistory, access: Access, judge: Judge, dependence: Dependence) -> _Made | None:
    request, response = _object(entry.found.request), _object(entry.found.response)
    if request.get("method") == "DELETE" or not entry.found.resource:
        return _deletion(entry, request, response, rule, access)
    if entry.type is None or entry.id is None or not _is_asked(entry.type, entry.id, rule):
        return None
    boundary = _boundary(entry.type, rule, access)
    verdict = judge.verdict(boundary, entry.type, entry.found.resource)
    if not dependence.settle(of_version(verdict, boundary, entry.type, entry.id)):
        return None
    if goes_by_today(entry.type, entry.found.resource, access):
        entry.body = msgspec.Raw(masked_version(_encode(entry.body), dependence.today(Reference(entry.type, entry.id)), access))
    return _version(entry.type, entry.id, entry, request, response, access.policy.bases.public)


def _is_asked(type: str, id: str, rule: CheckHistory) -> bool:
    return rule.type in (None, type) and rule.id in (None, id)


def _boundary(type: str, rule: CheckHistory, access: Access) -> Boundary:
    return rule.boundary if rule.boundary is not None else access.boundary(type, Permission.SEARCH)


def _version(type: str, id: str, entry: IdentifiedEntry, request: Mapping[str, Any], response: Mapping[str, Any], public: str) -> _Made:
    """An entry with the version that came; what it says of it is the version's own word, where it has one."""
    meta = _object(entry.found.resource.get("meta", msgspec.UNSET))
    method = request.get("method")
    said = _response(meta.get("versionId") or _tagged(response), meta.get("lastUpdated") or response.get("lastModified"))
    return _Made(
        f"{public}/{type}/{id}",
        entry.body,
        {"method": method if isinstance(method, str) and method in _METHODS else "PUT", "url": f"{type}/{id}"},
        {"status": _status(response), **said},
    )


def _deletion(
    entry: IdentifiedEntry, request: Mapping[str, Any], response: Mapping[str, Any], rule: CheckHistory, access: Access
) -> _Made | None:
    """A deletion says nothing of whose it was: it leaves only where the whole type may be seen."""
    url, bases = request.get("url"), access.policy.bases
    deleted = parse_reference(url, bases) if request.get("method") == "DELETE" and isinstance(url, str) else None
    if deleted is None or deleted.type not in access.policy.vocabulary.types or not _is_asked(deleted.type, deleted.id, rule):
        return None
    if entry.id not in (None, deleted.id) or not _boundary(deleted.type, rule, access).is_everything:
        return None
    said = _response(deleted.version or _tagged(response), response.get("lastModified"))
    asked = {"method": "DELETE", "url": str(deleted)}
    return _Made(f"{bases.public}/{deleted}", msgspec.UNSET, asked, {"status": _status(response), **said})


def _response(version: Any, moment: Any) -> dict[str, str]:
    said = {}
    if isinstance(version, str) and is_id(version):
        said["etag"] = f'W/"{version}"'
    if is_instant(moment):
        said["lastModified"] = moment
    return said


def _tagged(response: Mapping[str, Any]) -> str | None:
    etag = response.get("etag")
    return version_of_tag(etag) if isinstance(etag, str) else None


def _status(response: Mapping[str, Any]) -> str:
    """The status in our words: ``entry.response.status`` is mandatory (FHIR R4 bundle.html, bdl-4)."""
    return _STATUSES.get(str(response.get("status"))[:3], "200 OK")


def _object(raw: msgspec.Raw | msgspec.UnsetType) -> Mapping[str, Any]:
    value = None if isinstance(raw, msgspec.UnsetType) else value_of(raw)
    return value if isinstance(value, dict) else {}


def _bundle(found: Searchset, made: list[_Made], rule: CheckHistory, removed: int, links: LinkSealer) -> bytes:
    """The history of the entries ``made``. The upstream's own ``id`` and ``meta`` stay behind: they may tell of versions that went."""
    bundle: dict[str, Any] = {"resourceType": "Bundle", "type": "history"}
    total = b"" if isinstance(found.total, msgspec.UnsetType) else bytes(found.total)
    if not removed and _tells_all(rule) and _TOTAL.fullmatch(total) is not None:
        bundle["total"] = int(total)
    bundle["link"] = links.links(found.links, rule)
    if made:
        bundle["entry"] = made
    return _encode(bundle)


def _tells_all(rule: CheckHistory) -> bool:
    """Whether no version of any page can be one that goes."""
    return rule.boundary is not None and rule.boundary.is_everything and rule.type not in CARRIERS
