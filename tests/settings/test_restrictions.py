"""``policy.labels`` and ``policy.fields`` in the settings: how it is read, built, and what cannot be meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from smart_gateway.boundary.labels import LabelLimit
from smart_gateway.policy.model import Policy
from smart_gateway.policy.rules.labelling import Raise
from smart_gateway.policy.rules.whom import Whom
from smart_gateway.scopes.permissions import Permission
from smart_gateway.settings.building.policy import build_policy
from smart_gateway.settings.findings import Severity
from smart_gateway.settings.loading import examine, load_settings

HEAD = """server: {public_url: "https://fhir.example.org/fhir", sealing: {keys: [{from_env: SEAL}]}}
upstream: {url: "http://127.0.0.1:8090/fhir", fhir_version: R4}
issuers: [{issuer: "https://idp.example.org"}]
"""
ENVIRONMENT = {"SEAL": "0123456789012345678901234567890123456789"}


def written(tmp_path: Path, policy: str) -> Path:
    file = tmp_path / "gateway.yaml"
    file.write_text(f"{HEAD}policy:\n{policy}\n")
    return file


def built(tmp_path: Path, policy: str) -> Policy:
    return build_policy(load_settings(written(tmp_path, policy), environment=ENVIRONMENT))


def found(tmp_path: Path, policy: str, severity: Severity) -> list[tuple[str, str]]:
    report = examine(written(tmp_path, policy), ENVIRONMENT, proxying=True)
    return [(finding.key, finding.text) for finding in report.findings if finding.severity is severity]


def test_no_section_is_no_limit(tmp_path: Path) -> None:
    assert built(tmp_path, "  clients: {app: {}}").labels is None


def test_one_limit(tmp_path: Path) -> None:
    text = """  labels:
    ceiling: N
    unlabelled: N
    forbidden: ["http://acme.example|SUD", HIV]
    required: ["http://acme.example|OK"]
    raised_by: {__restricted: R, __sud: {allowed: [HIV]}}
    types: [Observation]
    permissions: rs
"""
    (rule,) = built(tmp_path, text).labels or ()
    assert rule.limit == LabelLimit("N", "N", ("http://acme.example|SUD", "HIV"), ("http://acme.example|OK",))
    assert rule.raised_by == (Raise("__restricted", "R"), Raise("__sud", None, ("HIV",)))
    assert rule.types == {"Observation"}
    assert rule.permissions == Permission.READ | Permission.SEARCH
    assert rule.whom == Whom()
    assert rule.name == "labels"


def test_what_is_not_said_is_the_safest(tmp_path: Path) -> None:
    (rule,) = built(tmp_path, "  labels: {ceiling: N}").labels or ()
    assert rule.limit == LabelLimit("N", "V")
    assert rule.types is None
    assert rule.permissions == ~Permission(0)


def test_several_limits_say_whom_they_are_for(tmp_path: Path) -> None:
    text = """  labels:
    - {ceiling: R, unlabelled: N}
    - when: {client: app, fhir_user: [Patient, none], claim: {purpose_of_use: HRESCH}}
      ceiling: L
      unlabelled: N
