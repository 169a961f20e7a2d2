"""The policy as compiled from the settings: plain values, no YAML, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from typing import Literal

from smart_gateway.boundary.matching import Matcher
from smart_gateway.boundary.narrowing import Narrower
from smart_gateway.fhir.compartments import CompartmentRules
from smart_gateway.fhir.interactions import Interaction
from smart_gateway.fhir.references import Bases
from smart_gateway.fhir.releases import Release
from smart_gateway.fhir.value_sets import NO_VALUE_SETS, ValueSets
from smart_gateway.fhir.vocabulary import Vocabulary
from smart_gateway.policy.emergencies import BreakGlass, Emergency
from smart_gateway.policy.rules.fielding import FieldRule
from smart_gateway.policy.rules.labelling import LabelRule
from smart_gateway.scopes.scope import ResourceScope

DEFAULT_SHARED_TYPES = frozenset(
    (
        "Practitioner PractitionerRole Organization Location Medication Substance HealthcareService Questionnaire "
        "ValueSet CodeSystem Endpoint "
    ).split()
)

# Types that change or describe what the server does (semantics 3): never opened by `*` for patient/ reads, nor for any write.
SERVER_TYPES = frozenset(
    (
        "Subscription SubscriptionTopic SearchParameter CompartmentDefinition OperationDefinition StructureDefinition "
        "StructureMap CapabilityStatement TerminologyCapabilities ImplementationGuide GraphDefinition MessageDefinition "
        "NamingSystem ConceptMap TestScript "
    ).split()
)


def default_additions(release: Release) -> Mapping[str, tuple[str, ...]]:
    """The shipped ``compartment_additions``: R4 and R4B leave Device out, which US Core and ONC g(10) need (semantics 3)."""
    return {} if release is Release.R5 else {"Device": ("patient",)}


class UserBound(StrEnum):
    """The boundary of user/ scopes for one kind of fhirUser (semantics 3)."""

    EVERYTHING = "everything"
    COMPARTMENT = "compartment"  # the fhirUser's own compartment
    PATIENT = "patient"  # the compartment of the token's patient
    RELATED_PATIENT = "related_patient"  # the compartment of the patient that the stored RelatedPerson names
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class UserRule:
    """What one rule leaves of user/ scopes: ``bound``; or where one of these is set, what ``scopes`` give together, the ``compartment``
    of ``Type/id``, or the patients that the claim ``patients`` lists.

    Placeholders (``${claim.organization}``) stand in ``scopes`` and ``compartment`` until a principal fills them in. ``path`` is the
    rule's below the policy.
    """

    bound: UserBound = UserBound.NOTHING
    scopes: tuple[ResourceScope, ...] | None = None
    compartment: str | None = None
    patients: str | None = None
    path: tuple[str | int, ...] = field(default=("users",), compare=False)


@dataclass(frozen=True, slots=True)
class When:
    """Whom a rule is for: all of this must hold. ``kinds`` of fhirUser, any of them; each of ``claims``, a path and texts of which one
    must be the claim's value, or among its values."""

    kinds: frozenset[str] | None = None
    claims: tuple[tuple[str, frozenset[str]], ...] = ()


