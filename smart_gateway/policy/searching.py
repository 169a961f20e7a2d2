"""The plan for a type or compartment search (semantics 4): judge every parameter, narrow, and check what comes back."""

from __future__ import annotations

from dataclasses import dataclass

from smart_gateway.boundary.model import Boundary, Compartment, Filter
from smart_gateway.boundary.narrowing import Narrowing
from smart_gateway.errors import RequestError, UnknownPath
from smart_gateway.fhir.references import Reference
from smart_gateway.policy.access import Access
from smart_gateway.policy.causes import Denial
from smart_gateway.policy.extents import comes_in_parts, extent
from smart_gateway.policy.grounds import Ground
from smart_gateway.policy.localising import local_pairs
from smart_gateway.policy.owners import Owners
from smart_gateway.policy.parameters.judging import judge
from smart_gateway.policy.parameters.verdicts import Foreign
from smart_gateway.policy.plan import Branch, CheckSearchset, Decision, Deny, EmptySearchset, Permit, Plan, Stream, UpstreamRequest
from smart_gateway.policy.reading import require_judged_media
from smart_gateway.policy.unions import Pairs, Searches, unite
from smart_gateway.policy.wording import check_sentence
from smart_gateway.request.model import FhirRequest
from smart_gateway.scopes.permissions import Permission

FOREIGN_PAGE = Deny(403, (Denial("foreign-page", "This paging link was not given by this gateway to this token.", "http._getpages"),))
_FOREIGN = "The search asks for a record that is not the one this token is bound to."


@dataclass(frozen=True, slots=True)
class _Location:
    """Where to ask: the path, and the parameters that stand for a compartment in the client's path. ``unless``: as in ``Branch``."""

    path: tuple[str, ...]
    parameters: Pairs = ()
    unless: tuple[Filter, ...] = ()


@dataclass(frozen=True, slots=True)
class _Bound:
    """What every search of one type meets under one access: worked out once."""

    boundary: Boundary
    owners: Owners
    owner: Reference | None
    narrowings: tuple[Narrowing, ...]
    checks: tuple[str, ...]

    @property
    def exact(self) -> bool:
        return self.narrowings[0].exact  # they differ only in how they say the same


def _bound(access: Access, type: str) -> _Bound:
    boundary = access.boundary(type, Permission.SEARCH)
    first = f"every {type} in the answer {check_sentence(boundary)}"
    second = "every other resource in the answer is one that the token may read or search"
    owners, narrower = Owners.of(boundary), access.policy.narrower
    narrowings = narrower.narrow_each(boundary, type) if _is_union(access) else (narrower.narrow(boundary, type),)
    return _Bound(boundary, owners, owners.only(type), narrowings, (first, second))


def plan_search(request: FhirRequest, access: Access) -> Decision:
    """A search on ``request.type``, by GET or POST, in a compartment or not."""
    assert request.type is not None
    grounds = access.grounds(request.type, Permission.SEARCH)
    locations = _locations(request, access)
    if access.unlimited(Permission.SEARCH) and len(locations) == 1:
        pairs = (*local_pairs(request, access.policy), *locations[0].parameters)
        return Permit(Plan(Stream(), upstream_of(request, locations[0].path, pairs)), grounds)
    if is_foreign_page(request):
        return FOREIGN_PAGE
    require_judged_media(request)
    found = _searches(request, access, locations)
    if isinstance(found, Foreign):
        return foreign(request, access, found)
    return found if isinstance(found, Deny) else plan_searches(request, access, found)


def is_foreign_page(request: FhirRequest) -> bool:
    """Whether this is a paging link of the upstream itself. Spec: semantics 4 and 10."""
    return any(parameter.name.startswith("_getpages") for parameter in request.parameters)


def searches(request: FhirRequest, access: Access) -> Searches | Deny | Foreign:
    """What to ask upstream for ``request``, a search on one type."""
    return _searches(request, access, _locations(request, access))


def plan_searches(request: FhirRequest, access: Access, found: Searches) -> Decision:
    """The plan for the answer to all of ``found``: of one search, or of several as one."""
    grounds = access.grounds(request.type, Permission.SEARCH) if request.type is not None else ()
    if len(found.branches) == 1:
        branch = found.branches[0]
        return Permit(Plan(branch.rule, branch.upstream, checks=found.checks), grounds)
    union = unite(request, found.branches, access.policy.vocabulary)
    return union if isinstance(union, Deny) else Permit(Plan(union, checks=found.checks), grounds)


