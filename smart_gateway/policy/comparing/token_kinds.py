"""Kinds of tokens that policies can tell from one another, and a principal of each, which asks for all that can be asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product

from smart_gateway.fhir.references import Reference
from smart_gateway.policy.comparing.circumstances import Asked, Circumstance
from smart_gateway.policy.model import Policy
from smart_gateway.principal import Actor, Principal
from smart_gateway.scopes.reading import read_scopes
from smart_gateway.scopes.scope import Context

PATIENT, USER, RELATED = "the-patient", "the-user", "the-related-patient"
OTHERS = "any other"
KINDS = ("Practitioner", "PractitionerRole", "Patient", "RelatedPerson", "Person", "none")
_ANONYMOUS = "nobody"
_ORDINARY = Circumstance()


@dataclass(frozen=True, slots=True, order=True)
class Who:
    """One kind of token. ``client`` and ``actor`` by name or ``any other``, an actor of None is nobody; ``issuer`` matters where a
    client's rule names issuers. ``context`` is that of all its scopes, ``none`` without any. ``emergency``: its requests call one, where
    they may."""

    client: str
    user: str
    context: str
    issuer: str = OTHERS
    actor: str | None = None
    circumstance: Circumstance = _ORDINARY
    emergency: bool = False


def whos(old: Policy, new: Policy, asked: Asked) -> Iterator[Who]:
    """Every kind of token that one of the policies could tell from another. ``any other`` is also a token that names no client."""
    yield Who(OTHERS, _ANONYMOUS, "none")
    actors: tuple[str | None, ...] = (None,) if old.actors == new.actors else (None, OTHERS, *sorted(names_of(old.actors, new.actors)))
    clients = sorted(names_of(old.clients, new.clients, old.certifications, new.certifications) | asked.clients)
    for client in (*clients, OTHERS):
        for issuer in (OTHERS, *sorted(_issuers(client, old) | _issuers(client, new))):
            for actor, kind, context, found in product(actors, KINDS, (*map(str, Context), "none"), tuple(asked.circumstances())):
                yield Who(client, kind, context, issuer, actor, found)


def principal_of(who: Who, policy: Policy, asked: Asked, type: str) -> Principal:
    """The token that ``who`` describes, which asks for everything on ``type``."""
    if who.user == _ANONYMOUS:
        return Principal("", anonymous=True)
    wanted = (f"{who.context}/{type}.cruds",) if who.context in set(Context) else ()
    known = names_of(policy.clients, policy.actors, policy.certifications) | asked.clients
    other = _unlike(known)
    actor = () if who.actor is None else (Actor(other if who.actor == OTHERS else who.actor),)
    emergency = sorted(asked.emergencies) if who.emergency else ()
    return Principal(
        _unlike(_issuers(who.client, policy)) if who.issuer == OTHERS else who.issuer,
        client_id=other if who.client == OTHERS else who.client,
        scopes=read_scopes([*wanted, *who.circumstance.plain, *emergency], replacement=None, v1_write="cud"),
        subject=USER,
        patient=PATIENT,
        related_patient=RELATED,
        claims=asked.claims(who.circumstance),
        fhir_user=None if who.user == "none" else Reference(who.user, USER),
        actors=actor,
    )


def names_of(*sections: Mapping[str, object] | None) -> set[str]:
    return {name for section in sections for name in section or () if name != "*"}


def _issuers(client: str, policy: Policy) -> frozenset[str]:
    rule = (policy.clients or {}).get(client) or (policy.clients or {}).get("*")
    return rule.issuers or frozenset() if rule is not None else frozenset()


def _unlike(names: Iterable[str]) -> str:
    """A name that is none of ``names``."""
    taken, name = set(names), "another"
    while name in taken:
        name += "-one"
    return name