@dataclass(frozen=True, slots=True)
class ConditionalRule:
    """A rule for those whom ``when`` means."""

    when: When
    rule: UserRule


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Rules that count together: what any of those gives that are for the user."""

    rules: tuple[ConditionalRule, ...]


DEFAULT_USERS: Mapping[str, UserRule] = {
    "Practitioner": UserRule(UserBound.EVERYTHING),
    "Patient": UserRule(UserBound.COMPARTMENT),
    "RelatedPerson": UserRule(UserBound.PATIENT),
    "PractitionerRole": UserRule(UserBound.NOTHING),
    "Person": UserRule(UserBound.NOTHING),
    "none": UserRule(UserBound.NOTHING),
}


@dataclass(frozen=True, slots=True)
class PlainScopes:
    """The plain scopes in the lists of a client's section."""

    registered: frozenset[str] = frozenset()
    pin: frozenset[str] = frozenset()
    limit: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ClientRule:
    """One client's section. None means: not said. An empty tuple means: none at all (semantics 0.7).

    ``intersect_registered``: scopes of the token count only within ``registered_scopes`` of the same context. ``issuers`` are those whose
    tokens may name this client. ``networks`` are those that it may come from; ``max_token_age`` is in seconds since the token's ``iat``;
    ``sender_constraint`` names the possessions (``dpop``, ``mtls``) of which one must have been shown. ``groups`` are the ids of the
    only Groups that it may touch, and whose members it may export.
    """

    registered_scopes: tuple[ResourceScope, ...] | None = None
    pin: tuple[ResourceScope, ...] | None = None
    limit: tuple[ResourceScope, ...] | None = None
    system_role: bool = False
    intersect_registered: bool = False
    issuers: frozenset[str] | None = None
    networks: tuple[IPv4Network | IPv6Network, ...] | None = None
    max_token_age: float | None = None
    sender_constraint: frozenset[str] | None = None
    requests_per_minute: int | None = None
    groups: frozenset[str] | None = None
    plain: PlainScopes = PlainScopes()


@dataclass(frozen=True, slots=True)
class ActorRule:
    """What one actor may do at most for whoever it acts for; ``limit`` None: as much as they."""

    limit: tuple[ResourceScope, ...] | None = None
    plain: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Certification:
    """What a certified statement says of a client: never more than ``scopes``, from ``since`` and before ``until``, in seconds since the
    epoch."""

    scopes: tuple[ResourceScope, ...]
    since: float
    until: float
    plain: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class PublicInteraction:
    """An interaction that needs no token; ``type`` None only for interactions without one, ``operation`` the name of an operation."""

    interaction: Interaction
    type: str | None = None
    operation: str | None = None


class OperationAnswer(StrEnum):
    """How the answer to an operation of the policy is checked."""

    FILTER = "filter"  # of a Bundle, entries that may not be read go; any other answer that holds such is refused
    REFUSE = "refuse"  # an answer that holds what may not be read is refused
    NONE = "none"  # not at all


