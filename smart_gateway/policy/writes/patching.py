"""The plan for a patch by id, and the judgement of what it makes of the stored resource (semantics 6).

What a patch takes from the stored resource (``test``, ``move``, ``copy``) needs ``r`` on it. Where the token may not read the resource,
a patch that cannot be applied is answered without saying where, and none may bring the resource into what the token may read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from smart_gateway.boundary.matching import INSIDE, OUTSIDE
from smart_gateway.boundary.model import Boundary, everything
from smart_gateway.errors import RequestError, Unprocessable
from smart_gateway.fhir.bundles import CARRIERS
from smart_gateway.fhir.json_patch import JsonPatch, Operation, Verb, apply_json_patch
from smart_gateway.fhir.media import FHIR_XML, XML_PATCH, is_json_body
from smart_gateway.policy.absence import absent
from smart_gateway.policy.access import Access
from smart_gateway.policy.causes import Denial
from smart_gateway.policy.hints import missing_scope
from smart_gateway.policy.plan import AnswerToWrite, BodyCheck, Decision, Deny, PatchCheck, Permit, Plan, StoredCheck, UpstreamRequest
from smart_gateway.policy.wording import check_sentence, describe
from smart_gateway.policy.writes.bodies import denials_of_searches
from smart_gateway.policy.writes.changing import foresee_operations, refuse_operations, refuse_result
from smart_gateway.policy.writes.writing import answer_rule, own_conditions, refuse_body, refuse_parameters, stored_checks, wished_answer
from smart_gateway.request.limits import Limits
from smart_gateway.request.model import FhirRequest
from smart_gateway.scopes.permissions import Permission

_READING = frozenset({Verb.TEST, Verb.MOVE, Verb.COPY})
_PLACING = frozenset({Verb.ADD, Verb.REPLACE})
_TAKING = frozenset({Verb.MOVE, Verb.COPY})
_UNREAD = frozenset({XML_PATCH, FHIR_XML})  # an XML Patch, and a FHIRPath Patch in XML
_BROUGHT_IN = "The patch would bring the resource, which this token may not read, into what it may read."
_HIDDEN_FAULT = "The patch cannot be applied to the stored resource."


def plan_patch(request: FhirRequest, access: Access) -> Decision:
    """The stored resource and what the patch makes of it must both lie inside; nothing changes between check and write."""
    assert request.type is not None
    assert request.id is not None  # INVARIANT: criteria are planned by policy.writes.conditional
    type, id = request.type, request.id
    refuse_parameters(request)
    boundary, readable = access.boundary(type, Permission.UPDATE), access.boundary(type, Permission.READ)
    grounds = access.grounds(type, Permission.UPDATE)
    if not access.matcher.could_hold(boundary, type, id):
        return absent(access.policy, grounds)
    unjudged = boundary.is_everything and _takes_all(access, type)
    answer = answer_rule(access, type, id) if _reads_all(access, type) else AnswerToWrite(type, readable, id)
    conditions = own_conditions(request, boundary) if unjudged else ()
    plan = Plan(
        answer,
        UpstreamRequest("PATCH", (type, id), headers=(*wished_answer(request, answer), *conditions)),
        stored=None if unjudged else _stored(request, type, id, boundary),
        body=_body(request, PatchCheck(type, id, boundary, readable), access, unjudged=unjudged),
        checks=() if unjudged else _checks(type, id, boundary, readable),
    )
    return Permit(plan, grounds)


def _reads_all(access: Access, type: str) -> bool:
    """What carries other resources is read whole only by who may read all of them (semantics 7)."""
    return access.unlimited(Permission.READ) if type in CARRIERS else access.boundary(type, Permission.READ).is_everything


def _takes_all(access: Access, type: str) -> bool:
    """Whether nothing that is in such a resource, or comes into it, could be somebody else's."""
    return _reads_all(access, type) and (type not in CARRIERS or access.unlimited(Permission.UPDATE))


