"""``policy:``: what narrows the scopes. An absent section has its default; one that is present is closed."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from smart_gateway.fhir.references import is_id
from smart_gateway.settings.sections.addresses import IssuerUrl, NetworkText
from smart_gateway.settings.sections.audit import AuditSettings
from smart_gateway.settings.sections.break_glass import BreakGlassSettings
from smart_gateway.settings.sections.fields import FieldSettings
from smart_gateway.settings.sections.labels import Labels
from smart_gateway.settings.sections.limits import Count, LimitsSettings
from smart_gateway.settings.sections.operations import OperationName, OperationSettings
from smart_gateway.settings.sections.quantities import Duration
from smart_gateway.settings.sections.search import SearchSettings
from smart_gateway.settings.sections.section import Section, Text, spelled
from smart_gateway.settings.sections.udap import UdapSettings
from smart_gateway.settings.sections.users import ListedPatients, ScopeList, Users, listed
from smart_gateway.settings.sections.value_sets import ValueSetSettings

_FINGERPRINT = re.compile(r"[0-9A-Fa-f]{64}|[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){31}")

ResourceId = Annotated[
    str, spelled(lambda text: is_id(text) and text not in {".", ".."}, "id", "must be a FHIR id: letters, digits, - and . only, 64 at most")
]
Fingerprint = Annotated[str, spelled(_FINGERPRINT.fullmatch, "fingerprint", "must be 64 hexadecimal digits, with or without colons")]


class CertificateSettings(Section):
    """One way in which a certificate is known to be this client's. Of several keys all must hold. Names count as far as the authorities
    are trusted that certificates may come from (`client_ca`)."""

    sha256: Fingerprint | None = None
    """The SHA-256 fingerprint of the certificate (`openssl x509 -noout -fingerprint -sha256`)."""
    subject: Text | None = None
    """Its whole subject as RFC 4514 writes it (`openssl x509 -noout -subject -nameopt RFC2253`)."""
    dns: Text | None = None
    """A DNS name in its subjectAltName."""

    @property
    def fingerprint(self) -> str | None:
        """In lower case, without colons."""
        return None if self.sha256 is None else self.sha256.replace(":", "").lower()


class ClientSettings(Section):
    """One client, by its id; `"*"` is every client that is not named."""

    registered_scopes: ScopeList | None = None
    """What it registered: the only scopes that a refusal hints at. Absent: not known, everything may be hinted."""
    intersect_registered: bool = False
    """Whether scopes of its tokens count only within `registered_scopes` of the same context (patient, user, system)."""
    limit: ScopeList | None = None
    """Never more than these, whatever the token says."""
    pin: ScopeList | None = None
    """Exactly these, whatever the token says."""
    role: Literal["system"] | None = None
    """`system`: its `system/` scopes count."""
    certificates: Annotated[list[CertificateSettings], Field(min_length=1)] | None = None
    """Its certificates. A request with one of them counts with tokens of this client only; `server.listeners` says where a certificate
    names the client by itself."""
    groups: list[ResourceId] | None = None
    """Ids of FHIR Groups: the only ones that it may touch, whose members it may export (`Group/[id]/$export`), and nothing else it may
    export. Absent: its scopes decide alone."""
    issuers: Annotated[list[IssuerUrl], Field(min_length=1)] | None = None
    """The issuers whose tokens may name this client; in those of others it is nobody (403). Absent: any. With several issuers, names of
    clients can meet."""
    networks: Annotated[list[NetworkText], Field(min_length=1)] | None = None
    """Networks (`10.1.0.0/16`) that it must come from; behind a proxy, `server.trusted_proxies` says whose word counts for that.
    An address that it tells and that cannot be read (with a port, `unknown`) is in none."""
    max_token_age: Duration | None = None
    """How long after its `iat` a token of this client serves at most."""
    sender_constraint: Literal["dpop", "mtls", "any"] | None = None
    """Its tokens must be bound to its key: by DPoP (RFC 9449), by its certificate (RFC 8705), or by either (`any`)."""
    requests_per_minute: Count | None = None
    """How many requests it may send, entries of a batch counted (429 beyond). Absent: `limits.requests_per_minute`."""


class ActorSettings(Section):
    """Who acts for the subject of a token (`act`, RFC 8693), by its `sub` or its `client_id`; `"*"` is everybody who is not named."""

    limit: ScopeList | None = None
    """Never more than these while it acts. Absent: as much as the token itself opens."""


class WriteSettings(Section):
    """What writes may do."""

    update_as_create: Literal["never", "uuid_only", "always"] = "never"
    """Whether a PUT on a free id creates under a bounded token."""
    server_types: list[Text] = Field(default=[])
    """Types that change or describe what the server does (Subscription, SearchParameter, ...) and may be written by a scope that
    names them."""


class PublicSettings(Section):
    """One interaction that needs no token."""

    interaction: Literal[
        "read", "vread", "search-type", "search-compartment", "search-system", "create", "update", "patch", "delete", "history-instance",
        "history-type", "history-system", "operation", "batch",
    ]  # fmt: skip
    """The interaction. `search-system`, `history-system` and `batch` open nothing by themselves: what other interactions of this list open
    can be asked for in this way too."""
    type: Text | None = None
    """The resource type; of `search-system`, `history-system` and `batch` there is none."""
    operation: OperationName | None = None
    """Of `operation` its name: one of the gateway's own list that reads."""


