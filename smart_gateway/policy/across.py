"""The plan for a search over several types: the base's ``_search``, and ``[compartment]/[id]/*`` (semantics 4).

It is made of one search for each type, each planned as a search of its own: no server tells what a search over types cannot say, whose
record a resource of each of them belongs to.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

from smart_gateway.errors import RequestError
from smart_gateway.fhir.interactions import Interaction
from smart_gateway.fhir.references import Reference
from smart_gateway.policy.access import Access
from smart_gateway.policy.causes import Denial
from smart_gateway.policy.hints import missing_scopes
from smart_gateway.policy.localising import local_pairs
from smart_gateway.policy.parameters.verdicts import Foreign
from smart_gateway.policy.plan import Decision, Deny, Permit, Plan, Stream
from smart_gateway.policy.reading import require_judged_media
from smart_gateway.policy.searching import FOREIGN_PAGE, foreign, is_foreign_page, plan_searches, searches, upstream_of
from smart_gateway.policy.unions import Searches
from smart_gateway.request.model import FhirRequest, QueryParameter
from smart_gateway.scopes.permissions import Permission

_NO_TYPES = Denial("types-required", "A search over all types is refused under a bounded token: name them in _type.", "http._type")
_NOTHING = Denial("insufficient-scope", "The token grants no permission 's' on any type of this compartment.")


def plan_search_across(request: FhirRequest, access: Access) -> Decision:
    """A search over the types of ``_type``, or over all of a compartment; for tokens without any bound, over all of the server."""
    if request.compartment is None and access.unlimited(Permission.SEARCH) and not _must_split(request, access):
        return Permit(Plan(Stream(), upstream_of(request, (), local_pairs(request, access.policy))))
    if is_foreign_page(request):
        return FOREIGN_PAGE
    named = _named_types(request, access)
    denied = _missing(request, named, access)
    if denied is not None:
        return denied
    require_judged_media(request)
    if request.compartment is not None:
        return _in_compartment(request, request.compartment, named, access)
    return _plan(request, named, access) if named else Deny(403, (_NO_TYPES,))


def _must_split(request: FhirRequest, access: Access) -> bool:
    """Whether the upstream cannot be asked as the client asks (the paging links of an upstream come here too, without ``_type``)."""
    return access.policy.capabilities.searches_all is False and any(p.key == "_type" for p in request.parameters)


def _named_types(request: FhirRequest, access: Access) -> tuple[str, ...]:
    """The types of ``_type``; none where it is not there."""
    given = [parameter for parameter in request.parameters if parameter.name == "_type"]
    if not given:
        return ()
    types = tuple(dict.fromkeys(given[0].value.split(",")))
    if len(given) > 1 or given[0].key != "_type" or not access.policy.vocabulary.types.issuperset(types):
        raise RequestError(
            "_type is given once, as a comma-separated list of resource types.", reason="malformed-parameter", expression="http._type"
        )
    return types


def _missing(request: FhirRequest, types: tuple[str, ...], access: Access) -> Deny | None:
    """Each of ``_type`` needs ``s``. Spec: semantics 4."""
    without = [type for type in types if access.boundary(type, Permission.SEARCH).is_nothing]
    if not without:
        return None
    causes = tuple(Denial("insufficient-scope", f"The token grants no permission 's' on {type}.", "http._type") for type in without)
    missing = missing_scopes(request, access, without, Permission.SEARCH)
    grounds = tuple(dict.fromkeys(chain.from_iterable(access.grounds(type, Permission.SEARCH) for type in without)))
    return Deny(403, causes, missing, grounds)


def _in_compartment(request: FhirRequest, owner: Reference, named: tuple[str, ...], access: Access) -> Decision:
    """``Patient/[id]/*``: the types of the compartment that the token may search and the upstream has."""
    policy = access.policy
    outside = [type for type in named if not policy.rules.covers(owner.type, type)]
    if outside:
        raise RequestError(f"{outside[0]} is in no {owner.type} compartment.", reason="malformed-parameter", expression="http._type")
    had = policy.capabilities.parameters
    types = named or tuple(
        type
        for type in sorted(policy.vocabulary.types if had is None else policy.vocabulary.types & had.keys())
        if policy.rules.covers(owner.type, type) and not access.boundary(type, Permission.SEARCH).is_nothing
    )
    return _plan(request, types, access, required=bool(named)) if types else Deny(403, (_NOTHING,))


def _plan(request: FhirRequest, types: tuple[str, ...], access: Access, *, required: bool = True) -> Decision:
    """One search of all ``types``; one that only others' records could answer has no part in it, unless it is ``required``."""
    found: list[Searches] = []
    left_out: list[str] = []
    others = Foreign()
    for type in types:
        try:
            one = searches(_of_type(request, type), access)
        except RequestError as error:
            if required or error.reason != "compartment-not-searchable":
                raise
            left_out.append(f"{type} is left out: the FHIR server has no search parameter for this compartment of it")
            continue
        if isinstance(one, Deny):
            return one
        if not isinstance(one, Foreign):
            found.append(one)
            continue
        others = one
        if required:
            return foreign(request, access, others)
    if not found:
        return foreign(request, access, others)
    checks = tuple(dict.fromkeys((*chain.from_iterable(one.checks for one in found), *left_out)))
    return plan_searches(request, access, Searches(tuple(branch for one in found for branch in one.branches), checks))


def _of_type(request: FhirRequest, type: str) -> FhirRequest:
    """The part of ``request`` that is about ``type``."""
    interaction = Interaction.SEARCH_TYPE if request.compartment is None else Interaction.SEARCH_COMPARTMENT
    parameters = tuple(parameter for parameter in request.parameters if parameter.name != "_type" and _is_for(parameter, type))
    return replace(request, interaction=interaction, type=type, parameters=parameters)


def _is_for(parameter: QueryParameter, type: str) -> bool:
    """What another type includes is no business of this one's search; whatever is included itself may go on (``:iterate``)."""
    source, separator, _ = parameter.value.partition(":")
    return parameter.key != "_include" or not separator or source == type