def judge_patch(
    patch: JsonPatch, stored: Mapping[str, Any] | None, check: PatchCheck, request: FhirRequest, access: Access, limits: Limits
) -> Deny | None:
    """The refusal of ``patch`` of the ``stored`` resource, which lies in ``check.boundary``; None where it may be carried out.

    ``stored`` is None where nothing had to be fetched, because update and read are bounded by nothing. Raises Unprocessable for what
    cannot be applied, RequestError for what would change type, id or version.
    """
    if stored is None:
        return _judge_alone(patch, check, access)
    legible = _is_legible(check.readable, stored, check.type, access)
    reading = _first_reading(patch)
    if reading is not None and not legible:
        return _unreadable(reading, check, request, access)
    refused = refuse_operations(patch, stored, check.type, access)
    if refused is not None:
        return refused
    result = _result(patch, stored, limits, legible=legible)
    _require_same(result, stored, check.type)
    return (
        refuse_body(result, BodyCheck(check.type, check.id, check.boundary), access)
        or refuse_result(stored, result, check.type, access)
        or _brought_in(result, stored, check, request, access)
    )


def foresee_patch(patch: JsonPatch, check: PatchCheck, request: FhirRequest, access: Access, *, fetched: bool) -> Deny | None:
    """The refusal that is certain whatever is stored: ``explain`` asks no server. ``fetched``: whether the gateway would ask."""
    if not fetched:
        return _judge_alone(patch, check, access)
    reading = _first_reading(patch)
    if reading is not None and check.readable.is_nothing:
        return _unreadable(reading, check, request, access)
    refused = foresee_operations(patch, check.type, access)
    if refused is None:
        _foresee_name(patch, check)
    return refused


def _stored(request: FhirRequest, type: str, id: str, boundary: Boundary) -> StoredCheck:
    if request.preferences.if_none_match is not None:
        raise RequestError("A patch takes If-Match, not If-None-Match.", reason="unknown-condition", expression="http.If-None-Match")
    return StoredCheck(type, id, boundary, request.preferences.if_match)


def _body(request: FhirRequest, check: PatchCheck, access: Access, *, unjudged: bool) -> BodyCheck | PatchCheck | None:
    """Only a JSON Patch can be judged. Where nothing has to be, a FHIRPath Patch is read for its type and for searches in the place of
    references; XML, which is not read, could hold such searches."""
    if unjudged and is_json_body(request.content_type):
        return BodyCheck("Parameters", None, everything())
    return None if unjudged and request.content_type in _UNREAD and access.unlimited(Permission.SEARCH) else check


def _checks(type: str, id: str, boundary: Boundary, readable: Boundary) -> tuple[str, ...]:
    made = f"what the patch makes of {type}/{id} {check_sentence(boundary)} and names nobody else's record"
    told = f"the operations test, move and copy need what is stored in what may be read: {describe(readable)}"
    return (*stored_checks(boundary, type, id), made, told)


def _first_reading(patch: JsonPatch) -> tuple[int, Operation] | None:
    return next(((index, operation) for index, operation in enumerate(patch.operations) if operation.verb in _READING), None)


def _unreadable(reading: tuple[int, Operation], check: PatchCheck, request: FhirRequest, access: Access) -> Deny:
    index, operation = reading
    text = f"The operation '{operation.verb}' reads the stored {check.type}, and the token grants no permission 'r' on it."
    return _needs_read(Denial("insufficient-scope", text, f"patch[{index}].op"), check.type, request, access)


def _needs_read(cause: Denial, type: str, request: FhirRequest, access: Access) -> Deny:
    missing = missing_scope(request, access, type, Permission.READ)
    return Deny(403, (cause,), missing, access.grounds(type, Permission.READ))


def _is_legible(boundary: Boundary, resource: Mapping[str, Any], type: str, access: Access) -> bool:
    """Whether ``resource`` is certainly in ``boundary``, a boundary of what may be read: by itself, or by the stricter rule for writes.

    A carrier of other resources, contained ones too, is legible only to who may read all.
    """
    if _carries(resource, type):
        return access.unlimited(Permission.READ)
    if access.matcher.admits(boundary, resource, type) is INSIDE:
        return True
    return not boundary.is_nothing and not access.matcher.objections_to_write(boundary, resource, type)


def _carries(resource: Mapping[str, Any], type: str) -> bool:
    contained = resource.get("contained")
    inner = contained if isinstance(contained, list) else []
    return type in CARRIERS or any(isinstance(one, Mapping) and one.get("resourceType") in CARRIERS for one in inner)