class PolicySettings(Section):
    """What narrows the scopes of tokens."""

    include: Annotated[list[Text], Field(min_length=1), BeforeValidator(listed)] | None = None
    """Files, or directories of `*.yaml` files, that hold further parts of the policy: lists go on, mappings are united, and each name is
    said once. Read in before the rest is judged."""
    clients: dict[Text, ClientSettings] | None = None
    """Absent: every client's scopes decide alone. Present: a client neither named nor met by `"*"` is refused, and `system/` scopes
    count only for `role: system`."""
    actors: dict[Text, ActorSettings] | None = None
    """Absent: whoever an issuer lets act for its subjects may. Present: a token whose actor is neither named nor met by `"*"` is refused.
    An actor that another issuer named (`act.iss`) is met by `"*"` only. Where the token says `may_act`, it must be who acts."""
    udap: UdapSettings | None = None
    """Absent: no client is certified, and none needs to be."""
    users: Users | None = None
    """What bounds `user/` scopes, by the kind of fhirUser; or a list of rules that say whom they are for: all that are for a user are
    intersected, and without any it gets nothing. Absent: Practitioner everything, Patient compartment, RelatedPerson patient, others
    nothing."""
    operations: Annotated[dict[OperationName, OperationSettings], Field(min_length=1)] | None = None
    """Operations that are open beside the gateway's own list, by their names (`$my-op`). Absent: none."""
    patients: ListedPatients | None = None
    """Patients whose records, and shared types, are all that `user/` scopes open, whatever `users` says. Absent: no list bounds them."""
    shared_types: list[Text] | None = None
    """Types in no Patient compartment that `patient/` scopes may read. Absent: Practitioner, PractitionerRole, Organization, Location,
    Medication, Substance, HealthcareService, Questionnaire, ValueSet, CodeSystem, Endpoint."""
    compartment_additions: dict[Text, Annotated[list[Text], Field(min_length=1)]] | None = None
    """Types outside the release's Patient compartment that are bounded by these search parameters as if it listed them. Absent:
    `Device: [patient]` in R4 and R4B."""
    foreign_patient_search: Literal["forbidden", "empty"] = "forbidden"
    """The answer to a search for a patient that the token does not open."""
    binary: Literal["security_context", "deny", "allow"] = "security_context"
    """Which Binary `patient/` scopes read: those whose `securityContext` is the patient or a resource that the token may read; none; or
    those without a `securityContext` too."""
    absent_and_forbidden: Literal[404, 403] = 404
    """The one status for a resource that is absent or outside."""
    required_scope_extension: Literal["core", "smart"] = "core"
    """Which extension a refusal names the missing scope in: FHIR's own or SMART's."""
    writes: WriteSettings = WriteSettings()
    """What writes may do."""
    public: list[PublicSettings] = Field(default=[])
    """Interactions without a token; none when empty."""
    value_sets: ValueSetSettings = ValueSetSettings()
    """The value sets that scopes may name with `:in` and `:not-in`."""
    limits: LimitsSettings = LimitsSettings()
    """How large and how slow requests may be."""
    audit: AuditSettings = AuditSettings()
    """Where the records of decisions go."""
    labels: Labels | None = None
    """Limits on security labels; or a list of them that say whom they are for: all that are for a request hold at once, and one that none
    is for gets nothing. Absent: labels decide nothing."""
    break_glass: BreakGlassSettings | None = None
    """Emergencies that lift limits for one request. Absent: there are none."""
    fields: list[FieldSettings] = Field(default=[])
    """Elements that are hidden, and those that a write may change. Empty: none."""
    search: SearchSettings = SearchSettings()
    """What searches may use besides what FHIR defines."""
