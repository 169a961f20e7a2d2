"""The plan for a type or compartment search (semantics 4): judge every parameter, narrow, and check what comes back."""

from __future__ import annotations

from dataclasses import dataclass

from smart_gateway.boundary.model import Boundary
from smart_gateway.boundary.narrowing import Narrower, Narrowing
from smart_gateway.errors import NotSupported, UnknownPath
from smart_gateway.fhir.references import Reference
from smart_gateway.policy.access import Access
from smart_gateway.policy.judging import judge
from smart_gateway.policy.localising import local_pairs
from smart_gateway.policy.owners import Owners
from smart_gateway.policy.plan import CheckSearchset, Decision, Denial, Deny, EmptySearchset, Permit, Plan, Stream, UpstreamRequest
from smart_gateway.policy.reading import require_judged_media
from smart_gateway.policy.wording import check_sentence
from smart_gateway.request.model import FhirRequest
from smart_gateway.scopes.permissions import Permission

_FOREIGN = Denial("foreign-patient", "The search asks for a record that is not the one this token is bound to.")

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class _Location:
    """Where to ask: the path, and the parameters that stand for a compartment in the client's path."""

    path: tuple[str, ...]
    parameters: Pairs = ()


@dataclass(frozen=True, slots=True)
class _Bound:
    """What every search of one type meets under one access: worked out once."""

    boundary: Boundary
    owners: Owners
    owner: Reference | None
    narrowing: Narrowing
    checks: tuple[str, ...]


def _bound(access: Access, type: str) -> _Bound:
    boundary = access.boundary(type, Permission.SEARCH)
    first = f"every {type} in the answer {check_sentence(boundary)}"
    second = "every other resource in the answer is one that the token may read or search"
    owners = Owners.of(boundary)
    return _Bound(boundary, owners, owners.only(type), _narrower(access).narrow(boundary, type), (first, second))


def plan_search(request: FhirRequest, access: Access) -> Decision:
    """A search on ``request.type``, by GET or POST, in a compartment or not."""
    assert request.type is not None
    grounds = access.grounds(request.type, Permission.SEARCH)
    location = _location(request, access)
    if access.unlimited(Permission.SEARCH):
        pairs = (*local_pairs(request, access.policy), *location.parameters)
        return Permit(Plan(Stream(), _upstream(request, location.path, pairs)), grounds)
    require_judged_media(request)
    bound = access.remembered(("search", request.type), lambda: _bound(access, request.type or ""))
    if _foreign_compartment(request, bound.owners):
        return _foreign(request, access)
    return _bounded(request, access, bound, location)


def _bounded(request: FhirRequest, access: Access, bound: _Bound, location: _Location) -> Decision:
    assert request.type is not None
    judgement = judge(request, access, bound.boundary, bound.owners, exact=bound.narrowing.exact)
    grounds = access.grounds(request.type, Permission.SEARCH)
    if judgement.denials:
        return Deny(403, judgement.denials, judgement.missing, grounds)
    if judgement.foreign:
        return _foreign(request, access)
    location, narrowing = _by_path(request, access, bound, location)
    pairs = tuple(dict.fromkeys((*judgement.pairs, *location.parameters, *narrowing.parameters)))
    rule = CheckSearchset(request.type, bound.boundary, narrowing.exact, judgement.count_only, judgement.added_elements)
    return Permit(Plan(rule, _upstream(request, location.path, pairs), checks=(*bound.checks, *judgement.notes)), grounds)


def _narrower(access: Access) -> Narrower:
    policy = access.policy
    return Narrower(policy.vocabulary, policy.rules, lambda type, code: policy.capabilities.supports(type, code, policy.vocabulary))


def _location(request: FhirRequest, access: Access) -> _Location:
    """The client's own compartment search works on every upstream: by its path, or by the preferred inclusion parameter."""
    assert request.type is not None
    asked = request.compartment
    if asked is None:
        return _Location((request.type,))
    if not access.policy.rules.covers(asked.type, request.type):
        raise UnknownPath(f"{request.type} is in no {asked.type} compartment.")
    if _has_path(access, asked.type, request.type):
        return _Location((asked.type, asked.id, request.type))
    code = _narrower(access).compartment_parameter(asked.type, request.type)
    if code is None:
        raise NotSupported(f"The FHIR server has no search parameter for the {asked.type} compartment of {request.type}.")
    return _Location((request.type,), ((code, asked.id if code == "_id" else str(asked)),))


def _has_path(access: Access, compartment: str, type: str) -> bool:
    """Whether the upstream has a path for it: it knows what the release defines, and nothing of our additions."""
    return access.policy.compartment_search == "compartment" and bool(access.policy.vocabulary.inclusion(compartment, type))


def _by_path(request: FhirRequest, access: Access, bound: _Bound, location: _Location) -> tuple[_Location, Narrowing]:
    """On upstreams with compartment search, one owner for all regions goes into the path, and out of the parameters."""
    assert request.type is not None
    narrowing = bound.narrowing
    owner = bound.owner
    if owner is None or not _has_path(access, owner.type, request.type):
        return location, narrowing
    if request.compartment not in (None, owner):
        return location, narrowing  # the client's own compartment has the path
    code = _narrower(access).compartment_parameter(owner.type, request.type)
    kept = tuple(pair for pair in narrowing.parameters if pair != (code, str(owner)))
    return _Location((owner.type, owner.id, request.type)), Narrowing(kept, narrowing.exact)


def _upstream(request: FhirRequest, path: tuple[str, ...], pairs: Pairs) -> UpstreamRequest:
    """A POST is forwarded as POST; GET and HEAD as GET."""
    if request.method == "POST":
        return UpstreamRequest("POST", (*path, "_search"), form=pairs)
    return UpstreamRequest("GET", path, pairs)


def _foreign_compartment(request: FhirRequest, owners: Owners) -> bool:
    asked = request.compartment
    return asked is not None and owners.excludes(asked.type, asked.id)


def _foreign(request: FhirRequest, access: Access) -> Decision:
    """An explicit request for somebody else's record: 403, or an empty searchset where the policy says so."""
    assert request.type is not None
    grounds = access.grounds(request.type, Permission.SEARCH)
    if access.policy.foreign_patient_search == "empty":
        return Permit(Plan(EmptySearchset(request.type), checks=("another patient is asked for: the answer is empty",)), grounds)
    return Deny(403, (_FOREIGN,), grounds=grounds)