def _searches(request: FhirRequest, access: Access, locations: tuple[_Location, ...]) -> Searches | Deny | Foreign:
    assert request.type is not None
    bound = access.remembered(("search", request.type), lambda: _bound(access, request.type or ""))
    if _foreign_compartment(request, bound.owners):
        return Foreign()
    judgement = judge(request, access, bound.boundary, bound.owners, exact=bound.exact)
    if judgement.denials:
        return Deny(403, judgement.denials, judgement.missing, access.grounds(request.type, Permission.SEARCH))
    if judgement.foreign is not None:
        return judgement.foreign
    rule = CheckSearchset(
        request.type,
        bound.boundary,
        judgement.exact,
        judgement.count_only,
        judgement.added_elements,
        judgement.includes,
        extent=extent(request.type, judgement.includes, access) if comes_in_parts(judgement.pairs) else "",
    )
    branches = tuple(
        [_branch(request, rule, judgement.pairs, location, narrowing) for location, narrowing in _places(request, access, bound, locations)]
    )
    return Searches(branches, (*bound.checks, *judgement.notes))


def _branch(request: FhirRequest, rule: CheckSearchset, pairs: Pairs, location: _Location, narrowing: Narrowing) -> Branch:
    pairs = tuple(dict.fromkeys((*pairs, *location.parameters, *narrowing.parameters)))
    return Branch(upstream_of(request, location.path, pairs), rule, (*location.unless, *narrowing.unless))


def _is_union(access: Access) -> bool:
    return access.policy.compartment_search == "union"


def _locations(request: FhirRequest, access: Access) -> tuple[_Location, ...]:
    """The client's own compartment search works on every upstream: by its path, by the preferred inclusion parameter, or by each."""
    assert request.type is not None
    asked = request.compartment
    if asked is None:
        return (_Location((request.type,)),)
    if not access.policy.rules.covers(asked.type, request.type):
        raise UnknownPath(f"{request.type} is in no {asked.type} compartment.")
    if _has_path(access, asked.type, request.type):
        return (_Location((asked.type, asked.id, request.type)),)
    ways = access.policy.narrower.compartment_ways(Compartment(asked.type, (asked.id,)), request.type, preferred=not _is_union(access))
    if not ways:
        raise RequestError(
            f"The FHIR server has no search parameter for the {asked.type} compartment of {request.type}.",
            reason="compartment-not-searchable",
        )
    return tuple([_Location((request.type,), way.parameters, way.unless) for way in ways])


def _has_path(access: Access, compartment: str, type: str) -> bool:
    """Whether the upstream has a path for it: it knows what the release defines, and nothing of our additions."""
    return access.policy.compartment_search == "compartment" and bool(access.policy.vocabulary.inclusion(compartment, type))


def _places(
    request: FhirRequest, access: Access, bound: _Bound, locations: tuple[_Location, ...]
) -> tuple[tuple[_Location, Narrowing], ...]:
    """Every place to ask at, with what narrows the question there."""
    if bound.owner is None or (request.compartment is None and not _has_path(access, bound.owner.type, request.type or "")):
        return tuple([(location, narrowing) for location in locations for narrowing in bound.narrowings])
    if request.compartment == bound.owner and _is_union(access):
        locations = (_Location((request.type or "",)),)  # the bound asks for it already
    return tuple([_by_path(request, access, bound.owner, location, narrowing) for location in locations for narrowing in bound.narrowings])


def _by_path(
    request: FhirRequest, access: Access, owner: Reference, location: _Location, narrowing: Narrowing
) -> tuple[_Location, Narrowing]:
    """On upstreams with compartment search, one owner for all regions goes into the path, and out of the parameters."""
    assert request.type is not None
    if not _has_path(access, owner.type, request.type) or request.compartment not in (None, owner):
        return location, narrowing  # the client's own compartment has the path
    code = access.policy.narrower.compartment_parameter(owner.type, request.type)
    kept = tuple(pair for pair in narrowing.parameters if pair != (code, str(owner)))
    return _Location((owner.type, owner.id, request.type)), Narrowing(kept, narrowing.exact)


def upstream_of(request: FhirRequest, path: tuple[str, ...], pairs: Pairs) -> UpstreamRequest:
    """A POST is forwarded as POST; GET and HEAD as GET."""
    if request.method == "POST":
        return UpstreamRequest("POST", (*path, "_search"), form=pairs)
    return UpstreamRequest("GET", path, pairs)


def _foreign_compartment(request: FhirRequest, owners: Owners) -> bool:
    asked = request.compartment
    return asked is not None and owners.excludes(asked.type, asked.id)


def refuse_foreign(found: Foreign, grounds: tuple[Ground, ...] = ()) -> Deny:
    """The 403 for an explicit request for somebody else's record; it names the parameter."""
    return Deny(403, (Denial("foreign-patient", _FOREIGN, found.place),), grounds=grounds)


def foreign(request: FhirRequest, access: Access, found: Foreign) -> Decision:
    """An explicit request for somebody else's record: 403, or an empty searchset where the policy says so."""
    grounds = access.grounds(request.type, Permission.SEARCH) if request.type is not None else ()
    if access.policy.foreign_patient_search == "empty":
        return Permit(Plan(EmptySearchset(request.type), checks=("another patient is asked for: the answer is empty",)), grounds)
    return refuse_foreign(found, grounds)
