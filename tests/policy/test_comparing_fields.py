"""What a change of rules on elements opens: by hand, and held to brute force over resources and changes of a small world."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import product
from typing import Any

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from smart_gateway.fhir.fields import parse_field, without
from smart_gateway.fhir.interactions import Interaction
from smart_gateway.policy.comparing.circumstances import asked_by
from smart_gateway.policy.comparing.differences import Difference
from smart_gateway.policy.comparing.fields import compare_fields
from smart_gateway.policy.comparing.rules import compare_rules
from smart_gateway.policy.comparing.token_kinds import OTHERS, Who, principal_of
from smart_gateway.policy.model import ClientRule, PublicInteraction
from smart_gateway.policy.rules.fielding import READS, FieldBounds, FieldRule, field_bounds
from smart_gateway.policy.rules.whom import EVERYBODY, Whom
from smart_gateway.policy.writes import changing
from smart_gateway.scopes.permissions import Permission
from tests.support.deciding import policy

QUICK = (Phase.explicit, Phase.generate)
UPDATE, CREATE = Permission.UPDATE, Permission.CREATE
SYSTEM = "urn:l"
PATHS = [
    "birthDate", "name", "name.family", "name.use", "name.where(use='official')", "name.where(use='official').family", "identifier",
    "identifier.system", "identifier.value", "identifier.where(system='u')", "identifier.where(system='u').value", "multipleBirth[x]",
    "multipleBirthInteger",
]  # fmt: skip
NAMES = (
    [],
    [{"use": "official", "family": "A", "given": ["a"]}],
    [{"use": "official", "family": "B", "given": ["a"]}],
    [{"use": "old", "family": "A", "given": ["a"]}, {"use": "official", "family": "C", "given": ["c"]}],
)
IDENTIFIERS = (
    [],
    [{"use": "1", "system": "u", "value": "2"}],
    [{"use": "1", "system": "u", "value": "3"}],
    [{"use": "1", "system": "v", "value": "2"}],
    [{"use": "1", "system": "v", "value": "2"}, {"use": "4", "system": "u", "value": "5"}],
)
BIRTHS: tuple[dict[str, Any], ...] = ({"birthDate": "1970"}, {"multipleBirthInteger": 1}, {"multipleBirthBoolean": True})


def world(labels: tuple[tuple[str, ...], ...]) -> Iterator[Mapping[str, Any]]:
    for held, names, identifiers, birth in product(labels, NAMES, IDENTIFIERS, BIRTHS):
        security = {"meta": {"security": [{"system": SYSTEM, "code": code} for code in held]}} if held else {}
        lists = {name: value for name, value in (("name", names), ("identifier", identifiers)) if value}
        yield {"resourceType": "Patient", "id": "p", **security, "text": {"div": "x"}, **lists, **birth}


SEEN = tuple(world(((), ("A",), ("B",), ("A", "B"))))
WRITTEN = tuple(one for one in world(((),)) if "birthDate" in one or not ("name" in one or "identifier" in one))
PAIRS = tuple(product(({}, *WRITTEN), WRITTEN))


def leaves(value: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(value, dict):
        for name, below in value.items():
            yield from leaves(below, (*above, name))
    elif isinstance(value, list):
        for below in value:
            yield from leaves(below, above)
    else:
        yield above, str(value)


@cache
def shown(rules: tuple[FieldRule, ...]) -> frozenset[tuple[int, tuple[tuple[str, ...], str]]]:
    """Every element of every resource that these rules leave in answers."""
    bounds = FieldBounds(rules)
    texts = [without(json.dumps(one).encode(), bounds.hidden_in(one, "Patient")) for one in SEEN]
    return frozenset((number, leaf) for number, text in enumerate(texts) for leaf in leaves(json.loads(text)))


@cache
def accepted(rules: tuple[FieldRule, ...]) -> frozenset[int]:
    """Every change that these rules let an update make."""
    return frozenset(number for number, (stored, new) in enumerate(PAIRS) if not changing._changed(stored, new, rules))


paths = st.lists(st.sampled_from(PATHS), min_size=1, max_size=3, unique=True).map(lambda texts: tuple(map(parse_field, texts)))
types = st.sampled_from(["Patient", "Patient", "*", "Observation"])
labelled = st.sampled_from([None, None, (f"{SYSTEM}|A",), (f"{SYSTEM}|B",), (f"{SYSTEM}|A", f"{SYSTEM}|B")])
whoms = st.sampled_from([EVERYBODY, EVERYBODY, Whom(clients=frozenset({"app"})), Whom(kinds=frozenset({"none", "Patient"}))])
hiding = st.builds(
    lambda type, hide, when, whom: FieldRule(type, READS, hide=hide, labelled=when, whom=whom), types, paths, labelled, whoms
)
only = st.builds(lambda type, only, whom: FieldRule(type, UPDATE, only=only, whom=whom), types, st.one_of(st.just(()), paths), whoms)
keeping = st.builds(lambda type, keep, whom: FieldRule(type, UPDATE, keep=keep, whom=whom), types, paths, whoms)
writing = st.one_of(only, keeping)
rules = st.lists(st.one_of(hiding, writing), max_size=3).map(tuple)


def opens_by_force(old: tuple[FieldRule, ...], new: tuple[FieldRule, ...]) -> tuple[bool, bool]:
    """Whether anything is shown, and any change let through, to anybody, that was not."""
    one, other = policy(fields=old), policy(fields=new)
    asked, sees, writes = asked_by(one, other), False, False
    for client, kind in product(("app", OTHERS), ("Practitioner", "Patient", "none")):
        principal = principal_of(Who(client, kind, "none"), one, asked, "*")
        before, after = field_bounds(old, principal), field_bounds(new, principal)
        sees |= bool(shown(after.hides_of("Patient")) - shown(before.hides_of("Patient")))
        writes |= bool(accepted(after.writing("Patient", UPDATE)) - accepted(before.writing("Patient", UPDATE)))
    return sees, writes


def opening(old: tuple[FieldRule, ...], new: tuple[FieldRule, ...]) -> list[Difference]:
    return [one for one in compare_fields(policy(fields=old), policy(fields=new)) if one.opens]


@pytest.mark.generated
@given(old=rules, new=rules)
@settings(max_examples=80, deadline=None, phases=QUICK)
def test_what_opens_by_brute_force_is_said(old: tuple[FieldRule, ...], new: tuple[FieldRule, ...]) -> None:
    sees, writes = opens_by_force(old, new)
    said = opening(old, new)
    assert not sees or any("hidden" in one.rule for one in said)
    assert not writes or any("updated" in one.rule for one in said)


@given(old=st.lists(hiding, max_size=3).map(tuple), new=st.lists(hiding, max_size=3).map(tuple))
@example(old=(FieldRule("*", READS, hide=(parse_field("name"),)),), new=(FieldRule("Patient", READS, hide=(parse_field("name"),)),))
@settings(max_examples=80, deadline=None, phases=QUICK)
def test_of_what_is_hidden_nothing_else_is_said(old: tuple[FieldRule, ...], new: tuple[FieldRule, ...]) -> None:
    mine = [tuple(rule for rule in rules if rule.type != "Observation") for rules in (old, new)]
    apart = any(rule.type == "Patient" for rules in mine for rule in rules)  # then what is said of other types is not of Patient
    said = [one for one in opening(mine[0], mine[1]) if not (apart and "every other type" in one.rule)]
    assert bool(said) is opens_by_force(mine[0], mine[1])[0]


@given(old=rules, more=st.one_of(hiding, writing))
@settings(max_examples=60, deadline=None, phases=QUICK)
def test_a_further_rule_opens_nothing(old: tuple[FieldRule, ...], more: FieldRule) -> None:
    assert not opening(old, (*old, more))


def fields(*texts: str) -> tuple[Any, ...]:
    return tuple(map(parse_field, texts))


MINE, OTHER = "identifier.where(system='u')", "identifier.where(system='v')"


@pytest.mark.parametrize(
    ("before", "after", "opens", "closes"),
    [
        ({"only": [MINE]}, {"only": [MINE, OTHER]}, True, False),
        ({"only": [MINE]}, {"only": ["identifier"]}, True, False),
        ({"only": ["identifier"]}, {"only": [OTHER]}, False, True),
        ({"only": [MINE]}, {"only": [OTHER]}, True, True),
        ({"only": [MINE]}, {"only": []}, False, True),
        ({"only": ["telecom"]}, {"keep": ["name"]}, True, False),
        ({"keep": ["name"]}, {"only": ["telecom"]}, False, True),
        ({"keep": ["name.family"]}, {"keep": ["name"]}, False, True),
        ({"keep": ["deceasedBoolean"]}, {"keep": ["deceased[x]"]}, False, True),
        ({"keep": [MINE]}, {"only": ["identifier.system"]}, True, True),  # another system, and it is not among those that stay
    ],
)
def test_what_writes_may_change(before: dict[str, list[str]], after: dict[str, list[str]], opens: bool, closes: bool) -> None:
    one, other = (
        FieldRule("Patient", UPDATE, **{name: fields(*texts) for name, texts in rule.items()})  # type: ignore[arg-type]
        for rule in (before, after)
    )
    [found] = compare_fields(policy(fields=(one,)), policy(fields=(other,)))
    assert (found.rule, found.opens, found.closes) == ("fields of Patient when updated", opens, closes)


def test_a_path_that_leads_to_a_condition_is_no_narrower() -> None:
    """Without the system, an item is on neither side of the condition: what was let through may be refused, and the reverse."""
    narrow = FieldRule("Patient", UPDATE, only=fields("identifier.system"))
    wide = FieldRule("Patient", UPDATE, only=fields("identifier.system", MINE))
    assert opening((wide,), (narrow,))


def test_creates_are_told_apart_and_types_by_name() -> None:
    rule = FieldRule("Patient", CREATE, only=fields("name"))
    assert [one.rule for one in compare_fields(policy(fields=(rule,)), policy())] == ["fields of Patient when created"]
    every = FieldRule("*", UPDATE, keep=fields("meta.security"))
    assert [one.rule for one in compare_fields(policy(fields=(every,)), policy())] == ["fields of every other type when updated"]


def test_it_is_said_for_whom() -> None:
    rule = FieldRule("Patient", READS, hide=fields("birthDate"), whom=Whom(frozenset({"app"}), frozenset({"Practitioner", "none"})))
    assert list(compare_fields(policy(fields=(rule,)), policy())) == [
        Difference("fields hidden of Patient for clients app; users Practitioner, none", "birthDate", "none", opens=True, closes=False)
    ]


def test_claims_are_tried() -> None:
    rule = FieldRule("Patient", READS, hide=fields("birthDate"), whom=Whom(claims=(("unit", frozenset({"x"})),)))
    [found] = compare_fields(policy(fields=(rule,)), policy())
    assert found.rule.endswith("; having unit=x")


def test_clients_that_do_not_come_in_are_left_out() -> None:
    rule = FieldRule("Patient", READS, hide=fields("birthDate"), whom=Whom(clients=frozenset({"stranger"})))
    assert not list(compare_fields(policy(fields=(rule,), clients={"app": ClientRule()}), policy(clients={"app": ClientRule()})))


def test_requests_without_a_token_are_told() -> None:
    public = (PublicInteraction(Interaction.READ, "Patient"),)
    rule = FieldRule("Patient", READS, hide=fields("birthDate"), whom=Whom(kinds=frozenset({"none"})))
    [found] = compare_fields(policy(fields=(rule,), clients={}, public=public), policy(clients={}, public=public))
    assert found.opens


def test_they_are_weighed() -> None:
    rule = FieldRule("Patient", READS, hide=fields("birthDate"))
    [found] = compare_rules(policy(), policy(fields=(rule,)))
    assert (found.rule, found.opens, found.closes, found.unknown) == ("fields hidden of Patient", False, True, False)
