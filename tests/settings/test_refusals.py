"""Every class of bad settings: where the finding points, which key it names, what it says, and the name that was meant.

``@`` marks the place that the finding must point at.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from smart_gateway.errors import SettingsError
from smart_gateway.settings.findings import Finding, Severity
from smart_gateway.settings.loading import examine, load_settings

SERVER = "server: {public_url: https://fhir.example.org/fhir, sealing: {keys: [{from_env: SEAL}]}}"
UPSTREAM = "upstream: {url: http://127.0.0.1:8090/fhir, fhir_version: R4}"
ISSUERS = "issuers: [{issuer: https://idp.example.org}]"
ENVIRONMENT = {"SEAL": "0123456789012345678901234567890123456789", "EMPTY": ""}


def settings(server: str = SERVER, upstream: str = UPSTREAM, issuers: str = ISSUERS, policy: str = "", more: str = "") -> str:
    return "\n".join(part for part in (server, upstream, issuers, policy, more) if part) + "\n"


def server(keys: str) -> str:
    return settings(server=f"server:\n  public_url: https://fhir.example.org/fhir\n  sealing: {{keys: [{{from_env: SEAL}}]}}\n  {keys}")


def upstream(keys: str) -> str:
    return settings(upstream=f"upstream:\n  fhir_version: R4\n  {keys}")


def issuer(keys: str) -> str:
    return settings(issuers=f"issuers:\n  - issuer: https://idp.example.org\n    {keys}")


def policy(keys: str) -> str:
    return settings(policy=f"policy:\n  {keys}")


def judged(tmp_path: Path, text: str, environment: Mapping[str, str] | None = None) -> tuple[list[Finding], tuple[int, int] | None]:
    """The findings, and the place of ``@``."""
    file = tmp_path / "gateway.yaml"
    before, mark, _ = text.partition("@")
    file.write_text(text.replace("@", "", 1) if mark else text)
    place = (before.count("\n") + 1, len(before) - before.rfind("\n")) if mark else None
    return list(examine(file, {**ENVIRONMENT, **(environment or {})}, proxying=True).findings), place


CASES = [
    # Keys that there are not, or not there.
    (settings(more="@polcy: {}"), "polcy", "unknown key", "policy"),
    (settings(more="@zzz: 1"), "zzz", "unknown key", None),
    (server("@managment: 127.0.0.1:9090"), "server.managment", "unknown key", "management"),
    (issuer("claims: {@patients: [patient]}"), "issuers[0].claims.patients", "unknown key", "patient"),
    (policy("clients: {app: {@registeredScopes: []}}"), "policy.clients.app.registeredScopes", "unknown key", "registered_scopes"),
    (policy("users: {@practitioner: nothing}"), "policy.users.practitioner", "unknown key", "Practitioner"),
    (policy("audit: {sinks: [{@fil: x}]}"), "policy.audit.sinks[0].fil", "unknown key", "file"),
    (settings(server="server: @{listen: 127.0.0.1:8080}"), "server.public_url", "is missing", None),
    (settings(upstream="upstream: @{url: http://127.0.0.1:1/fhir}"), "upstream.fhir_version", "is missing", None),
    (settings(issuers="issuers: [@{mode: jwt}]"), "issuers[0].issuer", "is missing", None),
    (settings(issuers="").replace("server", "@server", 1), "issuers", "is missing", None),
    (settings(upstream="upstream: @{fhir_version: R4}"), "upstream.url", "is missing: without it the gateway can only be middleware", None),
    # Values of another type.
    (settings(server="server: @[]"), "server", "must be a mapping, not a list", None),
    (settings(issuers="issuers: @{}"), "issuers", "must be a list, not a mapping", None),
    (settings(issuers="issuers: [@https://idp.example.org]"), "issuers[0]", "must be a mapping, not a text", None),
    (server("management: @9090"), "server.management", "must be a text, not a number", None),
    (upstream("url: http://127.0.0.1:8090/fhir\n  allow_http: @1"), "upstream.allow_http", "must be true or false, not a number", None),
    (policy('limits: {entries: @"10"}'), "policy.limits.entries", "must be a whole number, not a text", None),
    (policy("limits: {entries: @1.5}"), "policy.limits.entries", "must be a whole number, not a number", None),
    (policy("limits: {entries: @true}"), "policy.limits.entries", "must be a whole number, not a boolean", None),
    (policy("clients: @[]"), "policy.clients", "must be a mapping, not a list", None),
    (policy("clients: {app: {limit: @patient/*.rs}}"), "policy.clients.app.limit", "must be a list, not a text", None),
    (policy("clients: {app: {limit: [@1]}}"), "policy.clients.app.limit[0]", "must be a text, not a number", None),
    (policy("users: {Patient: @{}}"), "policy.users.Patient", "names a compartment or patients", None),
    (policy("public: [{interaction: batch, type: @Patient}]"), "policy.public[0].type", "is of no type", None),
    (policy("public: [@{interaction: create}]"), "policy.public[0].type", "is missing", None),
    (policy("public: [{interaction: @create, type: Subscription}]"), "policy.public[0].interaction", "never without a token", None),
    (policy("public: [@{interaction: operation, type: ValueSet}]"), "policy.public[0].operation", "belongs to", None),
    (policy("public: [{interaction: read, type: ValueSet, operation: @$expand}]"), "policy.public[0].operation", "belongs to", None),
    (
        policy("public: [{interaction: operation, type: ValueSet, operation: @$expan}]"),
        "policy.public[0].operation",
        "is no operation",
        "$expand",
    ),
    (policy("operations: @{}"), "policy.operations", "must not be empty", None),
    (
        policy("operations: {my-op: @{level: type, method: GET, scopes: [__x]}}"),
        "policy.operations.my-op",
        "must be $",
        None,
    ),
    (policy("operations: {$everything: @{level: type, method: GET, scopes: [__x]}}"), "policy.operations.$everything", "own list", None),
    (policy("operations: {$export: @{level: type, method: GET, scopes: [__x]}}"), "policy.operations.$export", "own list", None),
    (policy("operations: {$a: @{level: type, method: GET}}"), "policy.operations.$a.scopes", "is missing", None),
    (policy("operations: {$a: {level: @all, method: GET, scopes: [__x]}}"), "policy.operations.$a.level", "must be system", None),
    (policy("operations: {$a: {level: type, method: @PUT, scopes: [__x]}}"), "policy.operations.$a.method", "must be GET or POST", None),
    (policy("operations: {$a: {level: type, method: GET, scopes: @[]}}"), "policy.operations.$a.scopes", "must not be empty", None),
    (policy("operations: {$a: {level: type, method: GET, scopes: [@openid]}}"), "policy.operations.$a.scopes[0]", "opens nothing", None),
    (
        policy("operations: {$a: {level: type, method: GET, scopes: [@user/Patent.r]}}"),
        "policy.operations.$a.scopes[0]",
        "grants nothing",
        None,
    ),
    (
        policy("operations: {$a: {level: type, method: GET, scopes: [@'user/Patient.r?_id=1']}}"),
        "policy.operations.$a.scopes[0]",
        "has a filter",
        None,
    ),
    (
        policy("operations: {$a: {level: type, types: [@Patent], method: GET, scopes: [__x]}}"),
        "policy.operations.$a.types[0]",
        "has no such resource type",
        "Patient",
    ),
    (
        policy("operations: {$a: {level: type, method: GET, scopes: [__x], answer: @flter}}"),
        "policy.operations.$a.answer",
        "must be filter",
        "filter",
    ),
    (policy("clients: {a: {groups: [@a/b]}}"), "policy.clients.a.groups[0]", "must be a FHIR id", None),
    (policy("clients: {a: {requests_per_minute: @0}}"), "policy.clients.a.requests_per_minute", "must be at least 1", None),
    (policy("limits: {requests_per_minute: @many}"), "policy.limits.requests_per_minute", "must be a whole number", None),
    (policy("users: [@{when: {fhir_user: Patient}}]"), "policy.users[0].boundary", "is missing", None),
    (policy("users: [{when: @{}, boundary: nothing}]"), "policy.users[0].when", "says nothing", None),
    (
        policy("users: [{when: {fhir_user: @Practioner}, boundary: nothing}]"),
        "policy.users[0].when.fhir_user",
        "must be Pra",
        "Practitioner",
    ),
    (policy("users: [{when: {claim: @{}}, boundary: nothing}]"), "policy.users[0].when.claim", "must not be empty", None),
    (policy("users: [{when: {claim: {a: @[]}}, boundary: nothing}]"), "policy.users[0].when.claim.a", "must not be empty", None),
    (policy("users: [{when: {claim: {'a..b': @x}}, boundary: nothing}]"), "policy.users[0].when.claim.a..b", "is no path", None),
    (policy("users: [{when: {claim: {hook.team: @x}}, boundary: nothing}]"), "policy.users[0].when.claim.hook.team", "no hooks", None),
    (policy("users: [{any_of: @[]}]"), "policy.users[0].any_of", "must not be empty", None),
    (policy("users: [{any_of: [{boundary: @all}]}]"), "policy.users[0].any_of[0].boundary", "must be everything", None),
    (policy("users: [{when: {fhir_user: Person}, boundary: @compartment}]"), "policy.users[0].boundary", "has no compartment", None),
    (policy("users: {Practitioner: @related_patient}"), "policy.users.Practitioner", "RelatedPerson only", None),
    (policy("users: {Practitioner: {compartment: @Practitioner}}"), "policy.users.Practitioner.compartment", "must be Type/id", None),
    (policy("users: {Practitioner: {compartment: @Organization/1}}"), "policy.users.Practitioner.compartment", "has no comp", None),
    (policy("users: {Practitioner: {compartment: @'Patient/${who}'}}"), "policy.users.Practitioner.compartment", "no placeholder", None),
    (
        policy("users: {Practitioner: {patients: {from_claim: @'a[b'}}}"),
        "policy.users.Practitioner.patients.from_claim",
        "is no path",
        None,
    ),
    (policy("patients: {from_claim: @hook.patients}"), "policy.patients.from_claim", "no hooks", None),
    (policy("patients: {from_claim: @'[\"hook\"].patients'}"), "policy.patients.from_claim", "no hooks", None),
    (policy("users: [{boundary: [@'user/Patient.rs?organization=${claim.hook.org}']}]"), "policy.users[0].boundary[0]", "no hooks", None),
    (policy("users: [{boundary: {compartment: @'Patient/${claim.hook.one}'}}]"), "policy.users[0].boundary.compartment", "no hooks", None),
    (policy("users: {Practitioner: [@'user/Patient.rs?_id=${claim}']}"), "policy.users.Practitioner[0]", "no placeholder", None),
    (policy("users: {Practitioner: [@'user/Patient.rs?birthdate=${claim.b}']}"), "policy.users.Practitioner[0]", "takes no place", None),
    (policy("users: {Practitioner: [@'user/Patient.rs?organization=${claim.a}/1']}"), "policy.users.Practitioner[0]", "alone, or", None),
    (policy("users: {Practitioner: [@'user/*.rs?code=${claim.a}']}"), "policy.users.Practitioner[0]", "takes no placeholder", None),
    (policy("clients: {a: {limit: [@'user/Patient.rs?_id=${claim.a}']}}"), "policy.clients.a.limit[0]", "policy.users only", None),
    (upstream("url: http://127.0.0.1:8090/fhir\n  authorization: @[]"), "upstream.authorization", "must not be a list", None),
    # Words that are not among those that there are.
    (settings(upstream="upstream: {url: http://127.0.0.1:1/f, fhir_version: @r4}"), "upstream.fhir_version", "must be R4, R4B or R5", "R4"),
    (
        policy("users: {Patient: @everthing}"),
        "policy.users.Patient",
        "related_patient or nothing",
        "everything",
    ),
    (policy("clients: {app: {role: @sytem}}"), "policy.clients.app.role", "must be system", "system"),
    (policy('absent_and_forbidden: @"404"'), "policy.absent_and_forbidden", "must be 404 or 403, without quotes", None),
    (policy("absent_and_forbidden: @410"), "policy.absent_and_forbidden", "must be 404 or 403", None),
    (issuer("algorithms: [@HS256]"), "issuers[0].algorithms[0]", "must be RS256", "RS256"),
    (issuer("algorithms: [@none]"), "issuers[0].algorithms[0]", "must be RS256", None),
    # Words that some readers take for booleans.
    (upstream("url: http://127.0.0.1:8090/fhir\n  authorization: @no"), "upstream.authorization", '"no" is a boolean to some', None),
    (upstream("url: http://127.0.0.1:8090/fhir\n  allow_http: @yes"), "upstream.allow_http", '"yes" is a boolean to some', None),
    # Keys without a value, which would read as absent, and lists that would read as all.
    (policy("clients:@\n"), "policy.clients", "has no value", None),
    (policy("clients: {app: @null}"), "policy.clients.app", "has no value", None),
    (policy("shared_types: [@~]"), "policy.shared_types[0]", "has no value", None),
    (settings(more="policy:@"), "policy", "has no value", None),
    (issuer("audiences: @[]"), "issuers[0].audiences", "must not be empty", None),
    (issuer('audiences: [@""]'), "issuers[0].audiences[0]", "must not be empty", None),
    (issuer('audiences: @["*"]'), "issuers[0].audiences", "compared whole", None),
    (issuer("algorithms: @[]"), "issuers[0].algorithms", "must not be empty", None),
    (issuer("claims: {scope: @[]}"), "issuers[0].claims.scope", "without scopes no token opens anything", None),
    (settings(issuers="issuers: @[]"), "issuers", "must not be empty", None),
    (server("cors: {origins: @[]}"), "server.cors.origins", "must not be empty", None),
    (server('cors: {origins: [@"*"]}'), "server.cors.origins[0]", "every origin is not allowed here", None),
    (server("trusted_proxies: [@0.0.0.0/0]"), "server.trusted_proxies[0]", "too wide", None),
    (server('trusted_proxies: [@"::/0"]'), "server.trusted_proxies[0]", "too wide", None),
    (policy("audit: {sinks: @[]}"), "policy.audit.sinks", "must not be empty", None),
    (policy("compartment_additions: {Device: @[]}"), "policy.compartment_additions.Device", "must not be empty", None),
    # Durations and sizes.
    (issuer("leeway: @30"), "issuers[0].leeway", "must be a duration with its unit", None),
    (issuer("leeway: @30sec"), "issuers[0].leeway", "must be a duration with its unit", None),
    (issuer("leeway: @10m"), "issuers[0].leeway", "must be at most 5m", None),
    (issuer("max_token_lifetime: @0s"), "issuers[0].max_token_lifetime", "must be more than zero", None),
    (policy("limits: {token: @16KB}"), "policy.limits.token", "must be a size with its unit", None),
    (policy("limits: {body: @0B}"), "policy.limits.body", "must be more than zero", None),
    (policy("limits: {entries: @0}"), "policy.limits.entries", "must be at least 1", None),
    (policy("limits: {depth: @1000}"), "policy.limits.depth", "must be at most 256", None),
    # Addresses.
    (settings(server="server: {public_url: @https://fhir.example.org/fhir/}"), "server.public_url", "no slash at the end", None),
    (settings(server="server: {public_url: @https://fhir.example.org/fhir?a=b}"), "server.public_url", "no query and no fragment", None),
    (settings(server='server: {public_url: @"https://fhir.example.org/#x"}'), "server.public_url", "no query and no fragment", None),
    (settings(server="server: {public_url: @fhir.example.org/fhir}"), "server.public_url", "must be an absolute http or https URL", None),
    (settings(server="server: {public_url: @ftp://fhir.example.org}"), "server.public_url", "must be an absolute http or https URL", None),
    (settings(server="server: {public_url: @https://fhir..example.org:99999/x}"), "server.public_url", "must be an absolute", None),
    (settings(server="server: {public_url: @https:///fhir}"), "server.public_url", "must be an absolute http or https URL", None),
    (settings(server="server: {public_url: @https://a_b.example/fh%69r}"), "server.public_url", "plain segments", None),
    (settings(server="server: {public_url: @https://a.example/a/../b}"), "server.public_url", "plain segments", None),
    (settings(server="server: {public_url: @https://a.example//b}"), "server.public_url", "plain segments", None),
    (
        settings(server='server: {public_url: @"https://user:secret\\u0040a.example/b"}'),
        "server.public_url",
        "no user name or password",
        None,
    ),
    (settings(server="server: {public_url: @https://a.example/é}"), "server.public_url", "must be an absolute http or https URL", None),
    (server("listen: @8080"), "server.listen", "must be a text, not a number", None),
    (server("listen: @localhost"), "server.listen", "must be an address and a port", None),
    (server("listen: @127.0.0.1:70000"), "server.listen", "must be an address and a port", None),
    (server('listen: @"[zz]:80"'), "server.listen", "must be an address and a port", None),
    (server("management: @127.0.0.1:8080"), "server.management", "must be another address than server.listen", None),
    (server("management: @0.0.0.0:8080"), "server.management", "must be another address than server.listen", None),
    (server("trusted_proxies: [@10.0.0.1/8]"), "server.trusted_proxies[0]", "without host bits", None),
    (server("trusted_proxies: [@proxy]"), "server.trusted_proxies[0]", "must be an address or a network", None),
    (server("cors: {origins: [@https://app.example/]}"), "server.cors.origins[0]", "an origin is scheme, host and port", None),
    (server("cors: {origins: [@https://App.example]}"), "server.cors.origins[0]", "in lower case", None),
    (upstream("url: @http://hapi:8080/fhir"), "upstream.url", "plain http to an address that is not loopback", None),
    (upstream("url: @http://10.0.0.1:8080/fhir"), "upstream.url", "set upstream.allow_http: true", None),
    (upstream("url: @https://fhir.example.org/fhir"), "upstream.url", "is the gateway itself", None),
    (upstream("url: @http://localhost:8080/x"), "upstream.url", "is the gateway itself", None),
    (settings(issuers="issuers: [{issuer: @http://idp.example.org}]"), "issuers[0].issuer", "plain http to an address", None),
    (issuer("jwks_uri: @http://idp.example.org/keys"), "issuers[0].jwks_uri", "allow_http of this issuer", None),
    (issuer("fhir_user_bases: [@https://ehr.example/fhir/]"), "issuers[0].fhir_user_bases[0]", "no slash at the end", None),
    (settings(issuers="issuers: [{issuer: @https://idp.example.org?x=1}]"), "issuers[0].issuer", "no query and no fragment", None),
    (
        settings(issuers="issuers: [{issuer: https://a.example}, {issuer: @https://a.example}]"),
        "issuers[1].issuer",
        "is there already",
        None,
    ),
    # Contradictions, files.
    (issuer("jwks_uri: https://a.example/k\n    jwks_file: @gateway.yaml"), "issuers[0].jwks_file", "not from both", None),
    (issuer("jwks_file: @missing.json"), "issuers[0].jwks_file", "the file missing.json cannot be read: No such file", None),
    (issuer("jwks_file: @gateway.yaml"), "issuers[0].jwks_file", "holds no JSON Web Key Set", None),
    (settings(more="policy: @missing.yaml"), "", "cannot be read: No such file or directory", None),
    (issuer("scope_format: @{slash: a}"), "issuers[0].scope_format", "slash is one character", None),
    (issuer("scope_format: {slash: @--}"), "issuers[0].scope_format.slash", "must be one character", None),
    (issuer('scope_format: @{slash: "-", star: "-"}'), "issuers[0].scope_format", "star is one character other than slash", None),
    (issuer("scope_format: {known_urls: @[http://loinc.org]}"), "issuers[0].scope_format.known_urls", "only with escapes: none", None),
    (policy("audit: {sinks: [{file: @none/here.ndjson}]}"), "policy.audit.sinks[0].file", "does not exist", None),
    # Secrets.
    (
        upstream("url: http://127.0.0.1:8090/f\n  authorization: {bearer: @{from_env: NOPE}}"),
        "upstream.authorization.bearer",
        "the environment variable NOPE is not set",
        None,
    ),
    (
        upstream("url: http://127.0.0.1:8090/f\n  authorization: {bearer: @{from_env: EMPTY}}"),
        "upstream.authorization.bearer",
        "the secret is empty",
        None,
    ),
    (
        upstream("url: http://127.0.0.1:8090/f\n  authorization: {bearer: @{from_file: nope}}"),
        "upstream.authorization.bearer",
        "the file nope cannot be read",
        None,
    ),
    (
        upstream("url: http://127.0.0.1:8090/f\n  authorization: {bearer: @{from_evn: A}}"),
        "upstream.authorization.bearer",
        "must be {from_env: NAME}, {from_file: PATH} or a text",
        None,
    ),
    (
        upstream("url: http://127.0.0.1:8090/f\n  authorization: {bearer: @a b}"),
        "upstream.authorization.bearer",
        "no bearer token has",
        None,
    ),
    (
        settings(server="server: {public_url: https://a.example, sealing: {keys: [@short]}}"),
        "server.sealing.keys[0]",
        "at least 32 characters",
        None,
    ),
    # The policy against the release.
    (
        policy("clients: {app: {limit: [@patient/Observatin.rs]}}"),
        "policy.clients.app.limit[0]",
        "has no resource type Observatin",
        "Observation",
    ),
    (policy("clients: {app: {limit: [@patient/Observation.sr]}}"), "policy.clients.app.limit[0]", "this scope grants nothing", None),
    (
        policy('clients: {app: {pin: [@"user/Patient.rs?nope=1"]}}'),
        "policy.clients.app.pin[0]",
        "Patient has no search parameter nope",
        None,
    ),
    (policy("clients: {app: {limit: [@patien/*.rs]}}"), "policy.clients.app.limit[0]", "is no scope for resources", None),
    (policy("clients: {app: {registered_scopes: [@Patient/*.rs]}}"), "policy.clients.app.registered_scopes[0]", "grants nothing", None),
    (policy("users: {Practitioner: [@user/Patient.x]}"), "policy.users.Practitioner[0]", "this scope grants nothing", None),
    (policy("users: {PractitionerRole: @compartment}"), "policy.users.PractitionerRole", "has no compartment", None),
    (policy("shared_types: [@Practioner]"), "policy.shared_types[0]", "has no such resource type", "Practitioner"),
    (policy("shared_types: [@Observation]"), "policy.shared_types[0]", "is in the Patient compartment", None),
    (policy("shared_types: [@Binary]"), "policy.shared_types[0]", "securityContext", None),
    (
        policy("compartment_additions: {@Devise: [patient]}").replace("@", "").replace("[patient]", "@[patient]"),
        "policy.compartment_additions.Devise",
        "has no such resource type",
        "Device",
    ),
    (
        policy("compartment_additions: {Device: [@patien]}"),
        "policy.compartment_additions.Device[0]",
        "no search parameter patien",
        "patient",
    ),
    (policy("compartment_additions: {Device: [@location]}"), "policy.compartment_additions.Device[0]", "does not refer to a Patient", None),
    (policy("compartment_additions: {Observation: @[focus]}"), "policy.compartment_additions.Observation", "would widen it", None),
    (policy("writes: {server_types: [@Patient]}"), "policy.writes.server_types[0]", "is no type that changes", None),
    (policy("writes: {server_types: [@Subscripton]}"), "policy.writes.server_types[0]", "has no such resource type", "Subscription"),
    (
        policy("search: {parameters: {@Observatio: [ward]}}").replace("@", "").replace("[ward]", "@[ward]"),
        "policy.search.parameters.Observatio",
        "has no such resource type",
        "Observation",
    ),
    (policy("search: {parameters: {Observation: [@subject]}}"), "policy.search.parameters.Observation[0]", "FHIR defines subject", None),
    (policy("search: {parameters: {'*': [ward, @patient]}}"), "policy.search.parameters.*[1]", "FHIR defines patient for ", None),
    (policy("search: {parameters: {Observation: [@'subject:in']}}"), "policy.search.parameters.Observation[0]", "FHIR defines", None),
    (
        policy("search: {parameters: {Observation: [@'code:not']}}"),
        "policy.search.parameters.Observation[0]",
        "FHIR defines code:not",
        None,
    ),
    (
        policy("search: {parameters: {Observation: [@_filter]}}"),
        "policy.search.parameters.Observation[0]",
        "is judged by the gateway",
        None,
    ),
    (policy("search: {parameters: {'*': [@_has]}}"), "policy.search.parameters.*[0]", "is judged by", None),
    (
        policy("search: {parameters: {Observation: [@'ward.name']}}"),
        "policy.search.parameters.Observation[0]",
        "must be a search par",
        None,
    ),
    (policy("public: [{interaction: read, type: @ValueSets}]"), "policy.public[0].type", "has no such resource type", "ValueSet"),
]


@pytest.mark.parametrize(("text", "key", "says", "nearest"), CASES, ids=[f"{n}-{case[1]}" for n, case in enumerate(CASES)])
def test_bad_settings(tmp_path: Path, text: str, key: str, says: str, nearest: str | None) -> None:
    findings, place = judged(tmp_path, text)
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    assert errors, findings
    met = [finding for finding in errors if finding.key == key and says in finding.text]
    assert met, [str(finding) for finding in errors]
    assert (met[0].place.line, met[0].place.column) == place, str(met[0])
    assert met[0].nearest == nearest


def test_what_asks_for_nothing_is_accepted(tmp_path: Path) -> None:
    text = issuer("claims: {tenant: []}")
    findings, _ = judged(tmp_path, text + "policy: {limits: {requests_per_minute: null}, audit: {required: false}}\n")
    assert findings == []


def test_all_findings_come_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = """server:
  public_url: https://fhir.example.org/fhir/
  managment: 127.0.0.1:8080
