"""Tenants in the settings: each judged as a gateway by itself, findings where they are written, nothing shared that is built."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from smart_gateway.cli.schema import schema_text
from smart_gateway.errors import PageRefused, SettingsError
from smart_gateway.settings.building.listeners import build_doors
from smart_gateway.settings.building.snapshot import Built, build
from smart_gateway.settings.findings import Severity
from smart_gateway.settings.loading import Examination, examine, load_settings
from smart_gateway.settings.model import Settings

ENVIRONMENT = {"SEAL": "0123456789012345678901234567890123456789", "REDIS": "rediss://cache.example:6379"}
SERVER = "server: {public_url: 'https://fhir.example.org:8443/fhir', sealing: {keys: [{from_env: SEAL}]}}\n"
NORTH = """  - name: north
    path: /north
    upstream: {url: http://127.0.0.1:8090/fhir, fhir_version: R4}
    issuers: [{issuer: https://north.example.org}]
"""
SOUTH = """  - name: south
    host: south.example.org
    upstream: {url: http://127.0.0.1:8091/fhir, fhir_version: R5}
    issuers: [{issuer: https://south.example.org}]
"""

BOTH = f"{SERVER}tenants:\n{NORTH}{SOUTH}"


def north(old: str, new: str) -> str:
    return f"{SERVER}tenants:\n{NORTH}".replace(old, new)


def south(old: str, new: str) -> str:
    return f"{SERVER}tenants:\n{SOUTH}".replace(old, new)


def both(old: str, new: str) -> str:
    return BOTH.replace(old, new)


def examined(tmp_path: Path, text: str, environment: dict[str, str] | None = None, **files: str) -> Examination:
    (tmp_path / "gateway.yaml").write_text(text)
    for name, content in files.items():
        (tmp_path / f"{name}.yaml").write_text(content)
    return examine(tmp_path / "gateway.yaml", {**ENVIRONMENT, **(environment or {})}, proxying=True)


def loaded(tmp_path: Path, text: str = BOTH, environment: dict[str, str] | None = None, **files: str) -> Settings:
    found = examined(tmp_path, text, environment, **files)
    assert found.settings is not None, found.findings
    return found.settings


def test_each_tenant_has_settings_as_if_it_were_alone(tmp_path: Path) -> None:
    north, south = loaded(tmp_path).each
    assert (north.server.public_url, south.server.public_url) == (
        "https://fhir.example.org:8443/fhir/north",
        "https://south.example.org:8443/fhir",
    )
    assert (north.upstream.url, south.upstream.url) == ("http://127.0.0.1:8090/fhir", "http://127.0.0.1:8091/fhir")
    assert (north.upstream.fhir_version, south.upstream.fhir_version) == ("R4", "R5")
    assert [issuer.issuer for issuer in (*north.issuers, *south.issuers)] == ["https://north.example.org", "https://south.example.org"]
    assert north.tenant is not None
    assert (north.tenant.name, north.tenant.host) == ("north", None)
    assert south.tenant is not None
    assert (south.tenant.name, south.tenant.host) == ("south", "south.example.org")
    assert (north.each, south.each) == ((), ())


def test_host_and_path_together(tmp_path: Path) -> None:
    text = f"{SERVER}tenants:\n{SOUTH}    path: /a/b.c\n"
    assert loaded(tmp_path, text).each[0].server.public_url == "https://south.example.org:8443/fhir/a/b.c"


def test_of_names_one(tmp_path: Path) -> None:
    settings = loaded(tmp_path)
    assert settings.of("south") is settings.each[1]
    with pytest.raises(SettingsError, match=r"name one of them.*north, south"):
        settings.of(None)
    with pytest.raises(SettingsError, match="know no tenant 'east'"):
        settings.of("east")
    alone = load_settings(
        {"server": {"public_url": "https://a.example"}, "upstream": {"fhir_version": "R4"}, "issuers": [{"issuer": "https://b.example"}]}
    )
    assert alone.of(None) is alone
    with pytest.raises(SettingsError, match="know no tenant 'north'"):
        alone.of("north")


def test_the_process_by_itself_lets_nobody_in(tmp_path: Path) -> None:
    """Were it built by mistake: no FHIR server to ask, and no issuer that there is."""
    settings = loaded(tmp_path)
    assert settings.upstream.url is None
    assert [issuer.issuer for issuer in settings.issuers] == ["https://stand-in.invalid"]


@pytest.mark.parametrize(
    ("text", "key", "says"),
    [
        (f"{SERVER}tenants: @[]\n", "tenants", "must not be empty"),
        (f"{SERVER}tenants: @{{}}\n", "tenants", "must be a list of tenants"),
        (f"{SERVER}tenants: @north\n", "tenants", "must be a list of tenants"),
        (f"{SERVER}tenants: @\n", "tenants", "has no value"),
        (f"{SERVER}tenants: [@7]\n", "tenants[0]", "must be a mapping"),
        (f"{SERVER}tenants:\n{NORTH}@policy: {{}}\n", "policy", "is each tenant's own"),
        (f"{SERVER}tenants:\n{NORTH}@upstream: {{fhir_version: R4}}\n", "upstream", "is each tenant's own"),
        (f"{SERVER}tenants:\n{NORTH}@issuers: []\n", "issuers", "is each tenant's own"),
        (f"{SERVER}tenants:\n{NORTH}@revocation: {{}}\n", "revocation", "is each tenant's own"),
        (f"{SERVER}tenants:\n{NORTH}@hooks: {{}}\n", "hooks", "is each tenant's own"),
        (f"{SERVER}tenants:\n{NORTH}@polcy: {{}}\n", "polcy", "unknown key"),
        (f"{SERVER}tenants:\n{NORTH}    @pth: /x\n", "tenants[0].pth", "unknown key"),
        (f"{SERVER}tenants:\n{NORTH}    @server: {{}}\n", "tenants[0].server", "is the same for all tenants"),
        (f"{SERVER}tenants:\n{NORTH}    @tenants: []\n", "tenants[0].tenants", "unknown key"),
        (north("- name: north\n    path: /north", "- @name: north"), "tenants[0]", "needs a path or a host"),
        (north("name: north\n    path", "@path"), "tenants[0].name", "is missing"),
        (north("name: north", "name: @no/rth"), "tenants[0].name", "must be a name"),
        (north("path: /north", "path: @north"), "tenants[0].path", "must be a path"),
        (north("path: /north", "path: @/north/"), "tenants[0].path", "must be a path"),
        (north("path: /north", "path: @/../north"), "tenants[0].path", "must be a path"),
        (north("path: /north", "path: @/.well-known"), "tenants[0].path", "must be a path"),
        (north("path: /north", "path: @/no%72th"), "tenants[0].path", "must be a path"),
        (north("path: /north", "path: @/"), "tenants[0].path", "must be a path"),
        (south("host: s", "host: @S"), "tenants[0].host", "in lower case"),
        (south("host: south.example.org", "host: @south.example.org:80"), "tenants[0].host", "without a port"),
        (south("host: south.example.org", "host: @south.example.org."), "tenants[0].host", "without a dot"),
        (south("host: south.example.org", "host: @'*.example.org'"), "tenants[0].host", "must be a host"),
        (both("name: south", "name: @North"), "tenants[1].name", "is there already"),
        (both("host: south.example.org", "path: @/north"), "tenants[1].path", "address of the tenant north"),
        (both("host: south.example.org", "path: @/north/south"), "tenants[1].path", "lies within"),
        (both("host: south.example.org", "host: @fhir.example.org"), "tenants[1].host", "one lies within the other"),
        (both("fhir_version: R5", "fhir_version: @R6"), "tenants[1].upstream.fhir_version", "must be R4"),
        (north("{url: http://127.0.0.1:8090/fhir, ", "@{"), "tenants[0].upstream.url", "is missing"),
        (north("issuer: https", "issuer: @http"), "tenants[0].issuers[0].issuer", "plain http"),
        (f"{SERVER}tenants:\n{NORTH}    policy: {{limits: {{entries: @many}}}}\n", "tenants[0].policy.limits.entries", "whole number"),
        (f"{SERVER}tenants:\n{NORTH}    policy: @\n", "tenants[0].policy", "has no value"),
        (f"{SERVER}tenants:\n{NORTH}    listeners: [{{name: @x}}]\n", "tenants[0].listeners[0].name", "one of server.listeners"),
        (f"{SERVER}tenants:\n{NORTH}    cors: {{origins: [@'*']}}\n", "tenants[0].cors.origins[0]", "name them"),
        (f"{SERVER}tenants:\n{NORTH}    sealing: {{keys: [@short]}}\n", "tenants[0].sealing.keys[0]", "at least 32 characters"),
        (f"{SERVER.replace('public_url', '@publicurl')}tenants:\n{NORTH}", "server.publicurl", "unknown key"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_where_it_is_written(tmp_path: Path, text: str, key: str, says: str) -> None:
    before, mark, _ = text.partition("@")
    assert mark
    findings = [one for one in examined(tmp_path, text.replace("@", "", 1)).findings if one.severity is Severity.ERROR]
    met = [finding for finding in findings if finding.key == key]
    assert [says in finding.text for finding in met] == [True], findings
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    if says != "has no value":  # its place is behind the colon
        assert (met[0].place.line, met[0].place.column) == (line, column)
    assert (met[0].tenant is not None) == key.startswith("tenants[")


def test_a_finding_in_a_tenants_own_file_names_file_line_and_tenant(tmp_path: Path) -> None:
    text = f"{SERVER}tenants:\n{NORTH}    policy: north.yaml\n  - east.yaml\n"
    east = NORTH.replace("  - ", "    ").replace("north", "east").replace("R4", "R9")
    found = [str(one) for one in examined(tmp_path, text, north="\nclients:\n  a: {limits: []}\n", east=east).findings]
    assert found == [
        f"{tmp_path}/east.yaml:3:63: error: tenant east: tenants[1].upstream.fhir_version: must be R4, R4B or R5",
        f'{tmp_path}/north.yaml:3:7: error: tenant north: tenants[0].policy.clients.a.limits: unknown key; did you mean "limit"?',
    ]


def test_a_file_that_is_no_yaml_names_its_tenant(tmp_path: Path) -> None:
    text = f"{SERVER}tenants:\n{NORTH}    policy: north.yaml\n{SOUTH}"
    found = examined(tmp_path, text, north="clients: [")
    assert found.settings is None
    assert [(one.tenant, Path(one.place.source).name) for one in found.findings] == [("north", "north.yaml")]
    missing = examined(tmp_path, f"{SERVER}tenants:\n{SOUTH}  - gone.yaml\n").findings
    assert [(one.tenant, "cannot be read" in one.text) for one in missing] == [("gone", True)]


def test_what_is_wrong_with_the_process_is_said_once(tmp_path: Path) -> None:
    text = both("sealing:", "management: nowhere, sealing:")
    assert [(one.key, one.tenant) for one in examined(tmp_path, text).findings] == [("server.management", None)]


def test_every_file_is_watched_and_every_rule_knows_its_place(tmp_path: Path) -> None:
    text = f"{SERVER}tenants:\n{NORTH}    policy: north.yaml\n  - east.yaml\n"
    east = NORTH.replace("  - ", "    ").replace("north", "east") + "    policy: {clients: {b: {limit: [patient/*.rs]}}}\n"
    found = examined(tmp_path, text, north="clients:\n  a: {limit: [patient/*.rs]}\n", east=east)
    assert {path.name for path in found.files} == {"gateway.yaml", "north.yaml", "east.yaml"}
    north, east_too = found.each
    assert north.settings is not None
    assert north.settings.places["clients", "a", "limit", 0] == f"{tmp_path}/north.yaml:2:15"
    assert east_too.settings is not None
    assert east_too.settings.places["clients", "b", "limit", 0].startswith(f"{tmp_path}/east.yaml:5:")


def test_variables_and_options_reach_into_tenants(tmp_path: Path) -> None:
    environment = {
        "SMART_GATEWAY_TENANTS__0__UPSTREAM__URL": "http://127.0.0.1:1/a",
        "SMART_GATEWAY_TENANTS__0__POLICY": "north.yaml",
        "SMART_GATEWAY_TENANTS__0__POLICY__LIMITS__ENTRIES": "7",
    }
    north, south = loaded(tmp_path, environment=environment, north="limits: {entries: 3, depth: 9}\n").each
    assert (north.upstream.url, north.policy.limits.entries, north.policy.limits.depth) == ("http://127.0.0.1:1/a", 7, 9)
    assert (south.upstream.url, south.policy.limits.entries) == ("http://127.0.0.1:8091/fhir", 1000)


def test_the_same_tokens_at_two_tenants_are_warned_of(tmp_path: Path) -> None:
    shared = "https://idp.example.org"
    text = both("https://north.example.org", shared).replace("issuer: https://south.example.org", f"issuer: {shared}")
    assert examined(tmp_path, text).findings == ()  # their audiences are their own bases
    shared_too = text.replace(f"{shared}}}", f"{shared}, audiences: [fhir]}}")
    found = examined(tmp_path, shared_too)
    assert found.settings is not None
    assert [(one.severity, one.tenant, one.key) for one in found.findings] == [
        (Severity.WARNING, "south", "tenants[1].issuers[0].audiences")
    ]


def built(tmp_path: Path, text: str = BOTH, **more: Any) -> list[Built]:
    return [build(one, recording=False, **more) for one in loaded(tmp_path, text).each]


@pytest.mark.parametrize("server", [SERVER, SERVER.replace(", sealing: {keys: [{from_env: SEAL}]}", "")])
def test_what_one_seals_opens_at_no_other(tmp_path: Path, server: str) -> None:
    north, south = built(tmp_path, f"{server}tenants:\n{NORTH}{SOUTH}", sealing_key=b"m" * 32)
    sealed = north.snapshot.sealer.seal(b"page", b"context", 0, b"n" * 12)
    assert north.snapshot.sealer.open(sealed, b"context", 1) == b"page"
    with pytest.raises(PageRefused):
        south.snapshot.sealer.open(sealed, b"context", 1)
    again, _ = built(tmp_path, f"{server}tenants:\n{NORTH}{SOUTH}", sealing_key=b"m" * 32)
    assert again.snapshot.sealer.open(sealed, b"context", 1) == b"page"  # another replica


def test_nothing_that_is_built_is_the_same_object(tmp_path: Path) -> None:
    north, south = built(tmp_path)
    assert (north.snapshot.instance, south.snapshot.instance) == ("north", "south")
    assert north.verifier is not south.verifier
    assert north.cache is not south.cache
    assert north.audit.trail is not south.audit.trail
    assert north.expansions is not south.expansions
    for part in ("policy", "parser", "verifier", "possessions", "listeners", "client_certificates", "sealer", "log", "credentials"):
        assert getattr(north.snapshot, part) is not getattr(south.snapshot, part), part


def test_keys_in_redis_begin_with_the_tenants_name(tmp_path: Path) -> None:
    pytest.importorskip("redis")
    server = SERVER.replace("sealing:", "shared_cache: {redis: {url: {from_env: REDIS}}}, sealing:")
    configs = [one.cache.config for one in built(tmp_path, f"{server}tenants:\n{NORTH}{SOUTH}")]  # type: ignore[attr-defined]
    assert [config.prefix for config in configs] == ["smart-gateway:north:", "smart-gateway:south:"]
    assert configs[0].sealing_keys != configs[1].sealing_keys


def test_a_tenant_is_at_the_listeners_that_it_names(tmp_path: Path) -> None:
    listed = "[{name: a, listen: '127.0.0.1:2'}, {name: b, listen: '127.0.0.1:3', limit: [patient/*.rs]}]"
    server = SERVER.replace("sealing:", f"listen: 127.0.0.1:1, listeners: {listed}, sealing:")
    own = "    listeners: [{name: b, limit: [patient/Patient.r], token: {missing: reject}}]\n"
    settings = loaded(tmp_path, f"{server}tenants:\n{NORTH}{own}{SOUTH}")
    assert [door.name for door in build_doors(settings)] == ["", "a", "b"]
    north, south = (build(one, recording=False).snapshot.listeners for one in settings.each)
    at = {name: {"smart_gateway.listener": name} for name in ("", "a", "b")}
    assert [north.serves(at[name]) for name in ("", "a", "b")] == [False, False, True]
    assert [south.serves(at[name]) for name in ("", "a", "b")] == [True, True, True]
    limits = [[scope.text for scope in found.of(at["b"]).limit or ()] for found in (north, south)]
    assert limits == [["patient/Patient.r"], ["patient/*.rs"]]
    assert [found.of(at["b"]).token.missing.value for found in (north, south)] == ["reject", "limit"]


def test_the_rest_of_a_listener_is_for_all(tmp_path: Path) -> None:
    server = SERVER.replace("sealing:", "listeners: [{name: a, listen: '127.0.0.1:2'}], sealing:")
    found = examined(tmp_path, f"{server}tenants:\n{NORTH}    listeners: [{{name: a, listen: '127.0.0.1:9'}}]\n").findings
    assert [(one.key, one.text) for one in found] == [("tenants[0].listeners[0].listen", "is said in server.listeners, for all tenants")]


def test_own_cors_sealing_and_description(tmp_path: Path) -> None:
    server = SERVER.replace("sealing:", "cors: {origins: [https://all.example]}, sealing:")
    own = "    cors: {origins: [https://north.app]}\n    sealing: {lifetime: 1m}\n"
    north, south = loaded(tmp_path, f"{server}tenants:\n{NORTH}{own}{SOUTH}").each
    assert (north.server.cors and north.server.cors.origins, south.server.cors and south.server.cors.origins) == (
        ["https://north.app"],
        ["https://all.example"],
    )
    assert (north.server.sealing.lifetime, south.server.sealing.lifetime) == (60, 900)


def test_the_schema_takes_both_forms_and_no_third() -> None:
    schema = json.loads(schema_text())
    shared = yaml.safe_load(f"{SERVER}tenants:\n{NORTH}{SOUTH}  - east.yaml\n")
    jsonschema.validate(shared, schema, jsonschema.Draft7Validator)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"server": shared["server"]}, schema, jsonschema.Draft7Validator)
    nameless = {**shared, "tenants": [{key: value for key, value in shared["tenants"][0].items() if key != "name"}]}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(nameless, schema, jsonschema.Draft7Validator)
