"""Settings of UMA: what is refused, and what they become."""

from __future__ import annotations

from pathlib import Path

import pytest

from smart_gateway.errors import SettingsError
from smart_gateway.settings.building.snapshot import build, build_issuers
from smart_gateway.settings.loading import load_settings

ENVIRONMENT = {"SEAL": "0123456789012345678901234567890123456789", "SECRET": "s3cr3t"}
CLIENT = "client_id: gateway, client_secret: {from_env: SECRET}"
CHARTS = 'resources: [{id: "chart-{patient}", scopes: {read: [patient/*.rs]}}]'


def file(place: Path, issuer: str) -> Path:
    path = place / "gateway.yaml"
    path.write_text(
        f"""server:
  public_url: https://fhir.example.org/fhir
  sealing: {{keys: [{{from_env: SEAL}}]}}
upstream: {{url: http://127.0.0.1:8090/fhir, fhir_version: R4}}
issuers:
  - {{issuer: https://idp.example.org, {issuer}}}
"""
    )
    return path


def uma(keys: str, more: str = "") -> str:
    return f"mode: uma, uma: {{{keys}}}{more}"


def resource(keys: str) -> str:
    return uma(f"{CLIENT}, resources: [{{{keys}}}]")


REFUSED = [
    ("mode: uma", "issuers[0].uma", "is missing"),
    (f"uma: {{{CLIENT}, {CHARTS}}}", "issuers[0].uma", "only with mode: uma"),
    (f"mode: introspection, introspection: {{{CLIENT}}}, uma: {{{CLIENT}, {CHARTS}}}", "issuers[0].uma", "only with mode: uma"),
    (uma(CHARTS), "issuers[0].uma", "needs client_id"),
    (uma(f"bearer: {{from_env: SECRET}}, {CHARTS}"), "issuers[0].uma.bearer", "client credentials"),
    (uma(CLIENT), "issuers[0].uma.resources", ""),
    (uma(f"{CLIENT}, resources: []"), "issuers[0].uma.resources", ""),
    (uma(f"{CLIENT}, {CHARTS}, as_uri: http://as.example.org"), "issuers[0].uma.as_uri", "plain http"),
    (uma(f"{CLIENT}, {CHARTS}, as_uri: 'https://as.example.org/?a'"), "issuers[0].uma.as_uri", "no query"),
    (uma(f"{CLIENT}, {CHARTS}, tickets_per_minute: 0"), "issuers[0].uma.tickets_per_minute", ""),
    (uma(f"{CLIENT}, {CHARTS}, tickets_in_all: -1"), "issuers[0].uma.tickets_in_all", ""),
    (uma(f"{CLIENT}, {CHARTS}, permissions: all"), "issuers[0].uma.permissions", ""),
    (resource("id: '', scopes: {read: [patient/*.rs]}"), "issuers[0].uma.resources[0].id", ""),
    (resource("id: a, scopes: {}"), "issuers[0].uma.resources[0].scopes", ""),
    (resource("id: a, patient: '1', scopes: {read: []}"), "issuers[0].uma.resources[0].scopes.read", ""),
    (resource("id: a, scopes: {read: [patient/*.rs]}"), "issuers[0].uma.resources[0].scopes.read[0]", "of a patient"),
    (resource("id: a, patient: '1', scopes: {read: [user/*.rs]}"), "issuers[0].uma.resources[0].scopes.read[0]", "of a patient"),
    (resource('id: "a-{patient}", scopes: {read: [system/*.rs]}'), "issuers[0].uma.resources[0].scopes.read[0]", "of a patient"),
    (resource("id: a, patient: '1', scopes: {read: [patient/*.sr]}"), "issuers[0].uma.resources[0].scopes.read[0]", "no scope"),
    (resource("id: a, patient: '1', scopes: {read: [openid]}"), "issuers[0].uma.resources[0].scopes.read[0]", "no scope"),
    (resource('id: a, scopes: {read: ["user/Patient.r?_id={id}"]}'), "issuers[0].uma.resources[0].scopes.read[0]", "is not in"),
    (resource('id: "a-{patient}", patient: "1", scopes: {read: [patient/*.rs]}'), "issuers[0].uma.resources[0].patient", "already"),
    (resource("id: a, patient: 'Patient/1', scopes: {read: [patient/*.rs]}"), "issuers[0].uma.resources[0].patient", "no FHIR id"),
    (resource("id: a, patient: '..', scopes: {read: [patient/*.rs]}"), "issuers[0].uma.resources[0].patient", "no FHIR id"),
    (resource('id: "{patient}-{id}", scopes: {read: [patient/*.rs]}'), "issuers[0].uma.resources[0].id", "more than one"),
    (resource('id: "{patient}{patient}", scopes: {read: [patient/*.rs]}'), "issuers[0].uma.resources[0].id", "more than one"),
    (resource("id: a, scopes: {r: [user/*.r]}}, {id: a, scopes: {r: [user/*.r]}"), "issuers[0].uma.resources[1].id", "already"),
    ("issuer: http://idp.example.org, " + uma(f"{CLIENT}, {CHARTS}", ", jwks_file: keys.json"), "issuers[0].issuer", "plain http"),
]


