"""The plan for a batch or transaction: every entry is an interaction of its own (semantics 7)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from smart_gateway.errors import NotAcceptable, RequestError
from smart_gateway.fhir.references import parse_reference
from smart_gateway.policy.access import Access
from smart_gateway.policy.causes import Denial
from smart_gateway.policy.exports.planning import EXPORT_OPERATIONS
from smart_gateway.policy.grounds import Ground
from smart_gateway.policy.plan import CheckBatch, Decision, Deny, EntryDecision, PatchCheck, Permit, Plan
from smart_gateway.policy.reading import JUDGED_MEDIA, require_judged_media
from smart_gateway.policy.writes.conditional import possible_plans
from smart_gateway.policy.writes.linking import Links, full_url_type
from smart_gateway.policy.writes.patching import foresee_patch
from smart_gateway.policy.writes.writing import foresee_body
from smart_gateway.request.batch import read_carried_patch
from smart_gateway.request.body import require_named
from smart_gateway.request.limits import Limits
from smart_gateway.request.model import Batch, BatchEntry, FhirRequest

Authorize = Callable[[FhirRequest, Access], Decision]


def plan_batch(request: FhirRequest, access: Access, authorize: Authorize) -> Decision:
    """A permit with one decision for each entry; a transaction with an entry that is refused is refused as a whole."""
    require_judged_media(request)
    assert request.batch is not None  # INVARIANT: request.completing
    return conclude([EntryDecision(entry, _decide(entry, access, authorize)) for entry in request.batch.entries], request.batch)


def conclude(entries: Sequence[EntryDecision], batch: Batch) -> Decision:
    """What the decisions on the entries come to: of a transaction all or nothing, of a batch each by itself."""
    refused = [(number, entry.decision) for number, entry in enumerate(entries) if not isinstance(entry.decision, Permit)]
    grounds = tuple(dict.fromkeys(ground for entry in entries for ground in _grounds(entry.decision)))
    if batch.transaction and refused:
        causes = tuple([_cause(number, decision) for number, decision in refused])
        missing = dict.fromkeys(m for _, decision in refused if isinstance(decision, Deny) for m in decision.missing)
        helpful = all(isinstance(decision, Deny) and decision.missing for _, decision in refused)
        status = 403 if any(isinstance(decision, Deny) for _, decision in refused) else 400
        return Deny(status, causes, tuple(missing) if helpful else (), grounds, tuple(entries))
    checks = (f"each of the {len(entries)} entries by the rules of its own interaction",)
    return Permit(Plan(CheckBatch(tuple(entries), batch.transaction), checks=checks), grounds)


def judge_bodies(decision: Decision, batch: Batch, access: Access, limits: Limits) -> Decision:
    """``decision`` with the bodies of its entries judged as they will be before they are sent, as far as that can be told without asking
    the server: for ``explain``."""
    if not isinstance(decision, Permit) or not isinstance(decision.plan.answer, CheckBatch):
        return decision
    links = links_of(batch, access)
    return conclude([EntryDecision(held.entry, _judged(held, links, access, limits)) for held in decision.plan.answer.entries], batch)


def links_of(batch: Batch, access: Access, resolved: Mapping[int, str] | None = None) -> Links:
    """How the entries name each other: only in a transaction. ``resolved`` as in ``Links``."""
    return Links(batch.entries if batch.transaction else (), access, resolved)


def _decide(entry: BatchEntry, access: Access, authorize: Authorize) -> Permit | Deny | RequestError:
    if isinstance(entry.request, RequestError):
        return entry.request
    if entry.request.operation in EXPORT_OPERATIONS:  # what it answers comes later, and elsewhere
        return RequestError("An export is no interaction of a batch.", reason="export-in-batch")
    try:
        _require_own_url(entry, entry.request, access)
        if entry.request.preferences.media not in JUDGED_MEDIA:
            return NotAcceptable("The answers to a batch are FHIR JSON.")
        return authorize(entry.request, access)
    except RequestError as error:
        return error


def _require_own_url(entry: BatchEntry, request: FhirRequest, access: Access) -> None:
    """Raises RequestError for a fullUrl that names something else than the entry: references to it would be taken for that."""
    if entry.full_url is None:
        return
    named = parse_reference(entry.full_url, access.policy.bases)
    other = named is not None and request.id is not None and (named.type, named.id) != (request.type, request.id)
    if other or full_url_type(entry.full_url) not in (None, request.type):
        raise RequestError("The fullUrl names something else than the request does.", reason="full-url-mismatch")


def _judged(held: EntryDecision, links: Links, access: Access, limits: Limits) -> Permit | Deny | RequestError:
    if not isinstance(held.decision, Permit):
        return held.decision
    request, permit = held.entry.request, held.decision
    assert isinstance(request, FhirRequest)  # what is permitted was parsed
    try:
        refusals = [_refused(held.entry, request, plan, links, access, limits) for plan in possible_plans(request, permit.plan, access)]
    except RequestError as error:
        return error
    sure = refusals[0] if refusals and all(refusals) else None
    return replace(sure, grounds=sure.grounds or permit.grounds) if sure is not None else permit


def _refused(entry: BatchEntry, request: FhirRequest, plan: Plan, links: Links, access: Access, limits: Limits) -> Deny | None:
    """The refusal of what an entry carries. Raises RequestError where that is not what the entry's request needs."""
    check, resource = plan.body, entry.resource
    if check is None or resource is None:
        return None
    if isinstance(check, PatchCheck):
        patch = read_carried_patch(resource, request.content_type, limits)
        return foresee_patch(patch, check, request, access, fetched=plan.stored is not None)
    require_named(resource, check)
    return foresee_body(links.resolve(resource, check), check, plan.stored, access)


def _cause(number: int, decision: Permit | Deny | RequestError) -> Denial:
    """One cause for each entry, placed in the Bundle."""
    place = f"Bundle.entry[{number}]"
    match decision:
        case Deny(causes=causes):
            return Denial(causes[0].code, f"Entry {number}: {' '.join(dict.fromkeys(cause.text for cause in causes))}", place)
        case RequestError(reason=reason, text=text, expression=expression):
            inside = expression is not None and expression.startswith(place)
            return Denial(reason, f"Entry {number}: {text}", expression if inside else place)
        case _:
            raise AssertionError("a permitted entry is no cause")


def _grounds(decision: Permit | Deny | RequestError) -> Iterable[Ground]:
    return () if isinstance(decision, RequestError) else decision.grounds
