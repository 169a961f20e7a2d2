"""What bounds tokens besides their own scopes, across sections: ceilings of issuers, limits of actors, registrations, names of clients."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product

from smart_gateway.fhir.value_sets import ValueSets
from smart_gateway.fhir.vocabulary import Vocabulary
from smart_gateway.scopes.scope import ResourceScope
from smart_gateway.settings.building.policy import build_scopes
from smart_gateway.settings.checks.plain_scopes import meant_plain_scopes
from smart_gateway.settings.checks.scopes import check_scopes
from smart_gateway.settings.findings import KeyPath
from smart_gateway.settings.model import Settings
from smart_gateway.settings.problems import Problem, warning
from smart_gateway.settings.sections.policy import ClientSettings


def check_ceilings(settings: Settings, vocabulary: Vocabulary, value_sets: ValueSets) -> Iterator[Problem]:
    """Everything that the release does not know, that is not there, or that cannot be meant."""
    counting = meant_plain_scopes(settings.policy)
    for index, issuer in enumerate(settings.issuers):
        if issuer.ceiling is not None:
            path: KeyPath = ("issuers", index, "ceiling")
            yield from check_scopes(issuer.ceiling, path, vocabulary, value_sets, plain_counts=False, counting=counting)
            if not issuer.ceiling:
                yield warning(path, "is empty: no token of this issuer opens anything")
    for name, actor in (settings.policy.actors or {}).items():
        if actor.limit is not None:
            path = ("policy", "actors", name, "limit")
            yield from check_scopes(actor.limit, path, vocabulary, value_sets, plain_counts=False, counting=counting)
            if not actor.limit:
                yield warning(path, "is empty: this actor gets nothing at all")
    if settings.policy.actors == {}:
        yield warning(("policy", "actors"), "is empty: every token with an actor is refused")
    for index, listener in enumerate(settings.server.listeners or ()):
        if isinstance(listener.limit, list):
            yield from check_scopes(listener.limit, ("server", "listeners", index, "limit"), vocabulary, value_sets, plain_counts=False)
    for name, client in (settings.policy.clients or {}).items():
        yield from _client(name, client, settings)
    yield from _certificates(settings)


def _client(name: str, client: ClientSettings, settings: Settings) -> Iterator[Problem]:
    path: KeyPath = ("policy", "clients", name)
    trusted = {issuer.issuer for issuer in settings.issuers}
    if client.intersect_registered and client.registered_scopes is None:
        yield Problem((*path, "intersect_registered"), "needs registered_scopes")
    yield from _disjoint(client, path)
    if client.groups == []:
        yield warning((*path, "groups"), "is empty: this client touches no Group, and exports nothing")
    for index, issuer in enumerate(client.issuers or ()):
        if issuer not in trusted:
            yield Problem((*path, "issuers", index), "is none of issuers")
    if client.issuers is None and client.role == "system" and len(trusted) > 1 and name != "*":
        yield warning((*path, "issuers"), "is missing: each of the issuers can give tokens in the name of this client")


def _certificates(settings: Settings) -> Iterator[Problem]:
    """A certificate of two clients would be nobody's."""
    seen: set[tuple[str | None, str | None, str | None]] = set()
    for name, client in (settings.policy.clients or {}).items():
        for index, one in enumerate(client.certificates or ()):
            path: KeyPath = ("policy", "clients", name, "certificates", index)
            key = (one.fingerprint, one.subject, one.dns)
            if key == (None, None, None):
                yield Problem(path, "needs sha256, subject or dns")
            elif key in seen:
                yield Problem(path, "is there already: a certificate is of one client")
            if name == "*":
                yield Problem(path, "names no client")
            seen.add(key)


def _disjoint(client: ClientSettings, path: KeyPath) -> Iterator[Problem]:
    """What the client has, and what it is limited to, without anything in common."""
    for key in ("registered_scopes", "pin"):
        given, limit = build_scopes(getattr(client, key)), build_scopes(client.limit)
        if given and limit and not have_in_common(given, limit):
            yield warning((*path, "limit"), f"leaves nothing of its {key}")


def have_in_common(scopes: Iterable[ResourceScope], limits: Iterable[ResourceScope]) -> bool:
    """Whether a resource can be within both lists, whatever their contexts."""
    return any(_meet(scope, limit) for scope, limit in product(scopes, limits))


def _meet(scope: ResourceScope, limit: ResourceScope) -> bool:
    return bool(scope.permissions & limit.permissions) and (scope.type == limit.type or "*" in (scope.type, limit.type))
