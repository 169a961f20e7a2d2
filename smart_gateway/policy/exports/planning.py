"""The plans for Bulk Data export: kick-off, status, cancel and files (semantics 8).

An export leaves out every check of single resources, so it needs the whole of each exported type, by ``system/`` scopes alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from smart_gateway.boundary.describing import smallest_scope
from smart_gateway.boundary.model import everything
from smart_gateway.errors import MethodNotAllowed, PageRefused, RequestError
from smart_gateway.fhir.bundles import CARRIERS
from smart_gateway.fhir.interactions import Interaction
from smart_gateway.fhir.query import encode_query
from smart_gateway.policy.access import Access
from smart_gateway.policy.causes import Denial, Missing
from smart_gateway.policy.exports.jobs import (
    CancelExport,
    CheckExportFile,
    CheckExportStatus,
    ExportFile,
    ExportJob,
    ExportPlace,
    OpenExport,
    Pairs,
    StartExport,
)
from smart_gateway.policy.exports.parameters import NDJSON, Kickoff, TypeFilter, posted, read_kickoff
from smart_gateway.policy.grounds import Ground
from smart_gateway.policy.owners import Owners
from smart_gateway.policy.parameters.judging import judge
from smart_gateway.policy.plan import Decision, Deny, Permit, Plan, UpstreamRequest
from smart_gateway.policy.reading import require_judged_media
from smart_gateway.policy.rules.groups import GROUP, OTHER_GROUP, group_bound, may_export
from smart_gateway.request.model import FhirRequest
from smart_gateway.scopes.permissions import Permission
from smart_gateway.scopes.scope import Context

KICKOFF = "$export"
TOKEN_PARAMETERS = {ExportPlace.JOB: "_job", ExportPlace.FILE: "_file"}
# The operations that belong to an export; ``policy.operations`` hands them over.
EXPORT_OPERATIONS = frozenset({KICKOFF, *ExportPlace})

_READS = Permission.READ | Permission.SEARCH
# The levels by type and whether an id is named, and the types that a job of each needs besides those it exports.
_LEVELS = {(None, False): frozenset[str](), ("Patient", False): frozenset({"Patient"}), ("Group", True): frozenset({"Group", "Patient"})}
_NEEDS = {type: needs for (type, _), needs in _LEVELS.items()}
EXPORTED_ON = frozenset(type for type, _ in _LEVELS)
# These hold whole resources, or documents, of types that their own name does not tell (semantics 5 and 7).
_OF_ANY_TYPE = CARRIERS | {"Binary"}
# Not asked for unless by name: no records of anybody's, or (Group, List) of many patients, which servers refuse at the level of Patient.
_NOT_RECORDS = frozenset({"Binary", "OperationOutcome", "Parameters"})
_OF_MANY = frozenset({"Group", "List"})
_NOT_OPENED = Denial("operation-not-opened", "Exports are of the system, of Patient, or of one Group.")
_NONE = Denial(
    "insufficient-scope", "No type can be exported: that needs rs by system/ scopes without filters, and no rule that bounds it."
)
_FILTER_CONTROLS = frozenset(
    "_include _revinclude _sort _count _summary _total _elements _contained _containedType _filter _query _list _in _type _graph _format "
    "_pretty _page".split()
)


def exportable(access: Access) -> frozenset[str]:
    """The types that the token holds whole, by ``system/`` scopes without filters: all that an export may give."""
    return access.remembered(("exportable", ""), lambda: _exportable(access))


def _exportable(access: Access) -> frozenset[str]:
    known = access.policy.vocabulary.types
    held = frozenset(type for type in known if _is_whole(access, type))
    return held if held == known else held - _OF_ANY_TYPE


def _is_whole(access: Access, type: str) -> bool:
    return all(access.boundary_by(Context.SYSTEM, type, permission).is_everything for permission in (Permission.READ, Permission.SEARCH))


def authorize_export(request: FhirRequest, access: Access) -> Deny | None:
    """The permission on the types that the path names, before a body is read; None where the decision goes on."""
    if request.operation == KICKOFF:
        needs = _LEVELS.get((request.type, request.id is not None))
        if needs is None:
            return Deny(403, (_NOT_OPENED,))
        if not may_export(access.client, request.type, request.id):
            return Deny(403, (OTHER_GROUP,))
        if needs:
            return _require(_needed(request.type, access), access)
    elif request.type is not None:
        return Deny(403, (_NOT_OPENED,))
    return None if any(scope.context is Context.SYSTEM for scope in access.scopes) else Deny(403, (_NONE,))


def plan_export(request: FhirRequest, access: Access) -> Decision:
    """A kick-off, or what a sealed URL leads to. Raises RequestError for parameters that are broken, unknown or not supported."""
    denied = authorize_export(request, access)
    if denied is not None:
        return denied
    return _plan_start(request, access) if request.operation == KICKOFF else _plan_open(request)


def _plan_start(request: FhirRequest, access: Access) -> Decision:
    if request.method not in {"GET", "POST"}:
        raise MethodNotAllowed("An export is started by GET or POST.", allow=("GET", "POST"))
    require_judged_media(request)
    asked = read_kickoff(request, access.policy.bases)
    types = _named(asked, access) if asked.types is not None else _narrowed(request, access)
    denied = _require(types, access, "http._type") if types else Deny(403, (_NONE,))
    if denied is not None:
        return denied
    filters = _filters(request, asked.filters, types, access)
    if isinstance(filters, Deny):
        return filters
    said = asked.types is not None or types != access.policy.vocabulary.types
    pairs = (*asked.pairs, *((("_type", ",".join(sorted(types))),) if said else ()), *filters)
    return Permit(_start(request, types, pairs), _grounds(types, request.type, access))


def _start(request: FhirRequest, types: frozenset[str], pairs: Pairs) -> Plan:
    """An export is asynchronous whether the client says so or not, as the IG lets a server take it ("Headers": Prefer)."""
    path = tuple(segment for segment in (request.type, request.id, KICKOFF) if segment is not None)
    handling = request.preferences.prefer_handling
    # HAPI gives a job out again to whoever asks for the same, unless told not to: one client would then cancel another's.
    wish = (("Prefer", "respond-async" if handling is None else f"respond-async, handling={handling}"), ("Cache-Control", "no-cache"))
    checks = ("status and file URLs are sealed for this client and subject", "each line of a file is a resource of the file's type")
    rule = StartExport(types, request.type, request.id)
    if request.method == "POST":
        return Plan(rule, UpstreamRequest("POST", path, headers=wish, content=posted(pairs)), checks=checks)
    return Plan(rule, UpstreamRequest("GET", path, pairs, headers=wish), checks=checks)


def _named(asked: Kickoff, access: Access) -> frozenset[str]:
    types = frozenset(asked.types or ())
    unknown = types - access.policy.vocabulary.types
    if unknown:
        text = "_type is a comma-separated list of resource types of this FHIR release."
        raise RequestError(text, reason="unknown-type", expression="http._type")
    return types


def _narrowed(request: FhirRequest, access: Access) -> frozenset[str]:
    """Without ``_type``: what the token may export and the upstream has, and of that the Patient compartment where the export is about
    patients; all types only for a token that has all."""
    held, vocabulary = exportable(access), access.policy.vocabulary
    if held == vocabulary.types:
        return held
    had = access.policy.capabilities.parameters
    types = (held if had is None else held & had.keys()) - _NOT_RECORDS
    if request.type is None:
        return types
    left_out = _OF_MANY if request.type == "Patient" else frozenset[str]()
    return frozenset(type for type in types - left_out if type == "Patient" or vocabulary.inclusion("Patient", type))


def _filters(request: FhirRequest, filters: tuple[TypeFilter, ...], types: frozenset[str], access: Access) -> Pairs | Deny:
    """``_typeFilter``, each written anew from what was parsed and judged as a search: chains into types that are not open are refused."""
    written = []
    for given in filters:
        if given.type not in types:
            text = "_typeFilter names a type that is not exported."
            raise RequestError(text, reason="malformed-parameter", expression="http._typeFilter")
        pairs = _filter(request, given, access)
        if isinstance(pairs, Deny):
            return pairs
        written.append(("_typeFilter", f"{given.type}?{encode_query(pairs)}"))
    return tuple(written)


def _filter(request: FhirRequest, given: TypeFilter, access: Access) -> Pairs | Deny:
    if any(parameter.name in _FILTER_CONTROLS for parameter in given.parameters):
        text = "_typeFilter takes parameters that select resources of its type, and no others."
        raise RequestError(text, reason="malformed-parameter", expression="http._typeFilter")
    search = replace(request, interaction=Interaction.SEARCH_TYPE, method="GET", type=given.type, id=None, parameters=given.parameters)
    try:
        judgement = judge(search, access, everything(), Owners({}), exact=True)
    except RequestError as error:
        raise RequestError(error.text, reason=error.reason, expression="http._typeFilter") from None
    denials = tuple(replace(denial, expression="http._typeFilter") for denial in judgement.denials)
    return Deny(403, denials, judgement.missing) if denials else judgement.pairs


def _plan_open(request: FhirRequest) -> Decision:
    place = ExportPlace(request.operation or "")
    name = TOKEN_PARAMETERS[place]
    given = [parameter for parameter in request.parameters if parameter.key != "_format"]
    if all(parameter.key != name for parameter in given):
        raise PageRefused(
            "This is no address that this gateway gave out for an export.", reason="foreign-export", expression=f"http.{name}"
        )
    if len(given) != 1:
        raise RequestError("The address of an export takes no other parameters.", reason="malformed-page", expression=f"http.{name}")
    if place is ExportPlace.JOB:
        require_judged_media(request)
    return Permit(
        Plan(OpenExport(place, given[0].value), checks=("the address was given to this client and subject for types it has still",))
    )


def plan_opened_job(job: ExportJob, method: str, access: Access) -> Plan | Deny:
    """The plan for the status of an opened job, or its end, by what the token may export now."""
    denied = _refuse_job(job, access)
    if denied is not None:
        return denied
    if method == "DELETE":
        return Plan(CancelExport(), UpstreamRequest("DELETE", job.path, job.query))
    return Plan(CheckExportStatus(job), UpstreamRequest("GET", job.path, job.query))


def _refuse_job(job: ExportJob, access: Access) -> Deny | None:
    """What is left of ``job`` to the token now: all of its types, and the Group that it is about."""
    if not may_export(access.client, job.level, job.group):
        return Deny(403, (OTHER_GROUP,))
    return _require(job.types | _needed(job.level, access), access)


def plan_opened_file(file: ExportFile, method: str, access: Access) -> Plan | Deny:
    """The plan for an opened file, by what the token may export now."""
    denied = _refuse_job(file.job, access)
    if denied is not None:
        return denied
    held = exportable(access)
    rule = CheckExportFile(file, None if held == access.policy.vocabulary.types else held)
    return Plan(rule, UpstreamRequest("HEAD" if method == "HEAD" else "GET", file.job.path, file.job.query, headers=(("Accept", NDJSON),)))


def _require(types: Collection[str], access: Access, expression: str | None = None) -> Deny | None:
    """Each of ``types`` must be exportable. The scopes that would help are named in the refusal."""
    closed = sorted(frozenset(types) - exportable(access))
    if not closed:
        return None
    causes = tuple(Denial("insufficient-scope", _needs(type), expression) for type in closed)
    return Deny(403, causes, tuple(_hints(closed, access)), _grounds(closed, None, access))


def _needed(level: str | None, access: Access) -> frozenset[str]:
    """The types that a job of ``level`` needs besides those it exports. Clients of certain Groups need no other Group."""
    needs, client = _NEEDS[level], access.client
    if client is None or client.groups is None or level != GROUP:
        return needs
    given = (access.boundary_by(Context.SYSTEM, GROUP, permission) for permission in (Permission.READ, Permission.SEARCH))
    return needs - {GROUP} if all(boundary == group_bound(client, GROUP) and not boundary.is_nothing for boundary in given) else needs


def _needs(type: str) -> str:
    if type in _OF_ANY_TYPE:
        return f"An export of {type}, which may hold what is of any type, needs system/*.rs without filters, and no rule that bounds it."
    return f"An export of {type} needs system/{type}.rs without filters, and no rule that bounds it."


def _hints(types: Collection[str], access: Access) -> Iterator[Missing]:
    """The scopes that the client could have: for tokens of a system, and of what the client is registered for. Spec: semantics 10."""
    client, syntax = access.client, access.principal.scopes.syntax
    if client is None or client.pin is not None or not any(s.context is Context.SYSTEM for s in access.principal.scopes.resources):
        return
    for type in types:
        wanted = smallest_scope(Context.SYSTEM, type, _READS, syntax)
        registered = client.registered_scopes is None or any(
            s.context is Context.SYSTEM and s.type in (type, "*") and not s.params and _READS in s.permissions
            for s in client.registered_scopes
        )
        helps = all(access.with_scope(wanted, type, one).is_everything for one in (Permission.READ, Permission.SEARCH))
        if registered and helps and type not in _OF_ANY_TYPE:
            yield Missing(wanted.text, type, _READS)


def _grounds(types: Collection[str], level: str | None, access: Access) -> tuple[Ground, ...]:
    """The rules that were looked at, each once though it may speak of many types."""
    found = (ground for type in sorted({*types, *_NEEDS[level]}) for ground in access.grounds(type, Permission.READ))
    return tuple({(ground.source, ground.rule, ground.result): ground for ground in found}.values())