"""
    policy = built(tmp_path, text)
    first, second = policy.labels or ()
    assert second.whom == Whom(frozenset({"app"}), frozenset({"Patient", "none"}), (("purpose_of_use", frozenset({"HRESCH"})),))
    assert (first.name, second.name) == ("labels[0]", "labels[1]")
    assert (policy.place(*second.path) or "").endswith("gateway.yaml:7:7")


@pytest.mark.parametrize(
    ("section", "key", "says"),
    [
        ("{ceiling: X}", "policy.labels.ceiling", "U"),
        ("{ceiling: restricted}", "policy.labels.ceiling", "U"),
        ("{required: [RESEARCH]}", "policy.labels.required[0]", "system|code"),
        ("{forbidden: ['|']}", "policy.labels.forbidden[0]", "system|code"),
        ("{forbidden: ['|HIV']}", "policy.labels.forbidden[0]", "system|code"),
        ("{forbidden: ['a|b|c']}", "policy.labels.forbidden[0]", "system|code"),
        ("{permissions: sr, ceiling: N}", "policy.labels.permissions", "order"),
        ("{types: [Observatoin], ceiling: N}", "policy.labels.types[0]", "no such resource type"),
        ("{ceiling: N, raised_by: {patient/*.rs: R}}", "policy.labels.raised_by.patient/*.rs", "plain scope"),
        ("{ceiling: N, raised_by: {__x: {allowed: [HIV]}}}", "policy.labels.raised_by.__x.allowed[0]", "not forbidden"),
        ("{forbidden: ['s|x'], required: ['s|x']}", "policy.labels.required[0]", "forbidden too"),
        ("[{when: {}, ceiling: N}]", "policy.labels[0].when", "says nothing"),
        ("[{when: {claim: {'a..b': x}}, ceiling: N}]", "policy.labels[0].when.claim.a..b", "no path"),
        ("{cieling: N}", "policy.labels.cieling", "unknown key"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, section: str, key: str, says: str) -> None:
    errors = found(tmp_path, f"  labels: {section}", Severity.ERROR)
    assert [k for k, _ in errors] == [key], errors
    assert says in errors[0][1]


@pytest.mark.parametrize(
    ("section", "key", "says"),
    [
        ("[]", "policy.labels", "nobody gets anything"),
        ("{}", "policy.labels", "limits nothing"),
        ("{ceiling: V, unlabelled: N}", "policy.labels", "limits nothing"),
        ("{ceiling: N}", "policy.labels", "they are hidden"),
        ("{ceiling: R, unlabelled: N, raised_by: {__x: N}}", "policy.labels.raised_by.__x", "raises nothing"),
        ("[{when: {client: ap}, ceiling: N, unlabelled: N}]", "policy.labels[0].when.client[0]", "for nobody"),
        ("[{ceiling: N, unlabelled: N}, {ceiling: R, unlabelled: N}]", "policy.labels[1]", "changes nothing: labels[0]"),
        ("[{ceiling: N, unlabelled: N}, {ceiling: N, unlabelled: N}]", "policy.labels[1]", "changes nothing: labels[0]"),
        ("[{when: {client: app}, forbidden: [x], types: [Task]}, {forbidden: [x, y]}]", "policy.labels[0]", "changes nothing: labels[1]"),
    ],
)
def test_what_is_probably_not_meant_is_warned_of(tmp_path: Path, section: str, key: str, says: str) -> None:
    warnings = found(tmp_path, f"  clients: {{app: {{}}}}\n  labels: {section}", Severity.WARNING)
    assert any(k == key and says in text for k, text in warnings), warnings


@pytest.mark.parametrize(
    "section",
    [
        "[{ceiling: R, unlabelled: N}, {ceiling: N, unlabelled: N, raised_by: {__x: V}}]",
        "[{ceiling: R, unlabelled: N}, {ceiling: N, unlabelled: N, types: [Task]}]",
        "[{ceiling: R, unlabelled: N}, {ceiling: N, unlabelled: N, permissions: rs}]",
        "[{ceiling: R, unlabelled: N}, {ceiling: N, unlabelled: N, when: {claim: {a: x}}}]",
        "[{when: {claim: {a: [x, y]}}, forbidden: [x]}, {when: {claim: {a: x}}, forbidden: [x, y]}]",
        "[{when: {fhir_user: Patient}, forbidden: [x]}, {when: {fhir_user: Person}, forbidden: [x]}]",
        "[{forbidden: [x]}, {forbidden: [y]}]",
    ],
)
def test_limits_that_each_decide_something(tmp_path: Path, section: str) -> None:
    assert found(tmp_path, f"  labels: {section}", Severity.WARNING) == []


@pytest.mark.parametrize(
    ("rules", "key"),
    [
        ("{type: Patient, permissions: rs, hide: [name.family]}, {type: '*', permissions: rs, hide: [name]}", "policy.fields[0]"),
        ("{type: Patient, permissions: rs, hide: [name]}, {type: Patient, permissions: rs, hide: [name]}", "policy.fields[1]"),
        ("{type: Patient, permissions: u, keep: [name]}, {type: Patient, permissions: cu, only: [telecom]}", "policy.fields[0]"),
        (
            "{type: Task, permissions: rs, hide: [for], labelled: ['s|x']}, {type: Task, permissions: rs, hide: [for]}",
            "policy.fields[0]",
        ),
        (
            "{type: Task, permissions: rs, hide: [for]}, {type: Task, permissions: rs, hide: [for], labelled: ['s|x']}",
            "policy.fields[1]",
        ),
    ],
)
def test_a_field_rule_that_decides_nothing_is_warned_of(tmp_path: Path, rules: str, key: str) -> None:
    [(place, text)] = found(tmp_path, f"  fields: [{rules}]", Severity.WARNING)
    assert place == key
    assert f"changes nothing: fields[{1 - int(key[-2])}]" in text


@pytest.mark.parametrize(
    "rules",
    [
        "{type: Patient, permissions: rs, hide: [name]}, {type: Person, permissions: rs, hide: [name]}",
        "{type: Patient, permissions: rs, hide: [name]}, {type: Patient, permissions: u, keep: [name]}",
        "{type: Patient, permissions: c, only: [name]}, {type: Patient, permissions: u, only: [name]}",
        "{type: Patient, permissions: rs, hide: [name]}, {type: Patient, permissions: rs, hide: [name.use, photo]}",
        "{type: Patient, permissions: rs, hide: [name.use]}, {type: Patient, permissions: rs, hide: [name], when: {fhir_user: Person}}",
    ],
)
def test_field_rules_that_each_decide_something(tmp_path: Path, rules: str) -> None:
    assert found(tmp_path, f"  fields: [{rules}]", Severity.WARNING) == []


def test_field_rules(tmp_path: Path) -> None:
    text = """  fields:
    - {type: Patient, permissions: rs, hide: [birthDate, Patient.name.family, "deceased[x]"], labelled: ["s|x"]}
    - {type: "*", permissions: cu, keep: [meta.security], when: {client: app}}
    - {type: Patient, permissions: u, only: ["identifier.where(system='urn:own')"]}
    - {type: Basic, permissions: u, only: []}