@pytest.mark.parametrize(("issuer", "key", "text"), REFUSED)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, issuer: str, key: str, text: str) -> None:
    (tmp_path / "keys.json").write_text('{"keys": [{"kty": "RSA"}]}')
    path = file(tmp_path, issuer)
    if issuer.startswith("issuer:"):
        path.write_text(path.read_text().replace("issuer: https://idp.example.org, ", ""))
    with pytest.raises(SettingsError) as refused:
        load_settings(path, environment=ENVIRONMENT)
    found = [finding for finding in refused.value.findings if getattr(finding, "key", None) == key or key in str(finding)]
    assert any(text in str(finding) for finding in found), [str(finding) for finding in refused.value.findings]


def test_the_settings_become_what_the_issuer_is_asked_by(tmp_path: Path) -> None:
    keys = f"{CLIENT}, pat_scope: uma_protection, tickets_per_minute: 5, tickets_in_all: 50, {CHARTS}"
    (config,) = build_issuers(load_settings(file(tmp_path, uma(keys)), environment=ENVIRONMENT))
    assert config.uma is not None
    assert (config.uma.as_uri, config.uma.pat_scope) == ("https://idp.example.org", "uma_protection")
    assert (config.uma.tickets_per_minute, config.uma.tickets_in_all) == (5, 50)
    (chart,) = config.uma.resources
    assert (chart.id, chart.patient, chart.scopes) == ("chart-{patient}", None, (("read", ("patient/*.rs",)),))
    assert config.audiences == ("https://fhir.example.org/fhir", "gateway")  # as Keycloak names a resource server
    assert config.introspection is None
    assert "s3cr3t" not in repr(config)


def test_what_tokens_are_for_can_be_said(tmp_path: Path) -> None:
    (config,) = build_issuers(load_settings(file(tmp_path, uma(f"{CLIENT}, {CHARTS}", ", audiences: [x]")), environment=ENVIRONMENT))
    assert config.audiences == ("x",)


def test_permissions_can_be_asked_for(tmp_path: Path) -> None:
    more = f", introspection: {{{CLIENT}}}"
    (config,) = build_issuers(load_settings(file(tmp_path, uma(f"{CLIENT}, {CHARTS}", more)), environment=ENVIRONMENT))
    assert config.introspection is not None


async def test_a_rehearsal_registers_nothing(tmp_path: Path) -> None:
    settings = load_settings(file(tmp_path, uma(f"{CLIENT}, {CHARTS}")), environment=ENVIRONMENT)
    for dry_run, servers in ((False, 1), (True, 0)):
        built = build(settings, dry_run=dry_run, recording=False)
        assert len(built.snapshot.invitations.servers) == servers
        await built.aclose()


async def test_a_reload_keeps_the_own_token_and_who_had_tickets_unless_the_issuer_changed(tmp_path: Path) -> None:
    settings = load_settings(file(tmp_path, uma(f"{CLIENT}, {CHARTS}")), environment=ENVIRONMENT)
    first = build(settings, recording=False)
    same = build(settings, recording=False, previous=first)
    assert same.verifier is first.verifier
    changed = load_settings(file(tmp_path, uma(f"{CLIENT}, {CHARTS}, tickets_per_minute: 3")), environment=ENVIRONMENT)
    other = build(changed, recording=False, previous=same)
    assert other.verifier is not same.verifier
    await first.aclose()
    await other.aclose()