def _result(patch: JsonPatch, stored: Mapping[str, Any], limits: Limits, *, legible: bool) -> Mapping[str, Any]:
    try:
        result = apply_json_patch(stored, patch, max_depth=limits.depth, max_size=limits.body)
    except Unprocessable:
        if legible:
            raise
        raise Unprocessable(_HIDDEN_FAULT, reason="patch-failed", expression="patch") from None
    if not isinstance(result, dict):
        raise Unprocessable("What the patch makes of the resource is no resource.", reason="patch-failed", expression="patch")
    return result


def _require_same(result: Mapping[str, Any], stored: Mapping[str, Any], type: str) -> None:
    """A patch changes neither type nor id; the version is the server's to give, and may only be left out."""
    if result.get("resourceType") != stored["resourceType"]:
        raise _tampering("resourceType", type)
    if result.get("id") != stored["id"]:
        raise _tampering("id", type)
    meta = result.get("meta")
    if isinstance(meta, dict) and "versionId" in meta and meta["versionId"] != _version(stored):
        raise _tampering("meta.versionId", type)


def _version(stored: Mapping[str, Any]) -> object:
    meta = stored.get("meta")
    return meta.get("versionId") if isinstance(meta, dict) else None


def _judge_alone(patch: JsonPatch, check: PatchCheck, access: Access) -> Deny | None:
    """The judgement where nothing stored is needed: type and id stay, and nothing refers by a search that this token may not make."""
    _require_own_name(patch, check)
    found = denials_of_searches(_placed(patch), check.type, access)
    return Deny(403, found) if found else None


def _placed(patch: JsonPatch) -> Mapping[str, list[Any]]:
    """What the operations put into each element, below the names that it gets there.

    What is moved or copied to the place of a reference's text is not known, so it counts as a search of anything.
    """
    placed: dict[str, list[Any]] = {}
    for operation in patch.operations:
        value = operation.value if operation.verb in _PLACING else "?" if operation.verb in _TAKING else None
        for token in reversed(operation.path):
            value = {token: value}
        for name, inner in value.items() if isinstance(value, dict) else ():
            placed.setdefault(name, []).append(inner)
    return placed


def _require_own_name(patch: JsonPatch, check: PatchCheck) -> None:
    """The same without the stored resource: nothing is put in the place of type and id but what stands there."""
    for operation in patch.operations:
        if operation.verb is not Verb.TEST:
            for member, wanted in (("resourceType", check.type), ("id", check.id)):
                if not _leaves(operation, member, wanted):
                    raise _tampering(member, check.type)


def _foresee_name(patch: JsonPatch, check: PatchCheck) -> None:
    """What an operation puts in the place of type and id stays there, unless a later one puts back what was there."""
    changing = [operation for operation in patch.operations if operation.verb is not Verb.TEST]
    for member, wanted in (("resourceType", check.type), ("id", check.id)):
        last = next((o for o in reversed(changing) if not o.path or o.path[0] == member or o.source == (member,)), None)
        if last is not None and last.verb is not Verb.COPY and not _leaves(last, member, wanted):
            raise _tampering(member, check.type)


def _leaves(operation: Operation, member: str, wanted: str) -> bool:
    if not operation.path:
        return isinstance(operation.value, dict) and operation.value.get(member) == wanted
    if operation.verb is Verb.MOVE and operation.source == (member,):
        return False
    return operation.path[0] != member or (operation.path == (member,) and operation.value == wanted)


def _tampering(path: str, type: str) -> RequestError:
    reasons = {"resourceType": "type-mismatch", "id": "id-mismatch", "meta.versionId": "version-mismatch"}
    return RequestError(f"A patch cannot change {path}.", reason=reasons[path], expression=f"{type}.{path}")


def _brought_in(
    result: Mapping[str, Any], stored: Mapping[str, Any], check: PatchCheck, request: FhirRequest, access: Access
) -> Deny | None:
    """Unlike an update, a patch leaves what it does not name: changing a category must not make the rest readable."""
    seen = access.readable(check.type)
    if _is_legible(seen, stored, check.type, access) or access.matcher.admits(seen, result, check.type) is OUTSIDE:
        return None
    return _needs_read(Denial("insufficient-scope", _BROUGHT_IN), check.type, request, access)
