"""Policies and who asks under them, made at random from a seed: every kind of rule that there is, in small worlds.

A world is the fields of a ``Policy`` and of a ``Principal``; ``tests.properties.changes`` takes something away from it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import Any

from smart_gateway.boundary.labels import CONFIDENTIALITY, LADDER, LabelLimit
from smart_gateway.fhir.fields import parse_field
from smart_gateway.fhir.interactions import Interaction
from smart_gateway.fhir.references import Reference
from smart_gateway.policy.emergencies import BreakGlass, Lift
from smart_gateway.policy.model import (
    DEFAULT_SHARED_TYPES,
    DEFAULT_USERS,
    ActorRule,
    AnyOf,
    Certification,
    ClientRule,
    ConditionalRule,
    OpenedOperation,
    OperationAnswer,
    PlainScopes,
    Policy,
    PublicInteraction,
    UserBound,
    UserRule,
    When,
)
from smart_gateway.policy.rules.fielding import FieldRule
from smart_gateway.policy.rules.labelling import ALL, LabelRule, Raise
from smart_gateway.policy.rules.whom import Whom
from smart_gateway.principal import Actor, Ceiling, PermittedRegion, Principal
from smart_gateway.scopes.permissions import Permission
from smart_gateway.scopes.reading import read_scopes
from smart_gateway.scopes.scope import ResourceScope
from tests.properties import generating
from tests.support.deciding import policy, scopes

TYPES = (*generating.TYPES, "Group", "Binary", "Subscription", "Location")
PLAIN = ("__glass", "__raise", "__open")
KINDS = ("Practitioner", "Patient", "Person", "RelatedPerson", "none")
ISSUER = "https://idp.example.org"
OWN = "http://labels.example"
FORBIDDEN = (f"{OWN}|SUD", f"{OWN}|", "HIV")
ELEMENTS = ("status", "subject", "code", "category", "id")
FILLED = ("user/Observation.rs?status=${claim.status}", "user/*.rs?_id=${claim.list}", "user/Condition.rs?subject=Patient/${patient}")
COMPARTMENTS = ("Patient/${claim.list}", "Patient/a", "Practitioner/${fhir_user.id}", "Encounter/${claim.org}")
OPERATION = "$sum"
PUBLIC = (Interaction.READ, Interaction.SEARCH_TYPE, Interaction.CREATE)
NOW = 1_000_000.0
FAR = "192.0.2.1"

Choices = dict[str, Any]


@dataclass(frozen=True, slots=True)
class World:
    """Who asks, and the fields of the policy under which."""

    choices: Choices
    principal: Principal

    @property
    def policy(self) -> Policy:
        return policy(**self.choices)

    def with_policy(self, **choices: Any) -> World:
        return replace(self, choices={**self.choices, **choices})

    def who(self, **changed: Any) -> World:
        return replace(self, principal=replace(self.principal, **changed))

    @property
    def client(self) -> tuple[str, ClientRule] | None:
        """The section of the policy that is for the client."""
        clients = self.choices.get("clients") or {}
        name = self.principal.client_id if self.principal.client_id in clients else "*"
        return (name, clients[name]) if name in clients else None

    def with_client(self, rule: ClientRule) -> World:
        assert self.client is not None
        return self.with_policy(clients={**self.choices["clients"], self.client[0]: rule})


def world(rng: random.Random, about: str | None = None) -> World:
    """A world in which each section of the policy is there or is not; few at once in some, so that much is open.

    The section ``about`` is there, or the type matters: it stands in the token.
    """
    density = rng.choice((0.1, 0.3, 0.8))
    choices: Choices = {"operations": (_operation(rng),), "search_parameters": {"*": frozenset({"ward"})}, **_others(rng)}
    for name, section in SECTIONS.items():
        if name == about or rng.random() < density:
            choices |= section(rng)
    return World(choices, who(rng, anonymous=about == "public"))


def who(rng: random.Random, *, anonymous: bool = False) -> Principal:
    """Who asks, by a token that mostly says much."""
    kind = rng.choice((*KINDS, "Practitioner", "Practitioner"))
    named = {"Patient": rng.choice(generating.IDS), "none": None}.get(kind, "p")
    texts = [_token_scope(rng) for _ in range(rng.choice((2, 3, 4)))] + [text for text in PLAIN if rng.random() < 0.5]
    if anonymous:
        return Principal("", scopes=read_scopes(rng.choice(("", texts[0])), replacement=None, v1_write="cud"), anonymous=True)
    patient = rng.choice((*generating.IDS, None))
    return Principal(
        ISSUER,
        subject="u",
        client_id=rng.choice(("app", "app", "app", "other", None)),
        scopes=read_scopes(" ".join(texts), replacement=None, v1_write="cud"),
        patient=patient,
        fhir_user=Reference(kind, named) if named is not None else None,
        related_patient=rng.choice((None, "a")),
        issued_at=rng.choice((None, NOW - 10, NOW - 10, NOW - 1000)),
        claims=_claims(rng),
        actors=(Actor("svc", rng.choice((None, "agent"))),) if rng.random() < 0.2 else (),
        ceilings=(ceiling(rng),) if rng.random() < 0.1 else (),
        permitted=(PermittedRegion("r", "view", _one(rng), patient, "form"),) if rng.random() < 0.05 else None,
    )


def ceiling(rng: random.Random) -> Ceiling:
    return Ceiling("issuer", listed(rng), by_context=rng.random() < 0.5, plain=_some(rng, PLAIN))


def listed(rng: random.Random, least: int = 0) -> tuple[ResourceScope, ...]:
    """A list of scopes as a policy has it; often wide enough to leave something."""
    texts = [_rule_scope(rng) for _ in range(rng.randint(least, 3))]
    return scopes(*(["user/*.cruds", "patient/*.cruds", "system/*.cruds"] if rng.random() < 0.3 else texts))


def client_rule(rng: random.Random) -> ClientRule:
    def maybe(value: Any, share: float = 0.15) -> Any:
        return value if rng.random() < share else None

    return ClientRule(
        registered_scopes=maybe(listed(rng), 0.4),
        pin=maybe(listed(rng)),
        limit=maybe(listed(rng), 0.3),
        system_role=rng.random() < 0.7,
        intersect_registered=rng.random() < 0.2,
        issuers=maybe(frozenset({ISSUER})),
        networks=maybe((ip_network("10.0.0.0/8"),)),
        max_token_age=maybe(600.0),
        sender_constraint=maybe(frozenset({"dpop"})),
        groups=maybe(_some(rng, generating.IDS)),
        plain=PlainScopes(_some(rng, PLAIN), _some(rng, PLAIN), _some(rng, PLAIN)),
    )


def conditional(rng: random.Random) -> ConditionalRule:
    return ConditionalRule(when(rng), user_rule(rng))


def when(rng: random.Random) -> When:
    kinds = frozenset(rng.sample(KINDS, 3)) if rng.random() < 0.4 else None
    return When(kinds, _asked(rng))


def user_rule(rng: random.Random) -> UserRule:
    kind = rng.random()
    if kind < 0.25:
        filled = (
            "user/Observation.rs?status=${claim.status}",
            "user/*.rs?_id=${claim.list}",
            "user/Condition.rs?subject=Patient/${patient}",
        )
        return UserRule(scopes=(*listed(rng), *scopes(*rng.sample(filled, rng.randint(0, 2)))))
    if kind < 0.40:
        return UserRule(compartment=rng.choice(COMPARTMENTS))
    if kind < 0.50:
        return UserRule(patients="list")
    return UserRule(rng.choice((*UserBound, UserBound.EVERYTHING, UserBound.EVERYTHING, UserBound.EVERYTHING)))


def label_rule(rng: random.Random) -> LabelRule:
    raised = tuple(Raise(text, rng.choice((None, *LADDER)), _codes(rng)) for text in PLAIN if rng.random() < 0.3)
    types = frozenset(rng.sample(TYPES, 6)) if rng.random() < 0.3 else None
    permissions = ALL if rng.random() < 0.7 else Permission.READ | Permission.SEARCH
    return LabelRule(label_limit(rng), whom(rng), types, permissions, raised)


def label_limit(rng: random.Random) -> LabelLimit:
    required = (f"{OWN}|OK",) if rng.random() < 0.15 else ()
    return LabelLimit(rng.choice(LADDER), rng.choice(LADDER), _codes(rng), required)


def field_rule(rng: random.Random) -> FieldRule:
    def paths() -> tuple[Any, ...]:
        return tuple(parse_field(text) for text in rng.sample(ELEMENTS[:-1], rng.randint(1, 2)))

    type, labelled = rng.choice(("*", *generating.TYPES)), (f"{OWN}|SUD",) if rng.random() < 0.3 else None
    if rng.random() < 0.5:
        return FieldRule(type, Permission.READ | Permission.SEARCH, hide=paths(), labelled=labelled, whom=whom(rng))
    only = paths() if rng.random() < 0.5 else None
    return FieldRule(type, Permission.CREATE | Permission.UPDATE, only=only, keep=() if only is not None else paths(), whom=whom(rng))


def whom(rng: random.Random) -> Whom:
    clients = frozenset({"app"}) if rng.random() < 0.2 else None
    kinds = frozenset(rng.sample(KINDS, 3)) if rng.random() < 0.2 else None
    return Whom(clients, kinds, _asked(rng))


def resources(rng: random.Random, about: str | None = None) -> list[dict[str, Any]]:
    """Some resources of one type: of ``about``, where that is one."""
    type = about if about in TYPES else rng.choice(TYPES)
    return [_resource(rng, type) for _ in range(3)]


def _resource(rng: random.Random, type: str) -> dict[str, Any]:
    """A resource of these worlds, with labels or without."""
    made = {"resourceType": type, "id": rng.choice(generating.IDS)} if type not in generating.TYPES else generating.resource(rng, type)
    if rng.random() < 0.5:
        made["meta"] = {"security": [_label(rng) for _ in range(rng.choice((1, 2)))]}
    if made["resourceType"] == "Binary" and rng.random() < 0.7:
        made["securityContext"] = generating.reference(rng)
    return made


def _label(rng: random.Random) -> Any:
    confidential = {"system": CONFIDENTIALITY, "code": rng.choice((*LADDER, "n", "?"))}
    return rng.choice((confidential, confidential, {"system": OWN, "code": "SUD"}, {"system": OWN, "code": "OK"}, {"code": "HIV"}, "odd"))


def _codes(rng: random.Random) -> tuple[str, ...]:
    return tuple(sorted(_some(rng, FORBIDDEN))) if rng.random() < 0.3 else ()


def _claims(rng: random.Random) -> dict[str, Any]:
    claims: dict[str, Any] = {
        "org": rng.choice(("north", "south", ["north", "south"], {"north": True}, "", 7)),
        "list": rng.choice((["a"], ["a", "b"], ["Patient/c"], "b", [], ["a", "x,y"], None, ["Practitioner/a"])),
        "status": rng.choice(("final", "draft", "final,draft", ["final", "draft"], "final|draft", "\\", True)),
    }
    return {name: value for name, value in claims.items() if rng.random() < 0.8}


def _asked(rng: random.Random) -> tuple[tuple[str, frozenset[str]], ...]:
    return (("org", frozenset({rng.choice(("north", "south"))})),) if rng.random() < 0.3 else ()


def _some(rng: random.Random, of: tuple[str, ...]) -> frozenset[str]:
    return frozenset(one for one in of if rng.random() < 0.6)


def _token_scope(rng: random.Random) -> str:
    wide = (
        "user/*.cruds",
        "patient/*.cruds",
        "system/*.cruds",
        "user/*.rs",
        "user/Group.rs",
        "patient/Binary.r",
        "user/Subscription.cruds",
    )
    return rng.choice(wide) if rng.random() < 0.6 else generating.scope(rng)


def _rule_scope(rng: random.Random) -> str:
    return rng.choice(("user/*.rs", "patient/*.cruds", "user/Observation.cruds")) if rng.random() < 0.3 else generating.scope(rng)


def _one(rng: random.Random) -> ResourceScope:
    return scopes(f"patient/{rng.choice(('*', 'Observation'))}.rs")[0]


def _clients(rng: random.Random) -> Choices:
    return {"clients": {name: client_rule(rng) for name in ("app", "*") if rng.random() < 0.85}}


def _users(rng: random.Random) -> Choices:
    if rng.random() < 0.3:
        return {"users": {**DEFAULT_USERS, **{kind: user_rule(rng) for kind in rng.sample(KINDS, 3)}}}
    items: list[ConditionalRule | AnyOf] = [ConditionalRule(When(), UserRule(UserBound.EVERYTHING))] if rng.random() < 0.4 else []
    for _ in range(rng.randint(1, 2)):
        single = rng.random() < 0.6
        items.append(conditional(rng) if single else AnyOf(tuple(conditional(rng) for _ in range(rng.randint(1, 3)))))
    return {"users": tuple(items)}


def _labels(rng: random.Random) -> Choices:
    return {"labels": tuple(label_rule(rng) for _ in range(rng.randint(1, 2)))}


def _fields(rng: random.Random) -> Choices:
    return {"fields": tuple(field_rule(rng) for _ in range(rng.randint(1, 2)))}


def _operation(rng: random.Random) -> OpenedOperation:
    return OpenedOperation(
        OPERATION,
        frozenset({"type", "instance"}),
        frozenset({"GET"}),
        types=frozenset({"Observation", "Patient"}) if rng.random() < 0.5 else None,
        scopes=scopes(*(_rule_scope(rng) for _ in range(rng.randint(0, 2)))),
        plain=_some(rng, ("__open",)),
        parameters={"patient": rng.random() < 0.5, "language": False},
        answer=rng.choice(tuple(OperationAnswer)),
    )


def _public(rng: random.Random) -> Choices:
    """For one type at least, so that some resources are of it."""
    return {"public": tuple(PublicInteraction(rng.choice(PUBLIC), type) for type in ("Organization", rng.choice(TYPES)))}


def _parties(rng: random.Random) -> Choices:
    actors = {name: ActorRule(rng.choice((None, listed(rng))), _some(rng, PLAIN)) for name in ("svc", "*") if rng.random() < 0.8}
    return {
        "patients": "list" if rng.random() < 0.3 else None,
        "actors": rng.choice((None, actors)),
        "certifications": {"app": certification(rng)} if rng.random() < 0.3 else {},
        "certified_only": rng.random() < 0.1,
    }


def _others(rng: random.Random) -> Choices:
    made: Choices = {
        "shared_types": DEFAULT_SHARED_TYPES if rng.random() < 0.7 else frozenset({"Organization"}),
        "writable_server_types": frozenset({"Subscription"}) if rng.random() < 0.3 else frozenset(),
        "binary": rng.choice(("security_context", "deny", "allow")),
    }
    if rng.random() < 0.5:
        lifts = frozenset(lift for lift in Lift if rng.random() < 0.5)
        made["break_glass"] = BreakGlass("__glass", lifts, kinds=frozenset(KINDS[:2]))
    return made


def certification(rng: random.Random) -> Certification:
    return Certification(listed(rng), 0.0, rng.choice((NOW - 1, NOW + 1)), _some(rng, PLAIN))


SECTIONS = {"clients": _clients, "users": _users, "labels": _labels, "fields": _fields, "parties": _parties, "public": _public}
