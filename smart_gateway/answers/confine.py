"""Confining an answer to a boundary: it is built anew from parts that were judged, never cut down from what came."""

from __future__ import annotations

from dataclasses import dataclass

from smart_gateway.answers.connecting import connected
from smart_gateway.answers.entries import IdentifiedEntry, identify, rebuild
from smart_gateway.answers.judging import Dependence, Judge, Known, Pending, goes_by_today, of_version
from smart_gateway.answers.links import LinkSealer
from smart_gateway.answers.masking import masked_version
from smart_gateway.answers.rewriting import base_rewriter
from smart_gateway.boundary.matching import INSIDE, OUTSIDE, Depends, Verdict
from smart_gateway.errors import UpstreamError
from smart_gateway.fhir.bundles import Searchset, read_searchset
from smart_gateway.fhir.members import Members, members_of, text_of, value_of
from smart_gateway.fhir.references import Reference
from smart_gateway.policy.access import Access
from smart_gateway.policy.plan import CheckResource, CheckSearchset, UpstreamRequest


@dataclass(frozen=True, slots=True)
class Confined:
    """What may leave; ``removed`` counts the entries that may not. ``onward``: of a page that nothing is left of, the next one."""

    body: bytes
    removed: int = 0
    onward: UpstreamRequest | None = None


@dataclass(frozen=True, slots=True)
class Absent:
    """The resource is outside: to the client it is not there."""


def confine_resource(raw: bytes, rule: CheckResource, access: Access, known: Known) -> Confined | Absent | Pending:
    """Judges one resource as the upstream sent it (identity encoding, FHIR JSON).

    Raises UpstreamError where the answer is not the resource that was asked for. Spec: semantics 4, 5.
    """
    body = base_rewriter(access.policy.bases).whole(raw)
    try:
        members = members_of(body)
        _require_asked(members, rule)
        verdict = Judge(access).verdict(rule.boundary, rule.type, members)
        if rule.version is not None:
            verdict = of_version(verdict, rule.boundary, rule.type, rule.id)
    except ValueError:
        raise UpstreamError("The upstream's answer is not the resource that was asked for, or cannot be read.") from None
    dependence = Dependence(known)
    inside = dependence.settle(verdict)
    if inside and rule.version is not None and goes_by_today(rule.type, members, access):
        body = masked_version(body, dependence.today(Reference(rule.type, rule.id)), access)
    if dependence.missing:
        return Pending(dependence.missing)
    return Confined(body) if inside else Absent()


def _require_asked(members: Members, rule: CheckResource) -> None:
    if text_of(members, "resourceType") != rule.type or text_of(members, "id") != rule.id:
        raise ValueError("another resource")
    if rule.version is not None and "meta" in members:
        meta = value_of(members["meta"])
        if not isinstance(meta, dict) or meta.get("versionId", rule.version) != rule.version:
            raise ValueError("another version")


def confine_searchset(raw: bytes, rule: CheckSearchset, access: Access, known: Known, links: LinkSealer) -> Confined | Pending:
    """Judges a searchset entry by entry and builds the answer from those inside. Spec: semantics 4.

    Raises UpstreamError where the answer is not a searchset that can be read, or a count that does not hold.
    """
    if rule.count_only and not rule.exact:
        raise UpstreamError("The number of matches cannot be told, because the search could not be narrowed exactly.")
    judged = judge_searchset(raw, rule, access, known)
    if isinstance(judged, Pending):
        return judged
    found, kept = judged.found, judged.kept
    made = links.links(found.links, rule)
    empty = not rule.count_only and not any(entry.is_match for entry in kept)
    try:
        body = rebuild(found, kept, judged.removed, rule, made, access.policy.bases.public)
    except ValueError:
        raise unreadable() from None
    return Confined(body, judged.removed, links.onward(found.links, rule) if empty else None)


@dataclass(frozen=True, slots=True)
class JudgedSearchset:
    """A searchset whose entries were judged: all of them, and those that may leave, in their order."""

    found: Searchset
    entries: list[IdentifiedEntry]
    kept: list[IdentifiedEntry]

    @property
    def removed(self) -> int:
        return len(self.entries) - len(self.kept)


def judge_searchset(raw: bytes, rule: CheckSearchset, access: Access, known: Known) -> JudgedSearchset | Pending:
    """Judges a searchset entry by entry. Raises UpstreamError where the answer is not one that can be read."""
    try:
        found = read_searchset(base_rewriter(access.policy.bases).whole(raw))
        entries = identify(found, _searched(rule, access), access.policy.vocabulary.types)
        dependence = Dependence(known)
        kept = connected(entries, _settle(entries, rule, access, dependence), rule, access)
    except ValueError:
        raise unreadable() from None
    return Pending(dependence.missing) if dependence.missing else JudgedSearchset(found, entries, kept)


def _searched(rule: CheckSearchset, access: Access) -> frozenset[str]:
    return access.policy.vocabulary.types if rule.type is None else frozenset({rule.type})


def unreadable() -> UpstreamError:
    """The fault of an answer that is not the searchset that was asked for."""
    return UpstreamError("The upstream's answer is not a searchset that can be read.")


def _settle(entries: list[IdentifiedEntry], rule: CheckSearchset, access: Access, dependence: Dependence) -> list[IdentifiedEntry]:
    """The entries that may leave, outcomes among them."""
    judge = Judge(access)
    verdicts = [_verdict(entry, rule, access, judge) for entry in entries]
    if any(isinstance(verdict, Depends) for verdict in verdicts):
        inside = (entry for entry, verdict in zip(entries, verdicts, strict=True) if verdict is INSIDE)
        dependence.found_inside(Reference(entry.type, entry.id) for entry in inside if entry.type is not None and entry.id is not None)
    return [
        entry
        for entry, verdict in zip(entries, verdicts, strict=True)
        if verdict is INSIDE or entry.is_outcome or dependence.settle(verdict)
    ]


def _verdict(entry: IdentifiedEntry, rule: CheckSearchset, access: Access, judge: Judge) -> Verdict:
    """Matches by the search's boundary, all else by what may be read of its type; without type or id nothing is known of it."""
    if entry.type is None or entry.id is None or entry.is_outcome:
        return OUTSIDE
    boundary = access.readable(entry.type) if entry.mode == "include" or rule.boundary is None else rule.boundary
    return judge.verdict(boundary, entry.type, entry.found.resource)
