"""What a write may change of a resource, element by element: the stored and the new one are compared. Spec: semantics 9."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from smart_gateway.boundary.matching import INSIDE
from smart_gateway.fhir.bundles import resources_in
from smart_gateway.fhir.fields import FieldPath, without
from smart_gateway.fhir.json_patch import JsonPatch, Operation
from smart_gateway.policy.access import Access
from smart_gateway.policy.causes import Denial
from smart_gateway.policy.plan import BodyCheck, Deny
from smart_gateway.policy.rules.fielding import FieldBounds, FieldRule
from smart_gateway.scopes.permissions import Permission

_LABELS = ["meta.security"]
_SERVERS = frozenset({"versionId", "lastUpdated"})  # the server gives these anew
_LOCKED = "The policy does not let this client or user write this element."
_UNSEEN = "A resource of which elements are hidden is not replaced as a whole: patch the elements that are seen."
_UNREAD = "The policy lets some elements be written only, and this token may not read the others to leave them: patch those."


def refuse_changes(stored: Mapping[str, Any] | None, new: Mapping[str, Any], check: BodyCheck, access: Access) -> Deny | None:
    """The refusal of an update from ``stored`` to ``new``, or of a create (``stored`` None); None where every rule leaves it.

    Whether a guess is equal to what is stored would tell what that is: so nobody replaces what they may not read.
    """
    restrictions, type = access.restrictions_for(Permission.UPDATE), check.type
    fields = restrictions.fields
    if stored is None:
        updating = fields.writing(type, Permission.UPDATE) if check.id is not None else ()
        return _refuse(_changed({}, new, (*fields.writing(type, Permission.CREATE), *updating)), type)
    if fields.hides_of(type) or _holding_hidden(stored, fields):
        return _unseen(type)
    rules = fields.writing(type, Permission.UPDATE)
    if rules and not _reads(stored, type, access):
        return Deny(403, (Denial("element-not-writable", _UNREAD, type),))
    return _refuse([*_changed(stored, new, rules), *(_LABELS if restrictions.labels.shows(stored, new, type) else [])], type)


def refuse_replacing(type: str, access: Access) -> Deny | None:
    """The refusal of an update of what is stored, where elements of the type are hidden: it would lose them, whatever they are."""
    return _unseen(type) if access.restrictions_for(Permission.UPDATE).fields.hides_of(type) else None


def _unseen(type: str) -> Deny:
    return Deny(403, (Denial("hidden-elements", _UNSEEN, type),))


def foresee_operations(patch: JsonPatch, type: str, access: Access) -> Deny | None:
    """The refusal of a patch that is certain whatever is stored (``explain`` asks no server): it names what is hidden, or more than may
    be written of what this token may not read."""
    unseen = access.restrictions_for(Permission.UPDATE).fields.hidden(type) or access.boundary(type, Permission.READ).is_nothing
    return refuse_operations(patch, {}, type, access) if unseen else None


def refuse_operations(patch: JsonPatch, stored: Mapping[str, Any], type: str, access: Access) -> Deny | None:
    """The refusal of a patch by what its operations name, before it is applied: whether it can be would tell of what is not seen."""
    fields = access.restrictions_for(Permission.UPDATE).fields
    hidden, rules = fields.hidden(type), fields.writing(type, Permission.UPDATE)
    named = [_members(pointer) for pointer in _all_pointers(patch)]
    inside = _holding_hidden(stored, fields)
    met = [names for names in named if any(path.meets_names(names) for path in hidden) or (inside and (not names or names[0] in inside))]
    met += [_members(pointer) for pointer in _all_pointers(patch) if any(_counts_into(pointer, path) for path in hidden)]
    if hidden or (rules and not _reads(stored, type, access)):
        met += [names for names in named if not all(rule.lets_write(names) for rule in rules)]
    return _refuse([names[0] if names else "" for names in met], type)


def refuse_result(stored: Mapping[str, Any], result: Mapping[str, Any], type: str, access: Access) -> Deny | None:
    """The refusal of a patch that makes ``result`` of ``stored``; None where every rule leaves it."""
    restrictions = access.restrictions_for(Permission.UPDATE)
    fields = restrictions.fields
    # What is hidden by a label would show without it.
    hiding = dict.fromkeys(rule for held in {type, *_types_in(stored)} for rule in fields.hides_of(held))
    shown = any(rule.hides_in(stored) and not rule.hides_in(result) for rule in hiding) or restrictions.labels.shows(stored, result, type)
    return _refuse([*_changed(stored, result, fields.writing(type, Permission.UPDATE)), *(_LABELS if shown else [])], type)


def _holding_hidden(stored: Mapping[str, Any], fields: FieldBounds) -> frozenset[str]:
    """The top-level members with resources inside, contained or carried, of a type of which elements are hidden, and what tells of those
    in words."""
    if not fields.hides:
        return frozenset()
    found = frozenset(name for name, value in stored.items() if any(fields.hides_of(type) for type in _types_in(value)))
    return found | {"text"} if found else found


def _types_in(value: Any) -> frozenset[str]:
    """The types of all resources in ``value``, however deep."""
    return frozenset(one["resourceType"] for one in resources_in(value) if isinstance(one["resourceType"], str))


def _reads(stored: Mapping[str, Any], type: str, access: Access) -> bool:
    return access.matcher.admits(access.boundary(type, Permission.READ), stored, type) is INSIDE


def _refuse(members: list[str], type: str) -> Deny | None:
    if not members:
        return None
    places = dict.fromkeys(f"{type}.{member}" if member else type for member in members)
    return Deny(403, tuple(Denial("element-not-writable", _LOCKED, place) for place in places))


def _changed(stored: Mapping[str, Any], new: Mapping[str, Any], rules: tuple[FieldRule, ...]) -> list[str]:
    """The top-level members in which ``new`` differs where a rule does not let it."""
    if not rules:
        return []
    old, made = _own(stored), _own(new)
    found: dict[str, None] = {}
    for rule in rules:
        if rule.only is not None:
            found |= dict.fromkeys(_differing(_less(old, rule.certain), _less(made, rule.certain)))
        if rule.keep:
            kept = dict.fromkeys(_differing(old, made)) if _differs_in(old, made, rule.keep) else {}
            found |= {member: None for member in kept if any(path.steps[0].matches(member) for path in rule.keep)}
    return [member for member in found if member not in {"resourceType", "id"}]


def _own(resource: Mapping[str, Any]) -> dict[str, Any]:
    """What a client says of a resource: without what the server says of each version; the source only where the client does."""
    meta = resource.get("meta")
    if not isinstance(meta, Mapping):
        return dict(resource)
    kept = {name: value for name, value in meta.items() if name not in _SERVERS and name != "source"}
    rest = {name: value for name, value in resource.items() if name != "meta"}
    return {**rest, "meta": kept} if kept else rest


def _less(resource: dict[str, Any], paths: tuple[FieldPath, ...]) -> dict[str, Any]:
    less: dict[str, Any] = json.loads(without(_encoded(resource), paths)) if paths else resource
    return less


def _differs_in(old: dict[str, Any], new: dict[str, Any], paths: tuple[FieldPath, ...]) -> bool:
    """Whether what ``paths`` lead to is another in ``new``: where it is taken out of both, they differ in less."""
    return any(list(_at(old, path)) != list(_at(new, path)) for path in paths)


def _at(resource: dict[str, Any], path: FieldPath) -> Iterator[tuple[str, str]]:
    """Each value that ``path`` leads to, with the name of its member: ``valueCode`` is not ``valueString``."""
    values: list[tuple[str, Any]] = [("", resource)]
    for step in path.steps:
        below = [(name, value[name]) for _, value in values if isinstance(value, dict) for name in sorted(value) if step.matches(name)]
        values = [(name, item) for name, value in below for item in (value if isinstance(value, list) else [value])]
        if step.where is not None:
            member, text = step.where
            values = [(name, value) for name, value in values if isinstance(value, dict) and value.get(member) == text]
    return ((name, _encoded(value).decode()) for name, value in values)


def _differing(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """The members that are not the same; as JSON, for to Python ``true`` is 1."""
    return sorted(name for name in old.keys() | new.keys() if _text(old, name) != _text(new, name))


def _text(resource: dict[str, Any], name: str) -> str | None:
    return _encoded(resource[name]).decode() if name in resource else None


def _encoded(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _all_pointers(patch: JsonPatch) -> list[tuple[str, ...]]:
    """The ways to what each operation reads or changes."""
    return [pointer for operation in patch.operations for pointer in _pointers(operation)]


def _pointers(operation: Operation) -> list[tuple[str, ...]]:
    return [operation.path] if operation.source is None else [operation.path, operation.source]


def _counts_into(pointer: tuple[str, ...], hidden: FieldPath) -> bool:
    """Whether ``pointer`` counts items of an array that ``hidden`` leads into. An item of which nothing else is set is not seen: whoever
    counts would learn of it, or meet another item than they mean."""
    before = next((place for place, member in enumerate(pointer) if member.isdigit()), 0)
    return 0 < before < len(hidden.steps) and all(step.matches(name) for step, name in zip(hidden.steps, pointer[:before], strict=False))


def _members(pointer: tuple[str, ...]) -> list[str]:
    return [member for member in pointer if not member.isdigit() and member != "-"]
