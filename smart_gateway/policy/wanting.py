"""Which permissions of a UMA authorization server would open what is asked, and nothing beside it.

Spec: UMA 2.0 Federated Authorization section 4; semantics 2, "UMA 2.0".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from smart_gateway.fhir.interactions import Interaction
from smart_gateway.fhir.references import is_id, parse_reference
from smart_gateway.policy.model import Policy
from smart_gateway.policy.requirements import REQUIRED
from smart_gateway.policy.rules.granting import Standing, grant
from smart_gateway.policy.rules.users import NO_RULE
from smart_gateway.policy.uma import INSTANCE, PATIENT, UmaResource, describing
from smart_gateway.policy.writes.conditional import is_conditional
from smart_gateway.principal import PermittedRegion, Principal
from smart_gateway.request.model import FhirRequest, QueryParameter
from smart_gateway.scopes.permissions import Permission

_MOST_WANTED = 10  # permissions of one ticket: whoever asks for more asks for no one's record
_NOT_ONE = frozenset({Interaction.BATCH, Interaction.PAGE})


@dataclass(frozen=True, slots=True)
class WantedPermission:
    """A resource and its scopes, by the names of the authorization server."""

    resource: str
    scopes: tuple[str, ...]


def wanted_permissions(request: FhirRequest, resources: Sequence[UmaResource], policy: Policy) -> tuple[WantedPermission, ...]:
    """The permissions that would open what ``request`` asks for, as its line alone says it, and no others; none where no resource does.

    Nothing stored is looked at: whose a resource is must not be told to who asks for a permission on it.
    """
    needs = _needs(request)
    wanted: dict[str, dict[str, None]] = {}
    for type, permission in needs:
        found = _narrowest(request, type, permission, resources, policy)
        if not found:
            return ()
        for region in found:
            wanted.setdefault(region.resource, {})[region.grant] = None
    if len(wanted) > _MOST_WANTED:
        return ()
    return tuple([WantedPermission(id, tuple(names)) for id, names in wanted.items()])


def _narrowest(
    request: FhirRequest, type: str, permission: Permission, resources: Sequence[UmaResource], policy: Policy
) -> tuple[PermittedRegion, ...]:
    """The regions that open ``type``: those of the resource itself, else of the patients that are named, else of everybody."""
    patients = _patients(request, policy)
    if len(patients) > _MOST_WANTED:
        return ()
    kinds: dict[int, list[PermittedRegion]] = {0: [], 1: [], 2: []}
    for kind, region in _candidates(request, patients, resources):
        if _opens(region, request, type, permission, policy):
            kinds[kind].append(region)
    if {region.patient for region in kinds[1]} != set(patients):
        kinds[1] = []  # what opens the record of some of those who were asked for does not open what was asked
    return tuple(next((found for found in kinds.values() if found), ()))


def _candidates(request: FhirRequest, patients: Sequence[str], resources: Sequence[UmaResource]) -> Iterator[tuple[int, PermittedRegion]]:
    for resource in resources:
        names = [name for name, _ in resource.scopes]
        for kind, id in _ids(resource, request, patients):
            if describing(id, resources) is resource:
                yield from ((kind, region) for region in resource.regions(id, names))


def _ids(resource: UmaResource, request: FhirRequest, patients: Sequence[str]) -> Iterator[tuple[int, str]]:
    """The ids of the authorization server that the request's line leads to. A patient's are used only where that patient is named."""
    if INSTANCE in resource.id:
        if request.id is not None:
            yield 0, resource.id.replace(INSTANCE, request.id)
    elif PATIENT in resource.id:
        yield from ((1, resource.id.replace(PATIENT, patient)) for patient in patients)
    elif resource.patient is None:
        yield 2, resource.id
    elif resource.patient in patients:
        yield 1, resource.id


def _opens(region: PermittedRegion, request: FhirRequest, type: str, permission: Permission, policy: Policy) -> bool:
    """Whether it opens something of ``type``, as far as can be said before it is known who asks."""
    if type not in policy.vocabulary.types:
        return False
    standing = Standing(Principal("", patient=region.patient), policy, NO_RULE, system=True).for_limits()
    boundary = grant(region.scope, type, permission, standing).boundary
    if boundary.is_nothing:
        return False
    return request.id is None or request.type != type or policy.matcher.could_hold(boundary, type, request.id)


def _needs(request: FhirRequest) -> tuple[tuple[str, Permission], ...]:
    """The types that the line names, with what it takes on each; a batch and a page name none."""
    if request.interaction in _NOT_ONE:
        return ()
    if request.interaction is Interaction.OPERATION:
        return ((request.type, Permission.READ),) if request.type is not None and request.id is not None else ()
    permission = REQUIRED.get(request.interaction)
    if permission is None:
        return ()
    if request.type is None:
        return tuple([(type, permission) for type in _types(request)])
    conditional = ((request.type, Permission.SEARCH),) if is_conditional(request) else ()
    return ((request.type, permission), *conditional)


def _types(request: FhirRequest) -> tuple[str, ...]:
    named = [type for parameter in request.parameters if parameter.key == "_type" for type in parameter.value.split(",")]
    return tuple(dict.fromkeys(type for type in named if type))


def _patients(request: FhirRequest, policy: Policy) -> tuple[str, ...]:
    """The patients that the line names: by path, compartment or search parameter."""
    found = [request.id] if request.type == "Patient" and request.id is not None else []
    if request.compartment is not None and request.compartment.type == "Patient":
        found.append(request.compartment.id)
    for parameter in request.parameters:
        found += _named_by(parameter, request.type, policy)
    return tuple(dict.fromkeys(found))


def _named_by(parameter: QueryParameter, type: str | None, policy: Policy) -> Iterator[str]:
    if parameter.chain or parameter.modifier not in (None, "Patient"):
        return
    bare = parameter.key == "_id" if type == "Patient" else parameter.name == "patient" or parameter.modifier == "Patient"
    for value in parameter.value.split(","):
        reference = parse_reference(value, policy.bases)
        if bare and is_id(value) and value not in {".", ".."}:
            yield value
        elif parameter.name in {"patient", "subject"} and reference is not None and reference.type == "Patient":
            yield reference.id