@dataclass(frozen=True, slots=True)
class OpenedOperation:
    """An operation that the policy opens: at ``levels`` (system, type, instance), on ``types`` (None: any), by any of ``scopes`` or of the
    ``plain`` ones. ``parameters`` are all that it takes, and whether what they name must be inside."""

    name: str
    levels: frozenset[str]
    methods: frozenset[str]
    types: frozenset[str] | None = None
    scopes: tuple[ResourceScope, ...] = ()
    plain: frozenset[str] = frozenset()
    parameters: Mapping[str, bool] = field(default_factory=dict)
    answer: OperationAnswer = OperationAnswer.FILTER
    path: tuple[str | int, ...] = field(default=("operations",), compare=False)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the upstream's CapabilityStatement says it searches by: codes by type. ``parameters`` None: not had, the release's
    tables stand in (semantics 4). ``searches_all``: whether it has the search over all types; None: not known. ``software``: its name.
    ``no_conditional_create``: types for which it says that it ignores ``If-None-Exist``."""

    parameters: Mapping[str, frozenset[str]] | None = None
    searches_all: bool | None = None
    software: str | None = None
    no_conditional_create: frozenset[str] = frozenset()

    def names(self, type: str, code: str) -> bool:
        """Whether the upstream itself says that it searches ``type`` by ``code``."""
        return self.parameters is not None and code in self.parameters.get(type, frozenset())

    def supports(self, type: str, code: str, vocabulary: Vocabulary) -> bool:
        """Whether the upstream can be asked by ``code`` on ``type``."""
        if self.parameters is None:
            return vocabulary.parameter(type, code) is not None
        return code in self.parameters.get(type, frozenset())


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything that ``authorize`` knows besides the request and the principal. Defaults are those of docs/settings.md.

    ``clients`` None: no section, every client's scopes decide alone. ``"*"`` in it: clients not named. ``actors`` is the same for those
    who act for a subject, by their ``sub`` or ``client_id``. ``users`` are rules by the kind of fhirUser, or in a list, which are
    intersected; ``patients`` is the claim whose patients bound all user/ scopes. ``labels``
    None: security labels decide nothing. ``certifications`` are of clients; with
    ``certified_only`` no other comes. ``emergency``: this is the policy of one request in one. ``search_parameters``: what bounded
    searches may use beside what FHIR and the upstream define, ``name`` or ``name:modifier``, by type or ``*``. ``places`` are where rules
    are written.
    """

    vocabulary: Vocabulary
    bases: Bases
    clients: Mapping[str, ClientRule] | None = None
    actors: Mapping[str, ActorRule] | None = None
    certifications: Mapping[str, Certification] = field(default_factory=dict)
    certified_only: bool = False
    users: Mapping[str, UserRule] | tuple[ConditionalRule | AnyOf, ...] = field(default_factory=lambda: DEFAULT_USERS)
    patients: str | None = None
    labels: tuple[LabelRule, ...] | None = None
    fields: tuple[FieldRule, ...] = ()
    break_glass: BreakGlass | None = None
    emergency: Emergency | None = None
    shared_types: frozenset[str] = DEFAULT_SHARED_TYPES
    compartment_additions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    writable_server_types: frozenset[str] = frozenset()
    public: tuple[PublicInteraction, ...] = ()
    foreign_patient_search: Literal["forbidden", "empty"] = "forbidden"
    absent_and_forbidden: Literal[404, 403] = 404
    binary: Literal["security_context", "deny", "allow"] = "security_context"
    update_as_create: Literal["never", "uuid_only", "always"] = "never"
    compartment_search: Literal["parameter", "compartment", "union"] = "parameter"
    conditions: Literal["headers", "hapi"] | None = None
    capabilities: Capabilities = field(default_factory=Capabilities)
    value_sets: ValueSets = NO_VALUE_SETS
    requests_per_minute: int | None = None
    operations: tuple[OpenedOperation, ...] = ()
    search_parameters: Mapping[str, frozenset[str]] = field(default_factory=dict)
    places: Mapping[tuple[str | int, ...], str] = field(default_factory=dict, compare=False, repr=False)
    rules: CompartmentRules = field(init=False, compare=False, repr=False)
    matcher: Matcher = field(init=False, compare=False, repr=False)
    narrower: Narrower = field(init=False, compare=False, repr=False)

    @property
    def hapi_conditions(self) -> bool:
        """Whether the upstream keeps the conditions of a write as HAPI does; without a setting, its CapabilityStatement says what it is."""
        if self.conditions is not None:
            return self.conditions == "hapi"
        return (self.capabilities.software or "").startswith("HAPI FHIR")

    def lets_through(self, type: str, key: str) -> str | None:
        """The entry of ``search_parameters`` (a type, or ``*``) that names ``key`` for ``type``. Spec: semantics 0.2."""
        return next((entry for entry in (type, "*") if key in self.search_parameters.get(entry, ())), None)

    def place(self, *path: str | int) -> str | None:
        """Where the rule at ``path`` (``"clients", "app", "limit"``) is written, or the nearest level above it that is."""
        found = (self.places.get(path[:length]) for length in range(len(path), 0, -1))
        return next((place for place in found if place is not None), None)

    def __post_init__(self) -> None:
        rules = CompartmentRules(self.vocabulary, self.compartment_additions)
        object.__setattr__(self, "rules", rules)
        object.__setattr__(self, "matcher", Matcher(self.vocabulary, rules, self.bases, self.value_sets))
        object.__setattr__(self, "narrower", Narrower(self.vocabulary, rules, self._supports, self.value_sets))

    def _supports(self, type: str, code: str) -> bool:
        return self.capabilities.supports(type, code, self.vocabulary)
