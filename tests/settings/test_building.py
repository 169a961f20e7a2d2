"""From settings to what runs: every default is the documented one, every section that is present is closed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from smart_gateway.fhir.interactions import Interaction
from smart_gateway.fhir.references import Bases
from smart_gateway.gateway.credentials import ForwardedToken, IdentityHeaders, NoAuthorization
from smart_gateway.observe.events import DecisionEvent
from smart_gateway.policy.model import (
    DEFAULT_SHARED_TYPES,
    DEFAULT_USERS,
    ClientRule,
    PlainScopes,
    Policy,
    PublicInteraction,
    UserBound,
    UserRule,
)
from smart_gateway.request.limits import Limits
from smart_gateway.scopes.parsing import parse_scope
from smart_gateway.settings.building.policy import build_policy
from smart_gateway.settings.building.snapshot import build, build_issuers, build_limits
from smart_gateway.settings.loading import load_settings
from smart_gateway.settings.model import Settings
from smart_gateway.settings.sections.limits import LimitsSettings
from smart_gateway.tokens.cache import DenyList
from smart_gateway.tokens.issuer import ClaimPaths, IssuerConfig

PUBLIC, UPSTREAM = "https://fhir.example.org/fhir", "http://127.0.0.1:8090/fhir"
KEY = "0123456789012345678901234567890123456789"


def load(**sections: Any) -> Settings:
    made: dict[str, Any] = {
        "server": {"public_url": PUBLIC},
        "upstream": {"url": UPSTREAM, "fhir_version": "R4"},
        "issuers": [{"issuer": "https://idp.example.org"}],
    }
    for name, section in sections.items():
        made[name] = {**made.get(name, {}), **section} if isinstance(section, Mapping) else section
    return load_settings(made, environment={})


def policy(**sections: Any) -> Policy:
    return build_policy(load(policy=sections))


def test_the_least_file_has_the_documented_defaults() -> None:
    built = build_policy(load())
    assert built == Policy(built.vocabulary, Bases(PUBLIC, UPSTREAM), compartment_additions={"Device": ("patient",)})
    assert (built.clients, built.users, built.shared_types) == (None, DEFAULT_USERS, DEFAULT_SHARED_TYPES)
    assert (built.foreign_patient_search, built.absent_and_forbidden, built.update_as_create) == ("forbidden", 404, "never")
    assert build_policy(load(upstream={"fhir_version": "R5"})).compartment_additions == {}
    assert build_limits(load().policy) == Limits()
    assert build_issuers(load()) == (IssuerConfig("https://idp.example.org", (PUBLIC,)),)


def test_limits_have_the_names_of_the_limits() -> None:
    assert {field.name for field in fields(Limits)} | {"requests_per_minute"} == set(LimitsSettings.model_fields)


def test_claim_paths_have_their_names() -> None:
    issuer = load(issuers=[{"issuer": "https://a.example", "claims": {"patient": ["ext.patient"], "scope": ["scp"]}}])
    assert build_issuers(issuer)[0].claims == ClaimPaths(patient=("ext.patient",), scope=("scp",))


def test_a_section_that_is_present_is_closed() -> None:
    built = policy(clients={}, users={"Patient": "compartment"}, shared_types=[], compartment_additions={})
    assert built.clients == {}
    assert {kind: rule.bound for kind, rule in built.users.items()} == {
        **dict.fromkeys(DEFAULT_USERS, UserBound.NOTHING),
        "Patient": UserBound.COMPARTMENT,
    }
    assert (built.shared_types, built.compartment_additions) == (frozenset(), {})


def test_clients() -> None:
    scope = parse_scope("patient/*.rs")
    built = policy(
        clients={
            "growth-chart": {"registered_scopes": ["patient/*.rs", "launch/patient", "openid"]},
            "backend-1": {"role": "system"},
            "old-ehr": {"pin": ["patient/*.rs", "openid"]},
            "readonly-app": {"limit": ["patient/*.rs"]},
            "nothing": {"limit": []},
            "*": {},
        }
    )
    assert built.clients == {
        "growth-chart": ClientRule(registered_scopes=(scope,), plain=PlainScopes(registered=frozenset({"launch/patient", "openid"}))),
        "backend-1": ClientRule(system_role=True),
        "old-ehr": ClientRule(pin=(scope,), plain=PlainScopes(pin=frozenset({"openid"}))),
        "readonly-app": ClientRule(limit=(scope,)),
        "nothing": ClientRule(limit=()),
        "*": ClientRule(),
    }


def test_users_by_scopes() -> None:
    built = policy(users={"Practitioner": ["user/Observation.rs"], "none": []})
    assert built.users["Practitioner"] == UserRule(scopes=(parse_scope("user/Observation.rs"),))
    assert built.users["none"] == UserRule(scopes=())


def test_the_other_choices_reach_the_policy() -> None:
    built = policy(
        foreign_patient_search="empty",
        absent_and_forbidden=403,
        writes={"update_as_create": "uuid_only", "server_types": ["Subscription"]},
        public=[{"interaction": "search-type", "type": "ValueSet"}],
        compartment_additions={"Device": ["patient"]},
        shared_types=["Organization"],
    )
    assert (built.foreign_patient_search, built.absent_and_forbidden, built.update_as_create) == ("empty", 403, "uuid_only")
    assert built.writable_server_types == {"Subscription"}
    assert built.public == (PublicInteraction(Interaction.SEARCH_TYPE, "ValueSet"),)
    assert (built.compartment_additions, built.shared_types) == ({"Device": ("patient",)}, {"Organization"})
    assert build_policy(load(upstream={"compartment_search": "compartment"})).compartment_search == "compartment"


def test_issuers(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"keys": [{"kty": "RSA"}]}))
    issuer = {
        "issuer": "http://idp.example.org/a/",
        "jwks_file": str(keys),
        "audiences": ["one", "two"],
        "algorithms": ["ES256"],
        "leeway": "500ms",
        "max_token_lifetime": "1h",
        "scope_format": {"slash": "-", "star": "all", "strip_prefix": "api://app/"},
        "v1_write": "cu",
        "fhir_user_bases": ["https://ehr.example/fhir"],
        "allow_http": True,
    }
    built = build_issuers(load(issuers=[issuer]))[0]
    assert (built.issuer, built.jwks_file, built.jwks_uri, built.audiences) == ("http://idp.example.org/a/", keys, None, ("one", "two"))
    assert (built.algorithms, built.leeway, built.max_token_lifetime, built.v1_write) == (("ES256",), 0.5, 3600.0, "cu")
    assert (built.fhir_user_bases, built.allow_http) == (("https://ehr.example/fhir",), True)
    assert built.replacement is not None
    assert built.replacement.restore("api://app/patient-all.rs") == "patient/*.rs"


async def test_the_snapshot_has_everything_that_a_request_needs() -> None:
    settings = load(
        server={
            "trusted_proxies": ["10.1.0.0/16", "::1"],
            "cors": {"origins": ["https://app.example"]},
            "sealing": {"keys": [KEY], "lifetime": "5m"},
        },
        upstream={"authorization": "forward", "answer_size": "1MiB", "answer_time": "5s"},
        revocation={"jti": ["t-1"], "subjects": ["eve"]},
        policy={"required_scope_extension": "smart", "limits": {"token": "4KiB", "entries": 10}},
    )
    built = build(settings, dry_run=True)
    snapshot = built.snapshot
    assert (snapshot.issuers, snapshot.cors_origins) == (("https://idp.example.org",), {"https://app.example"})
    assert snapshot.trusted_proxies == (ip_network("10.1.0.0/16"), ip_network("::1"))
    assert (type(snapshot.credentials.authorization), snapshot.dry_run) == (ForwardedToken, True)
    assert (snapshot.answer_size, snapshot.answer_time) == (1024 * 1024, 5.0)
    assert (snapshot.limits.token, snapshot.limits.entries, snapshot.limits.body) == (4096, 10, Limits().body)
    assert snapshot.required_scope_url == "http://hl7.org/fhir/smart-app-launch/StructureDefinition/required-scope"
    assert built.verifier.deny_list == DenyList(frozenset({"t-1"}), frozenset({"eve"}))
    assert snapshot.verifier is snapshot.discovery is built.verifier
    token = snapshot.sealer.seal(b"x", b"", 0.0, b"n" * 12)
    assert build(settings).snapshot.sealer.open(token, b"", 299.0) == b"x"
    await built.aclose()


def test_what_is_absent_is_at_its_safest() -> None:
    snapshot = build(load(), recording=False).snapshot
    assert (snapshot.trusted_proxies, snapshot.cors_origins, snapshot.dry_run) == ((), frozenset(), False)
    assert (type(snapshot.credentials.authorization), snapshot.credentials.identity) == (NoAuthorization, IdentityHeaders())
    assert snapshot.required_scope_url == "http://hl7.org/fhir/StructureDefinition/operationoutcome-required-scope"


def test_a_given_key_seals_where_the_settings_name_none() -> None:
    one, two = (build(load(), sealing_key=b"k" * 32).snapshot.sealer for _ in range(2))
    assert two.open(one.seal(b"x", b"c", 0.0, b"n" * 12), b"c", 1.0) == b"x"


def test_without_an_upstream_url_the_app_below_speaks_in_the_public_base() -> None:
    settings = load_settings(
        {"server": {"public_url": PUBLIC}, "upstream": {"fhir_version": "R4"}, "issuers": [{"issuer": "https://a.example"}]}, environment={}
    )
    assert build_policy(settings).bases == Bases(PUBLIC, PUBLIC)


EVENT = DecisionEvent(time=1.0, request_id="r-1", method="GET", outcome="permit", status=200, duration=1.0)


async def test_decisions_go_to_every_file(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    sinks = [{"file": str(tmp_path / "a")}, "log", {"file": str(tmp_path / "b")}]
    built = build(load(policy={"audit": {"sinks": sinks}}))
    assert built.snapshot.log.record(EVENT)
    line = capfdbinary.readouterr().out
    assert json.loads(line)["request_id"] == "r-1"
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == line
    await built.aclose()
    assert not built.snapshot.log.record(EVENT)  # the files are closed: the loss is counted, standard output still has its line
    assert capfdbinary.readouterr().out == line


async def test_one_file_alone_takes_the_place_of_standard_output(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    built = build(load(policy={"audit": {"sinks": [{"file": str(tmp_path / "a")}]}}))
    assert built.snapshot.log.record(EVENT)
    assert capfdbinary.readouterr().out == b""
    assert json.loads((tmp_path / "a").read_bytes())["status"] == 200
    await built.aclose()


def test_what_only_decides_opens_no_audit_file(tmp_path: Path) -> None:
    build(load(policy={"audit": {"sinks": [{"file": str(tmp_path / "a")}]}}), recording=False)
    assert not (tmp_path / "a").exists()
