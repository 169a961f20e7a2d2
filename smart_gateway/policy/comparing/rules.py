"""What else another policy opens and closes, besides boundaries: how clients may come, what needs no token, what writes may do.

Whatever the two policies say differently and is not known here counts as opened: nobody has weighed it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from smart_gateway.policy.comparing.circumstances import asked_by
from smart_gateway.policy.comparing.differences import Difference, listed
from smart_gateway.policy.comparing.emergencies import compare_emergencies
from smart_gateway.policy.comparing.fields import compare_fields
from smart_gateway.policy.comparing.plain_scopes import compare_plain_scopes
from smart_gateway.policy.model import ClientRule, Policy

# Told by the boundaries, or without a say in what is open: how the upstream is asked, and which status a refusal has.
_TOLD = frozenset(
    (
        "clients actors users patients labels shared_types compartment_additions writable_server_types binary value_sets certifications "
        "foreign_patient_search absent_and_forbidden compartment_search conditions capabilities"
    ).split()
)
_WEIGHED = frozenset("public update_as_create certified_only operations search_parameters fields break_glass requests_per_minute".split())
_CLIENT_TOLD = frozenset("registered_scopes pin limit system_role intersect_registered issuers plain".split())
_CREATES = ("never", "uuid_only", "always")


def compare_rules(old: Policy, new: Policy) -> Iterator[Difference]:
    """Every difference that no boundary shows."""
    yield from _public(old, new)
    yield from _writes(old, new)
    yield from _certified(old, new)
    yield from _operations(old, new)
    yield from compare_plain_scopes(old, new)
    yield from compare_fields(old, new)
    yield from compare_emergencies(old.break_glass, new.break_glass)
    yield from _search_parameters(old, new)
    yield from _rate("requests_per_minute", old.requests_per_minute, new.requests_per_minute)
    if not asked_by(old, new).is_exhausted and (old.users, old.labels, old.fields) != (new.users, new.labels, new.fields):
        too_many = "more conditions than can be combined"
        yield Difference("users, labels and fields", too_many, "the same", opens=True, closes=True, unknown=True)
    for name in sorted({*(old.clients or {}), *(new.clients or {})}):
        before, after = _rule(name, old), _rule(name, new)
        if before is not None and after is not None:
            yield from _arrival(name, before, after)
    for field in fields(Policy):
        if field.compare and field.name not in _TOLD | _WEIGHED:
            yield from _unknown(field.name, getattr(old, field.name), getattr(new, field.name))


def _rule(name: str, policy: Policy) -> ClientRule | None:
    """The rule that a client of this name meets; without a section, one that asks nothing of how it comes."""
    if policy.clients is None:
        return ClientRule()
    return policy.clients.get(name) or policy.clients.get("*")


def _public(old: Policy, new: Policy) -> Iterator[Difference]:
    for one in dict.fromkeys((*old.public, *new.public)):
        was, is_now = one in old.public, one in new.public
        if was is not is_now:
            said = ("nobody", "everybody, without a token")
            yield Difference(f"public {one.interaction} {one.type}", said[was], said[is_now], opens=is_now, closes=was)


def _writes(old: Policy, new: Policy) -> Iterator[Difference]:
    one, other = _CREATES.index(old.update_as_create), _CREATES.index(new.update_as_create)
    if one != other:
        yield Difference("writes.update_as_create", old.update_as_create, new.update_as_create, opens=other > one, closes=other < one)


def _certified(old: Policy, new: Policy) -> Iterator[Difference]:
    if old.certified_only is not new.certified_only:
        said = ("any client", "only certified clients")
        was, is_now = said[old.certified_only], said[new.certified_only]
        yield Difference("udap.required", was, is_now, opens=old.certified_only, closes=new.certified_only)
    for name in sorted({*old.certifications, *new.certifications}):
        one, other = old.certifications.get(name), new.certifications.get(name)
        if one is None or other is None:
            opens, closes = (one is None) is new.certified_only, (one is None) is not new.certified_only
            yield Difference(f"udap certification of {name}", _present(one), _present(other), opens=opens, closes=closes)
        elif (one.since, one.until) != (other.since, other.until):
            opens, closes = other.since < one.since or other.until > one.until, other.since > one.since or other.until < one.until
            spans = (f"{one.since:.0f} to {one.until:.0f}", f"{other.since:.0f} to {other.until:.0f}")
            yield Difference(f"udap certification of {name}", *spans, opens=opens, closes=closes)


def _present(value: object) -> str:
    return "none" if value is None else "present"


def _arrival(name: str, old: ClientRule, new: ClientRule) -> Iterator[Difference]:
    """How a client may come: from where, by how old a token, and bound by what."""
    weighed = _CLIENT_TOLD | {"networks", "max_token_age", "sender_constraint", "groups", "requests_per_minute"}
    if old.networks != new.networks:
        wider, narrower = not _inside(new, old), not _inside(old, new)
        yield Difference(f"clients.{name}.networks", _networks(old), _networks(new), opens=wider, closes=narrower)
    if old.max_token_age != new.max_token_age:
        one, other = (float("inf") if age is None else age for age in (old.max_token_age, new.max_token_age))
        yield Difference(f"clients.{name}.max_token_age", f"{one:g} s", f"{other:g} s", opens=other > one, closes=other < one)
    if old.sender_constraint != new.sender_constraint:
        wider, narrower = not _stricter(new, old), not _stricter(old, new)
        yield Difference(f"clients.{name}.sender_constraint", _proofs(old), _proofs(new), opens=wider, closes=narrower)
    if old.groups != new.groups:
        wider, narrower = not _within_groups(new.groups, old.groups), not _within_groups(old.groups, new.groups)
        yield Difference(f"clients.{name}.groups", listed(old.groups), listed(new.groups), opens=wider, closes=narrower)
    yield from _rate(f"clients.{name}.requests_per_minute", old.requests_per_minute, new.requests_per_minute)
    for field in fields(ClientRule):
        if field.name not in weighed:
            yield from _unknown(f"clients.{name}.{field.name}", getattr(old, field.name), getattr(new, field.name))


def _inside(inner: ClientRule, outer: ClientRule) -> bool:
    """Whether every address that ``inner`` lets in, ``outer`` does."""
    if outer.networks is None or inner.networks is None:
        return outer.networks is None
    return all(
        any(one.version == other.version and one.subnet_of(other) for other in outer.networks)  # type: ignore[arg-type]
        for one in inner.networks
    )


def _networks(rule: ClientRule) -> str:
    return "anywhere" if rule.networks is None else ", ".join(map(str, rule.networks))


def _stricter(inner: ClientRule, outer: ClientRule) -> bool:
    if outer.sender_constraint is None or inner.sender_constraint is None:
        return outer.sender_constraint is None
    return inner.sender_constraint <= outer.sender_constraint


def _proofs(rule: ClientRule) -> str:
    return "unbound too" if rule.sender_constraint is None else " or ".join(sorted(rule.sender_constraint))


def _within_groups(inner: frozenset[str] | None, outer: frozenset[str] | None) -> bool:
    return outer is None or (inner is not None and inner <= outer)


def _rate(rule: str, old: int | None, new: int | None) -> Iterator[Difference]:
    if old != new:
        one, other = (float("inf") if rate is None else rate for rate in (old, new))
        yield Difference(rule, f"{one:g}", f"{other:g}", opens=other > one, closes=other < one)


def _operations(old: Policy, new: Policy) -> Iterator[Difference]:
    """One that is opened otherwise is closed as it was and opened as it is."""
    for one in (one for one in old.operations if one not in new.operations):
        yield Difference(f"operations.{one.name}", "opened as OLD says", "not as OLD says", opens=False, closes=True)
    for one in (one for one in new.operations if one not in old.operations):
        yield Difference(f"operations.{one.name}", "not as NEW says", "opened as NEW says", opens=True, closes=False)


def _search_parameters(old: Policy, new: Policy) -> Iterator[Difference]:
    for entry in sorted({*old.search_parameters, *new.search_parameters}):
        had, has = old.search_parameters.get(entry, frozenset()), new.search_parameters.get(entry, frozenset())
        for key in sorted(had ^ has):
            said = ("judged as FHIR defines it, or refused", "sent as it came")
            yield Difference(f"search.parameters.{entry} {key}", said[key in had], said[key in has], opens=key in has, closes=key in had)


def _unknown(rule: str, before: object, after: object) -> Iterator[Difference]:
    if before != after:
        yield Difference(rule, _short(before), _short(after), opens=True, closes=True, unknown=True)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