upstream: {url: http://hapi:8090/fhir, fhir_version: R4, compartment_search: each}
issuers:
  - audiences: []
  - {issuer: https://a.example, leeway: 30}
  - {issuer: https://a.example, introspection: {}}
policy:
  clients: {a: {rle: system, limit: [patient/Observatin.rs]}, b: }
  shared_types: [Observation]
  limits: {token: 1}
"""
    findings, _ = judged(tmp_path, text)
    assert [(f.place.line, f.key) for f in findings if f.severity is Severity.ERROR] == [
        (2, "server.public_url"),
        (3, "server.managment"),
        (4, "upstream.url"),
        (4, "upstream.compartment_search"),
        (6, "issuers[0].issuer"),
        (6, "issuers[0].audiences"),
        (7, "issuers[1].leeway"),
        (8, "issuers[2].issuer"),
        (8, "issuers[2].introspection"),
        (8, "issuers[2].introspection"),
        (10, "policy.clients.a.rle"),
        (10, "policy.clients.a.limit[0]"),
        (10, "policy.clients.b"),
        (11, "policy.shared_types[0]"),
        (12, "policy.limits.token"),
    ]


WARNINGS = [
    (settings(server="server: {public_url: https://a.example}"), "server.sealing.keys", "one is made at start"),
    (upstream("url: http://127.0.0.1:8090/f\n  authorization: {bearer: abc}"), "upstream.authorization.bearer", "a secret in the open"),
    (policy("clients: {}"), "policy.clients", "every client is refused"),
    (policy("clients: {app: {limit: []}}"), "policy.clients.app.limit", "nothing at all"),
    (policy('clients: {"*": {role: system}}'), "policy.clients.*.role", "every client that is not named"),
    (policy("clients: {app: {pin: [system/*.rs]}}"), "policy.clients.app.pin[0]", "only with role: system"),
    (policy("clients: {app: {limit: [patient/*.rs, patient/*.rs]}}"), "policy.clients.app.limit[1]", "is in this list already"),
    (policy("users: {Practitioner: []}"), "policy.users.Practitioner", "get nothing"),
    (policy("users: {Patient: everything}"), "policy.users.Patient", "opens every patient's record"),
    (policy("public: [{interaction: read, type: Patient}]"), "policy.public[0].type", "without a token"),
    (policy("public: [{interaction: create, type: Observation}]"), "policy.public[0].interaction", "everyone can write"),
    (policy("users: []"), "policy.users", "users get nothing"),
    (
        policy("clients: {a: {registered_scopes: [patient/Observation.rs], limit: [patient/Observation.c]}}"),
        "policy.clients.a.limit",
        "leaves nothing of its registered_scopes",
    ),
    (policy("clients: {a: {pin: [patient/Observation.rs], limit: [patient/Patient.rs]}}"), "policy.clients.a.limit", "of its pin"),
    (policy("clients: {a: {limit: [patient/Patient.r, patient/*.rs]}}"), "policy.clients.a.limit[0]", "adds nothing: patient/*.rs"),
    (
        policy("operations: {$a: {level: type, method: GET, scopes: [__x], answer: none}}"),
        "policy.operations.$a.answer",
        "is not looked at",
    ),
    (
        policy("users: [{boundary: patient}, {when: {fhir_user: Patient}, boundary: patient}]"),
        "policy.users[1]",
        "changes nothing",
    ),
    (policy("users: [{boundary: nothing}, {boundary: everything}]"), "policy.users[1]", "can never open anything: users[0]"),
    (policy("users: [{any_of: [{boundary: everything}, {boundary: patient}]}]"), "policy.users[0].any_of[1]", "users[0].any_of[0] gives"),
    (policy("users: [{any_of: [{boundary: patient}, {boundary: nothing}]}]"), "policy.users[0].any_of[1]", "adds nothing"),
    (
        policy("users: [{boundary: [user/Observation.rs]}, {when: {fhir_user: Patient}, boundary: [user/Patient.rs]}]"),
        "policy.users[1]",
        "leaves nothing together with users[0]",
    ),
    (
        policy("public: [{interaction: read, type: ValueSet}, {interaction: read, type: ValueSet}]"),
        "policy.public[1]",
        "in this list already",
    ),
    (policy("actors: {robot: {limit: []}}"), "policy.actors.robot.limit", "nothing at all"),
]


@pytest.mark.parametrize(("text", "key", "says"), WARNINGS)
def test_what_is_probably_not_meant_is_a_warning(tmp_path: Path, text: str, key: str, says: str) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(text)
    examination = examine(file, ENVIRONMENT, proxying=True)
    assert examination.settings is not None
    assert [(f.key, f.severity) for f in examination.findings] == [(key, Severity.WARNING)]
    assert says in examination.findings[0].text


def test_a_key_file_with_private_keys_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [{"kty": "RSA", "n": "x", "e": "AQAB", "d": "secret"}]}))
    findings, _ = judged(tmp_path, issuer("jwks_file: keys.json"))
    assert [(f.key, f.severity, "private" in f.text) for f in findings] == [("issuers[0].jwks_file", Severity.WARNING, True)]
    (tmp_path / "keys.json").write_text('{"keys": []}')
    assert "holds no key" in judged(tmp_path, issuer("jwks_file: keys.json"))[0][0].text


def test_findings_of_the_policy_file_name_that_file(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("clients:\n  a: {limt: []}\n")
    findings, _ = judged(tmp_path, settings(more="policy: policy.yaml"))
    assert [str(finding) for finding in findings] == [
        f'{tmp_path / "policy.yaml"}:2:7: error: policy.clients.a.limt: unknown key; did you mean "limit"?'
    ]


@pytest.mark.parametrize(("text", "says"), [("", "must hold a mapping"), ("[]", "must hold a mapping"), ("x", "must hold a mapping")])
def test_a_file_that_holds_no_mapping(tmp_path: Path, text: str, says: str) -> None:
    findings, _ = judged(tmp_path, text)
    assert [(f.place.line, f.place.column, says in f.text) for f in findings] == [(1, 1, True)]
    (tmp_path / "policy.yaml").write_text(text)
    findings, _ = judged(tmp_path, settings(more="policy: policy.yaml"))
    assert [(f.place.source, says in f.text) for f in findings] == [(str(tmp_path / "policy.yaml"), True)]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(tmp_path / "nope.yaml", environment={})
    assert "cannot be read: No such file or directory" in str(caught.value.findings[0])
    assert str(caught.value.findings[0]) in caught.value.__notes__


def test_a_finding_as_json(tmp_path: Path) -> None:
    findings, _ = judged(tmp_path, server("managment: x"))
    assert findings[0].as_json() == {
        "severity": "error",
        "file": str(tmp_path / "gateway.yaml"),
        "line": 4,
        "column": 3,
        "key": "server.managment",
        "message": "unknown key",
        "nearest": "management",
    }


@pytest.mark.parametrize(
    ("keys", "key", "says"),
    [
        ("value_sets: {files: [@missing.json]}", "files[0]", "cannot be read: No such file"),
        ("value_sets: {files: [@gateway.yaml]}", "files[0]", "it is no JSON"),
        ("value_sets: {files: [@patient.json]}", "files[0]", "it is no ValueSet"),
        ("value_sets: {files: [@system.json]}", "files[0]", "does not list each code"),
        ("value_sets: {files: [set.json, @set.json]}", "files[1]", "http://example.org/set is given twice"),
        (
            "value_sets: {from_upstream: ['http://example.org/set'], files: [@set.json]}",
            "files[0]",
            "http://example.org/set is given twice",
        ),
        ("value_sets: {from_upstream: [@ValueSet/1]}", "from_upstream[0]", "must be the canonical URL of a value set"),
    ],
)
def test_value_sets_are_whole_and_named_once(tmp_path: Path, keys: str, key: str, says: str) -> None:
    listed = {"include": [{"system": "http://one", "concept": [{"code": "a"}]}]}
    for name, resource in {
        "patient": {"resourceType": "Patient"},
        "system": {"resourceType": "ValueSet", "url": "http://example.org/system", "compose": {"include": [{"system": "http://one"}]}},
        "set": {"resourceType": "ValueSet", "url": "http://example.org/set", "compose": listed},
    }.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(resource))
    findings, place = judged(tmp_path, policy(keys))
    assert [(f.key, says in f.text) for f in findings] == [(f"policy.value_sets.{key}", True)]
    assert (findings[0].place.line, findings[0].place.column) == place


@pytest.mark.parametrize("name", ["http://example.org/set", "http://example.org/there", "http://example.org/there|2"])
def test_scopes_of_the_policy_may_name_value_sets(tmp_path: Path, name: str) -> None:
    listed = {"include": [{"system": "http://one", "concept": [{"code": "a"}]}]}
    (tmp_path / "set.json").write_text(json.dumps({"resourceType": "ValueSet", "url": "http://example.org/set", "compose": listed}))
    sets = "value_sets: {files: [set.json], from_upstream: ['http://example.org/there', 'http://example.org/there|2']}"
    known = policy(f'{sets}\n  clients: {{app: {{limit: ["patient/Observation.rs?code:in={name}"]}}}}')
    assert judged(tmp_path, known)[0] == []
    (finding,) = judged(tmp_path, policy(f'clients: {{app: {{limit: ["patient/Observation.rs?code:in={name}"]}}}}'))[0]
    assert (finding.key, "is not known here" in finding.text) == ("policy.clients.app.limit[0]", True)
