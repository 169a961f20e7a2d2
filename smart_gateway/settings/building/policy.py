"""From ``policy:`` to the policy as ``authorize`` knows it: plain values, with the defaults of sections that are absent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_network

from smart_gateway.fhir.interactions import Interaction
from smart_gateway.fhir.references import Bases
from smart_gateway.fhir.value_sets import ValueSets
from smart_gateway.fhir.vocabulary import load_vocabulary
from smart_gateway.policy.model import (
    DEFAULT_SHARED_TYPES,
    DEFAULT_USERS,
    ActorRule,
    AnyOf,
    ClientRule,
    ConditionalRule,
    PlainScopes,
    Policy,
    PublicInteraction,
    UserBound,
    UserRule,
    When,
    default_additions,
)
from smart_gateway.scopes.parsing import parse_scope
from smart_gateway.scopes.scope import PlainScope, ResourceScope
from smart_gateway.settings.findings import KeyPath
from smart_gateway.settings.model import Settings
from smart_gateway.settings.sections.break_glass import build_break_glass
from smart_gateway.settings.sections.fields import build_fields
from smart_gateway.settings.sections.labels import build_labels
from smart_gateway.settings.sections.operations import build_operations
from smart_gateway.settings.sections.policy import ActorSettings, ClientSettings
from smart_gateway.settings.sections.udap import build_certifications
from smart_gateway.settings.sections.users import AnyOfSettings, Bound, BoundBySelection, UserRuleSettings, UserSettings, WhenSettings
from smart_gateway.settings.sections.value_sets import read_files

_SENDER_CONSTRAINTS = {None: None, "dpop": frozenset({"dpop"}), "mtls": frozenset({"mtls"}), "any": frozenset({"dpop", "mtls"})}


def build_policy(settings: Settings) -> Policy:
    """The policy as ``authorize`` knows it. Sections that are absent have their documented defaults."""
    release, policy = settings.upstream.fhir_version, settings.policy
    additions = policy.compartment_additions
    shared = policy.shared_types
    return Policy(
        vocabulary=load_vocabulary(release),
        bases=Bases(settings.server.public_url, settings.upstream.url or settings.server.public_url),
        clients=None if policy.clients is None else {name: _client(client) for name, client in policy.clients.items()},
        actors=None
        if policy.actors is None
        else {name: ActorRule(build_scopes(actor.limit), build_plain_scopes(actor.limit)) for name, actor in policy.actors.items()},
        certifications=build_certifications(settings),
        certified_only=policy.udap is not None and policy.udap.required,
        users=DEFAULT_USERS if policy.users is None else _users(policy.users),
        patients=None if policy.patients is None else policy.patients.from_claim,
        labels=build_labels(policy.labels),
        fields=build_fields(policy.fields),
        break_glass=build_break_glass(policy.break_glass),
        shared_types=DEFAULT_SHARED_TYPES if shared is None else frozenset(shared),
        compartment_additions=default_additions(release) if additions is None else {t: tuple(codes) for t, codes in additions.items()},
        writable_server_types=frozenset(policy.writes.server_types),
        public=tuple(PublicInteraction(Interaction(rule.interaction), rule.type, rule.operation) for rule in policy.public),
        foreign_patient_search=policy.foreign_patient_search,
        binary=policy.binary,
        absent_and_forbidden=policy.absent_and_forbidden,
        update_as_create=policy.writes.update_as_create,
        compartment_search=settings.upstream.compartment_search,
        value_sets=ValueSets.of(read_files(settings)),
        conditions=settings.upstream.conditions,
        requests_per_minute=policy.limits.requests_per_minute,
        operations=build_operations(policy.operations),
        search_parameters={type: frozenset(keys) for type, keys in policy.search.parameters.items()},
        places=settings.places,
    )


def _client(client: ClientSettings) -> ClientRule:
    registered, pin, limit = (build_scopes(texts) for texts in (client.registered_scopes, client.pin, client.limit))
    return ClientRule(
        registered_scopes=registered,
        pin=pin,
        limit=limit,
        system_role=client.role == "system",
        intersect_registered=client.intersect_registered,
        issuers=None if client.issuers is None else frozenset(client.issuers),
        networks=None if client.networks is None else tuple(ip_network(network) for network in client.networks),
        max_token_age=client.max_token_age,
        sender_constraint=_SENDER_CONSTRAINTS[client.sender_constraint],
        requests_per_minute=client.requests_per_minute,
        plain=PlainScopes(*(build_plain_scopes(texts) for texts in (client.registered_scopes, client.pin, client.limit))),
        groups=None if client.groups is None else frozenset(client.groups),
    )


def _actor(actor: ActorSettings) -> ActorRule:
    return ActorRule(build_scopes(actor.limit), build_plain_scopes(actor.limit))


def _users(users: UserSettings | list[UserRuleSettings | AnyOfSettings]) -> Mapping[str, UserRule] | tuple[ConditionalRule | AnyOf, ...]:
    if isinstance(users, UserSettings):
        return {kind: _user(users.of(kind), ("users", kind)) for kind in DEFAULT_USERS}
    return tuple(_user_item(item, ("users", index)) for index, item in enumerate(users))


def _user_item(item: UserRuleSettings | AnyOfSettings, path: KeyPath) -> ConditionalRule | AnyOf:
    if isinstance(item, UserRuleSettings):
        return ConditionalRule(_when(item.when), _user(item.boundary, path))
    rules = enumerate(item.any_of)
    return AnyOf(tuple(ConditionalRule(_when(rule.when), _user(rule.boundary, (*path, "any_of", place))) for place, rule in rules))


def _when(when: WhenSettings | None) -> When:
    if when is None:
        return When()
    kinds = None if when.fhir_user is None else frozenset[str](when.fhir_user)
    return When(kinds, tuple((path, frozenset(texts)) for path, texts in (when.claim or {}).items()))


def _user(bound: Bound, path: KeyPath) -> UserRule:
    if isinstance(bound, BoundBySelection):
        return UserRule(compartment=bound.compartment, patients=None if bound.patients is None else bound.patients.from_claim, path=path)
    return UserRule(scopes=build_scopes(bound), path=path) if isinstance(bound, list) else UserRule(UserBound(bound), path=path)


def build_plain_scopes(texts: Sequence[str] | None) -> frozenset[str]:
    """The scopes that are for no resource."""
    scopes = (parse_scope(text) for text in texts or ())
    return frozenset(scope.text for scope in scopes if isinstance(scope, PlainScope))


def build_scopes(texts: Sequence[str] | None) -> tuple[ResourceScope, ...] | None:
    """The scopes for resources; None where nothing was said, an empty tuple where nothing was granted."""
    if texts is None:
        return None
    scopes = (parse_scope(text) for text in texts)
    return tuple(scope for scope in scopes if isinstance(scope, ResourceScope))