"""
    hidden, kept, identifier, nothing = built(tmp_path, text).fields
    assert [path.text for path in hidden.hide] == ["birthDate", "name.family", "deceased[x]"]
    assert hidden.labelled == ("s|x",)
    assert kept.whom == Whom(clients=frozenset({"app"}))
    assert kept.permissions == Permission.CREATE | Permission.UPDATE
    assert identifier.only is not None
    assert identifier.only[0].steps[0].where == ("system", "urn:own")
    assert nothing.only == ()
    assert nothing.name == "fields[3]"
    assert built(tmp_path, "  fields: []").fields == ()


@pytest.mark.parametrize(
    ("rule", "key", "says"),
    [
        ("{type: Patinet, permissions: rs, hide: [birthDate]}", "policy.fields[0].type", "no such resource type"),
        ("{type: Patient, permissions: r, hide: [birthDate]}", "policy.fields[0].permissions", "must be rs"),
        ("{type: Patient, permissions: rs, only: [birthDate]}", "policy.fields[0].permissions", "c, u or cu"),
        ("{type: Patient, permissions: d, keep: [birthDate]}", "policy.fields[0].permissions", "c, u or cu"),
        ("{type: Patient, permissions: rs}", "policy.fields[0]", "just one of the two"),
        ("{type: Patient, permissions: u, hide: [birthDate], only: [telecom]}", "policy.fields[0]", "just one of the two"),
        ("{type: Patient, permissions: u, only: [telecom], labelled: ['s|x']}", "policy.fields[0].labelled", "is for hide"),
        ("{type: Patient, permissions: rs, hide: [Observation.value]}", "policy.fields[0].hide[0]", "an element of Observation"),
        ("{type: Patient, permissions: rs, hide: [meta]}", "policy.fields[0].hide[0]", "cannot be hidden"),
        ("{type: Patient, permissions: rs, hide: [Patient.id]}", "policy.fields[0].hide[0]", "cannot be hidden"),
        ("{type: Patient, permissions: rs, hide: [meta.versionId]}", "policy.fields[0].hide[0]", "cannot be hidden"),
        ("{type: Patient, permissions: rs, hide: ['name[0]']}", "policy.fields[0].hide[0]", "must be an element"),
        ("{type: Patient, permissions: rs, hide: []}", "policy.fields[0].hide", "must not be empty"),
        ("{type: Binary, permissions: rs, hide: [data]}", "policy.fields[0].type", "raw content"),
    ],
)
def test_field_rules_that_cannot_be_meant(tmp_path: Path, rule: str, key: str, says: str) -> None:
    errors = found(tmp_path, f"  fields: [{rule}]", Severity.ERROR)
    assert any(k == key and says in text for k, text in errors), errors


@pytest.mark.parametrize(
    ("rule", "key", "says", "nearest"),
    [
        ("{type: Patient, permissions: rs, hide: [birthDate, nmae]}", "hide[1]", "Patient has no element nmae", "name"),
        ("{type: Patient, permissions: rs, hide: [Patient.contact.nmae]}", "hide[0]", "no element nmae", "Patient.contact.name"),
        ("{type: Observation, permissions: rs, hide: [value]}", "hide[0]", "Observation has no element value", "value[x]"),
        ("{type: Patient, permissions: u, only: [\"identifier.where(sytem='x')\"]}", "only[0]", "a text", "identifier.where(system='x')"),
        ("{type: Patient, permissions: u, only: [telcom]}", "only[0]", "Patient has no element telcom", "telecom"),
        ("{type: '*', permissions: u, keep: [meta.securty]}", "keep[0]", "meta has no element securty", "meta.security"),
        ("{type: '*', permissions: rs, hide: [nmae.family]}", "hide[0]", "no type has an element nmae", "name.family"),
        ("{type: Patient, permissions: rs, hide: [xyzzy]}", "hide[0]", "Patient has no element xyzzy", None),
    ],
)
def test_a_rule_on_no_element_is_an_error_with_its_place(tmp_path: Path, rule: str, key: str, says: str, nearest: str | None) -> None:
    report = examine(written(tmp_path, f"  fields:\n    - {rule}"), ENVIRONMENT, proxying=True)
    [finding] = [finding for finding in report.findings if finding.severity is Severity.ERROR]
    assert finding.key == f"policy.fields[0].{key}"
    assert says in finding.text
    assert finding.nearest == nearest
    assert finding.place.line == 6


def test_elements_are_those_of_the_release_of_the_server(tmp_path: Path) -> None:
    policy = "  fields: [{type: Encounter, permissions: rs, hide: [actualPeriod]}]"
    assert [key for key, _ in found(tmp_path, policy, Severity.ERROR)] == ["policy.fields[0].hide[0]"]
    file = written(tmp_path, policy)
    file.write_text(file.read_text().replace("fhir_version: R4", "fhir_version: R5"))
    assert not [one for one in examine(file, ENVIRONMENT, proxying=True).findings if one.severity is Severity.ERROR]


@pytest.mark.parametrize(
    ("rules", "warned"),
    [
        ("{type: Patient, permissions: u, only: [name]}, {type: Patient, permissions: u, only: [telecom]}", "fields[1].only"),
        ("{type: '*', permissions: cu, only: [status]}, {type: Task, permissions: u, only: [note]}", "fields[1].only"),
        (
            "{type: Patient, permissions: u, only: [name]}, {when: {client: a}, type: Patient, permissions: u, only: [photo]}",
            "fields[1].only",
        ),
        ("{type: Patient, permissions: u, only: [name]}, {type: Patient, permissions: u, only: [name.family]}", None),
        ("{type: Observation, permissions: u, only: ['value[x]']}, {type: Observation, permissions: u, only: [valueString, note]}", None),
        ("{type: Patient, permissions: u, only: [name]}, {type: Patient, permissions: c, only: [telecom]}", None),
        ("{type: Patient, permissions: u, only: [name]}, {type: Task, permissions: u, only: [note]}", None),
        (
            "{when: {client: a}, type: Patient, permissions: u, only: [name]}, "
            "{when: {client: b}, type: Patient, permissions: u, only: [photo]}",
            None,
        ),
        ("{type: Patient, permissions: u, only: [name, photo]}, {type: '*', permissions: u, keep: [name]}", "fields[0].only[0]"),
        ("{type: Patient, permissions: u, only: [name.family]}, {type: Patient, permissions: cu, keep: [name]}", "fields[0].only[0]"),
        ("{type: Patient, permissions: u, only: [name]}, {type: Patient, permissions: u, keep: [name.family]}", None),
        ("{type: Patient, permissions: cu, only: [name]}, {type: Patient, permissions: u, keep: [name]}", None),
        (
            "{type: Patient, permissions: u, only: [identifier]}, "
            "{type: Patient, permissions: u, keep: [\"identifier.where(system='a')\"]}",
            None,
        ),
        ("{type: Patient, permissions: u, only: [name]}, {type: Patient, permissions: rs, hide: [name]}", "fields[0].only[0]"),
        ("{type: Patient, permissions: u, only: [name]}, {type: Patient, permissions: rs, hide: [name], labelled: ['s|x']}", None),
        ("{type: Patient, permissions: c, only: [name]}, {type: Patient, permissions: rs, hide: [name]}", None),
        ("{type: Patient, permissions: u, only: [name]}, {when: {client: a}, type: Patient, permissions: rs, hide: [name]}", None),
    ],
)
def test_what_is_listed_and_never_written_is_warned_of(tmp_path: Path, rules: str, warned: str | None) -> None:
    warnings = [key for key, text in found(tmp_path, f"  fields: [{rules}]", Severity.WARNING) if "written" in text]
    assert warnings == ([] if warned is None else [f"policy.{warned}"])


UNHELD = ["policy.break_glass.scope", "policy.labels.raised_by.__more", "policy.operations.$my-op.scopes[1]"]


@pytest.mark.parametrize(
    ("clients", "warned"),
    [
        ("a: {limit: [patient/*.rs]}, b: {registered_scopes: [patient/*.rs]}, c: {pin: [patient/*.rs]}", True),
        ("a: {limit: [patient/*.rs]}, '*': {}", False),
        ("a: {limit: [patient/*.rs, __more]}, b: {limit: []}", False),
        ("a: {registered_scopes: [patient/*.rs], pin: [patient/*.rs, __more]}", False),
    ],
)
def test_a_scope_that_no_client_may_have_is_warned_of(tmp_path: Path, clients: str, warned: bool) -> None:
    labels = "labels: {ceiling: N, unlabelled: N, raised_by: {__more: R}}"
    emergency = "break_glass: {scope: __more, lifts: [labels], max_auth_age: 5m}"
    opened = "operations: {$my-op: {level: type, method: GET, scopes: [user/Patient.r, __more], answer: filter}}"
    keys = [
        key
        for key, text in found(tmp_path, f"  clients: {{{clients}}}\n  {labels}\n  {emergency}\n  {opened}", Severity.WARNING)
        if "no client" in text
    ]
    assert sorted(keys) == (UNHELD if warned else [])


def test_what_an_emergency_shows_may_be_written_in_one(tmp_path: Path) -> None:
    fields = "fields: [{type: Patient, permissions: u, only: [name]}, {type: Patient, permissions: rs, hide: [name]}]"
    emergency = "break_glass: {scope: __glass, lifts: [fields], permissions: PERMITTED, max_auth_age: 5m}"
    warned = [
        [key for key, _ in found(tmp_path, f"  {fields}\n  {emergency.replace('PERMITTED', letters)}", Severity.WARNING)]
        for letters in ("rs", "rus")
    ]
    assert warned == [["policy.fields[0].only[0]"], []]


def test_an_empty_list_of_groups_is_warned_of(tmp_path: Path) -> None:
    policy = "  clients: {app: {role: system, groups: []}, other: {role: system, groups: [g]}}"
    [(key, text)] = found(tmp_path, policy, Severity.WARNING)
    assert (key, text.partition(":")[0]) == ("policy.clients.app.groups", "is empty")
