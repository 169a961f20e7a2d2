"""``policy.break_glass`` and ``policy.audit`` in the settings: what they become, and what is refused or warned of."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from smart_gateway.policy.emergencies import Lift
from smart_gateway.scopes.permissions import Permission
from smart_gateway.settings.building.policy import build_policy
from smart_gateway.settings.building.snapshot import build
from smart_gateway.settings.findings import Severity
from smart_gateway.settings.loading import examine
from smart_gateway.settings.model import Settings

SCOPE = "__break-glass"
LEAST = {"scope": SCOPE, "lifts": ["users"], "max_auth_age": "15m"}
SEAL = {"SEAL": "0123456789012345678901234567890123456789"}


def found(folder: Path, policy: dict[str, Any], **more: Any) -> tuple[Settings | None, dict[str, str]]:
    """The settings, and findings by their key."""
    server = {"public_url": "https://fhir.example.org/fhir", "sealing": {"keys": [{"from_env": "SEAL"}]}}
    upstream = {"url": "http://127.0.0.1:8090/fhir", "fhir_version": "R4"}
    text = yaml.safe_dump(
        {"server": server, "upstream": upstream, "issuers": [{"issuer": "https://idp.example.org"}], "policy": policy, **more}
    )
    (folder / "gateway.yaml").write_text(text)
    examination = examine(folder / "gateway.yaml", SEAL, proxying=True)
    told = {
        finding.key: f"{(finding.severity is Severity.ERROR and 'error') or 'warning'}: {finding.text}" for finding in examination.findings
    }
    return examination.settings, told


def test_what_little_is_said_becomes_a_rule_with_safe_defaults(tmp_path: Path) -> None:
    settings, told = found(tmp_path, {"break_glass": LEAST})
    assert told == {}
    assert settings is not None
    rule = build_policy(settings).break_glass
    assert rule is not None
    assert (rule.scope, rule.lifts, rule.permissions) == (SCOPE, {Lift.USERS}, Permission.READ | Permission.SEARCH)
    assert (rule.reason_header, rule.purpose_header, rule.purposes) == ("X-Break-Glass-Reason", "X-Purpose-Of-Use", {"BTG", "ETREAT"})
    assert (rule.max_duration, rule.max_auth_age, rule.acr_values) == (3600.0, 900.0, ())
    assert rule.kinds == {"Practitioner", "PractitionerRole", "none"}


BAD = [
    ({}, "policy.break_glass.scope", "is missing"),
    ({**LEAST, "lifts": []}, "policy.break_glass.lifts", "empty"),
    ({**LEAST, "lifts": ["clients"]}, "policy.break_glass.lifts[0]", ""),
    ({**LEAST, "scope": "user/*.rs"}, "policy.break_glass.scope", "opens no resource"),
    ({**LEAST, "scope": "launch/patient"}, "policy.break_glass.scope", "opens no resource"),
    ({**LEAST, "scope": "openid"}, "policy.break_glass.scope", "opens no resource"),
    ({**LEAST, "scope": "a b"}, "policy.break_glass.scope", ""),
    ({**LEAST, "reason_header": "Authorization"}, "policy.break_glass.reason_header", "says something else"),
    ({**LEAST, "reason_header": "Accept"}, "policy.break_glass.reason_header", "says something else"),
    ({**LEAST, "reason_header": "X_Reason"}, "policy.break_glass.reason_header", "name of a header"),
    ({**LEAST, "purpose_header": "x-break-glass-reason"}, "policy.break_glass.reason_header", "two headers"),
    ({**LEAST, "purposes": []}, "policy.break_glass.purposes", "empty"),
    ({**LEAST, "purposes": ["BTG,TREAT"]}, "policy.break_glass.purposes[0]", "v3-ActReason"),
    ({**LEAST, "permissions": "sr"}, "policy.break_glass.permissions", "in this order"),
    ({**LEAST, "max_duration": 60}, "policy.break_glass.max_duration", "duration"),
    ({**LEAST, "acr_values": ["a b"]}, "policy.break_glass.acr_values[0]", "without spaces"),
    ({**LEAST, "acr_values": ['a"b']}, "policy.break_glass.acr_values[0]", "without spaces"),
    ({**LEAST, "fhir_user": ["Doctor"]}, "policy.break_glass.fhir_user[0]", ""),
]


@pytest.mark.parametrize(("rule", "key", "says"), BAD, ids=[f"{n}-{case[1]}" for n, case in enumerate(BAD)])
def test_bad_rules(tmp_path: Path, rule: dict[str, Any], key: str, says: str) -> None:
    settings, told = found(tmp_path, {"break_glass": rule})
    assert settings is None
    assert told[key].startswith("error")
    assert says in told[key]


WARNED = [
    ({"scope": SCOPE, "lifts": ["users"]}, "policy.break_glass", "no fresh login"),
    ({**LEAST, "lifts": ["users", "labels"]}, "policy.break_glass.lifts[1]", "lifts nothing"),
    ({**LEAST, "lifts": ["limit"]}, "policy.break_glass.lifts[0]", "lifts nothing"),
    ({**LEAST, "lifts": ["fields"]}, "policy.break_glass.lifts[0]", "lifts nothing"),
    ({**LEAST, "max_duration": "2d"}, "policy.break_glass.max_duration", "more than a day"),
    ({**LEAST, "fhir_user": ["Patient"]}, "policy.break_glass.fhir_user[0]", "for themselves"),
]


@pytest.mark.parametrize(("rule", "key", "says"), WARNED, ids=[f"{n}-{case[1]}" for n, case in enumerate(WARNED)])
def test_rules_that_are_warned_of(tmp_path: Path, rule: dict[str, Any], key: str, says: str) -> None:
    settings, told = found(tmp_path, {"break_glass": rule})
    assert settings is not None
    assert told[key].startswith("warning")
    assert says in told[key]


def test_lists_of_scopes_may_name_it_and_no_other_plain_scope(tmp_path: Path) -> None:
    lists = {"registered_scopes": ["user/*.rs", SCOPE], "limit": ["user/*.rs", SCOPE], "pin": ["user/*.rs", SCOPE]}
    issuers = [{"issuer": "https://idp.example.org", "ceiling": ["user/*.rs", SCOPE]}]
    policy = {"clients": {"ehr": lists}, "actors": {"robot": {"limit": ["user/*.rs", SCOPE]}}, "break_glass": LEAST}
    settings, told = found(tmp_path, policy, issuers=issuers)
    assert told == {}
    assert settings is not None
    built = build(settings, recording=False)
    rule = (built.snapshot.policy.clients or {})["ehr"]
    assert (rule.plain.registered, rule.plain.limit, rule.plain.pin) == ({SCOPE}, {SCOPE}, {SCOPE})
    assert (built.snapshot.policy.actors or {})["robot"].plain == {SCOPE}
    assert built.issuers[0].ceiling_plain == {SCOPE}
    _, without = found(tmp_path, {**policy, "break_glass": {**LEAST, "scope": "__other"}}, issuers=issuers)
    assert {
        "policy.clients.ehr.limit[1]",
        "policy.clients.ehr.pin[1]",
        "policy.actors.robot.limit[1]",
        "issuers[0].ceiling[1]",
    } <= without.keys()


SINKS = [
    ({"fhir": "http://audit.example.org/fhir"}, "policy.audit.sinks[0].fhir", "plain http"),
    ({"fhir": "https://fhir.example.org/fhir"}, "policy.audit.sinks[0].fhir", "the gateway itself"),
    ({"fhir": "https://a.example/fhir?x=1"}, "policy.audit.sinks[0].fhir", "no query"),
    ({"fhir": "https://user:pw@a.example/fhir"}, "policy.audit.sinks[0].fhir", "no user name"),
    ({"fhir": "https://a.example/fhir", "queue": 0}, "policy.audit.sinks[0].queue", ""),
    ({"fhir": "https://a.example/fhir", "file": "x"}, "policy.audit.sinks[0].file", "unknown key"),
    ({"file": "none/here"}, "policy.audit.sinks[0].file", "does not exist"),
    ("stdout", "policy.audit.sinks[0]", ""),
]


@pytest.mark.parametrize(("sink", "key", "says"), SINKS, ids=[f"{n}-{case[1]}" for n, case in enumerate(SINKS)])
def test_bad_sinks(tmp_path: Path, sink: Any, key: str, says: str) -> None:
    settings, told = found(tmp_path, {"audit": {"sinks": [sink]}})
    assert settings is None
    assert says in told[key]


def test_a_token_in_the_open_is_warned_of(tmp_path: Path) -> None:
    _, told = found(tmp_path, {"audit": {"sinks": [{"fhir": "https://a.example/fhir", "bearer": "open"}]}})
    assert "secret in the open" in told["policy.audit.sinks[0].bearer"]


@pytest.mark.parametrize(("sinks", "waits"), [(["log"], 0), ([{"file": "a.ndjson"}], 0), (["log", {"fhir": "http://127.0.0.1:1/fhir"}], 1)])
async def test_sinks_are_built(tmp_path: Path, sinks: list[Any], waits: int, capfd: pytest.CaptureFixture[str]) -> None:
    settings, _ = found(tmp_path, {"audit": {"required": True, "sinks": sinks}})
    assert settings is not None
    built = build(settings)
    assert built.snapshot.audit_required
    collectors = built.audit.trail._collectors
    assert len(collectors) == waits
    await built.audit.aclose()
    assert all(isinstance(file, io.FileIO) and file.closed for file in built.audit.files)
    assert json.dumps(sinks)
    assert capfd.readouterr().out == ""
