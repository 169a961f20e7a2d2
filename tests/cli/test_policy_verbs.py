"""The verbs for policies: test, compare, suggest."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from smart_gateway.cli import main

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples" / "policies").glob("*.test.yaml"))
POLICY = "clients: {app: {limit: [patient/*.rs]}}\nusers: {Patient: compartment}\n"
HEAD = """
config: policy.yaml
principals:
  ann: {client: app, patient: ann, scope: patient/*.cruds}
stored:
  - {resourceType: Patient, id: ann}
  - {resourceType: Observation, id: a1, status: final, subject: {reference: Patient/ann}}
  - {resourceType: Observation, id: b1, status: final, subject: {reference: Patient/bob}}
"""
CASES = (
    HEAD
    + """
cases:
  - name: finds her own
    principal: ann
    request: GET /Observation?status=final
    expect:
      decision: permit
      status: 200
      entries: [Observation/a1]
      upstream: ["GET /Observation?patient=Patient/ann&status=final"]
      rules: [patient/*.cruds]
      body: {resourceType: Bundle, identifier: null}
  - name: writes nothing
    principal: ann
    request: DELETE /Observation/a1
    expect: {decision: deny, status: 403, code: insufficient-scope, required_scopes: [], upstream: []}
  - name: nobody
    request: GET /Patient/ann
    expect: {decision: deny, status: 401, code: token-missing}
"""
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "cases.yaml").write_text(CASES)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def case(expect: str, more: str = "") -> str:
    return f"{HEAD}\ncases:\n  - name: one\n    principal: ann\n    request: GET /Observation\n    expect: {expect}\n{more}"


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_the_shipped_policies_are_held_by_their_cases(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", str(file), "--threshold", "100", "--format", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["failed"] == 0
    assert [one["not_held"] for one in shown["coverage"]] == [[]]
    assert shown["coverage"][0]["held"]


def test_every_policy_has_cases() -> None:
    assert {file.name.replace(".test.yaml", ".yaml") for file in EXAMPLES} == {
        file.name for file in (ROOT / "examples" / "policies").glob("*.yaml") if ".test." not in file.name
    }


def test_cases_pass(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", "cases.yaml"]) == 0
    assert "3 of 3 cases pass" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("expect", "said"),
    [
        ("{decision: deny}", "decision: expected deny, got permit"),
        ("{decision: permit, status: 201}", "status: expected 201, got 200"),
        (
            "{decision: permit, entries: [Observation/a1, Observation/b1]}",
            "entries: expected [Observation/a1, Observation/b1], got [Observation/a1]",
        ),
        ("{decision: permit, entries: []}", "entries: expected [], got [Observation/a1]"),
        ("{decision: permit, upstream: []}", "upstream: expected [], got [GET /Observation?patient=Patient/ann]"),
        ("{decision: permit, required_scopes: [patient/Observation.s]}", "required_scopes: expected [patient/Observation.s], got []"),
        ("{decision: permit, rules: [user/*.rs]}", "rules: expected [user/*.rs] among [patient/*.cruds]"),
        ("{decision: permit, removed: 1}", "removed: expected 1, got 0"),
        ("{decision: permit, body: {type: null}}", "body.type: expected to be absent"),
        ("{decision: permit, body: {totl: null}}", "body.totl: FHIR R4: Bundle has no element totl"),
        ("{decision: permit, body: {lacking: 1}}", "body.lacking: is absent"),
        ("{decision: permit, body: {type: history}}", "body.type: expected 'history', got 'searchset'"),
        ("{decision: permit, statuses: [200]}", "statuses: expected [200], got []"),
    ],
)
def test_what_is_not_met_is_said(folder: Path, capsys: pytest.CaptureFixture[str], expect: str, said: str) -> None:
    (folder / "cases.yaml").write_text(case(expect))
    assert main(["test", "cases.yaml"]) == 1
    assert said in capsys.readouterr().out


def test_a_batch_and_a_disobedient_server(folder: Path) -> None:
    (folder / "cases.yaml").write_text(
        HEAD
        + """
cases:
  - name: batch
    principal: ann
    request: POST /
    body:
      resourceType: Bundle
      type: batch
      entry:
        - {request: {method: GET, url: Observation/a1}}
        - {request: {method: GET, url: Observation/b1}}
        - {request: {method: DELETE, url: Observation/a1}}
    expect: {decision: permit, statuses: [200, 404, 403], entries: [Observation/a1]}
  - name: whatever the server gives
    principal: ann
    request: GET /Observation
    answer: [{resourceType: Observation, id: b1, subject: {reference: Patient/bob}}]
    expect: {decision: permit, entries: [], removed: 1}
  - name: a server that fails
    principal: ann
    request: GET /Observation
    answer: {status: 500, body: {resourceType: OperationOutcome}}
    expect: {decision: permit, status: 502, entries: []}
"""
    )
    code = main(["test", "cases.yaml", "--run", "batch|whatever"])
    assert code == 0


def test_a_rule_that_no_case_holds_is_found(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", "cases.yaml", "--threshold", "100", "--format", "json"]) == 1
    captured = capsys.readouterr()
    [measured] = json.loads(captured.out)["coverage"]
    loose = {(one["rule"], one["line"]) for one in measured["not_held"]}
    held = {one["rule"] for one in measured["held"]}
    assert ("users.Patient", 2) in loose
    assert {"clients.app", "clients.app.limit", "clients.app.limit[0]"} <= held
    assert "fewer than 100 %" in captured.err
    assert main(["test", "cases.yaml", "--threshold", "50"]) == 0


def test_cases_that_fail_hold_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "cases.yaml").write_text(case("{decision: deny}"))
    assert main(["test", "cases.yaml", "--coverage", "--format", "json"]) == 1
    assert json.loads(capsys.readouterr().out)["coverage"][0]["held"] == []


def test_junit(folder: Path) -> None:
    (folder / "more.yaml").write_text(case("{decision: deny}").replace("name: one", 'name: "<one> & \\x07"'))
    assert main(["test", "cases.yaml", "more.yaml", "--junit", "out.xml", "--coverage"]) == 1
    root = ElementTree.parse(folder / "out.xml").getroot()
    suites = root.findall("testsuite")
    assert [(suite.get("name"), suite.get("tests"), suite.get("failures")) for suite in suites] == [
        ("cases.yaml", "3", "0"),
        ("more.yaml", "1", "1"),
    ]
    [failed] = root.findall(".//testcase[failure]")
    assert failed.get("name") == "<one> & \ufffd"
    assert failed[0].get("message") == "decision: expected deny, got permit"
    assert root.find(".//property") is not None


@pytest.mark.parametrize(("pattern", "code", "ran"), [("finds", 0, 1), ("cases.yaml: n", 0, 1), ("nothing like it", 5, 0), ("^.*$", 0, 3)])
def test_cases_are_chosen(folder: Path, capsys: pytest.CaptureFixture[str], pattern: str, code: int, ran: int) -> None:
    assert main(["test", "cases.yaml", "--run", pattern]) == code
    assert capsys.readouterr().out.count("ok  ") == ran


@pytest.mark.parametrize("argv", [["--run", "("], ["--threshold", "101"], ["--threshold", "many"]])
def test_bad_options_are_usage(folder: Path, argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["test", "cases.yaml", *argv])
    assert caught.value.code == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (CASES.replace("decision: permit", "decison: permit", 1), 'did you mean "decision"'),
        (CASES.replace("principal: ann", "principal: anne", 1), 'did you mean "ann"'),
        (CASES.replace("config: policy.yaml", "config: none.yaml"), "none.yaml"),
        ("cases: []", "must not be empty"),
        (CASES.replace("request: GET /", "request: GET ", 1), "must be METHOD /target"),
        (CASES.replace("request: GET /", "request: GET https://fhir.example.org/", 1), "must be METHOD /target"),
        ("- one", "must hold a mapping"),
        (CASES.replace("{resourceType: Patient, id: ann}", "records.json"), "cannot be read"),
        (CASES.replace("{resourceType: Patient, id: ann}", "{id: ann}"), "resourceType and an id"),
    ],
)
def test_a_file_that_cannot_be_used_fails(folder: Path, capsys: pytest.CaptureFixture[str], text: str, said: str) -> None:
    (folder / "cases.yaml").write_text(text)
    assert main(["test", "cases.yaml"]) == 1
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.out == ""


def test_the_option_comes_before_the_file(folder: Path) -> None:
    (folder / "closed.yaml").write_text("clients: {}\n")
    assert main(["test", "cases.yaml", "--config", "closed.yaml"]) == 1


def test_the_environment_lets_no_policy_file_be_another(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMART_GATEWAY_POLICY__CLIENTS", "{}")
    assert main(["test", "cases.yaml"]) == 0


# --- compare ------------------------------------------------------------------------------------------------------------------------


def compare(folder: Path, new: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    (folder / "new.yaml").write_text(new)
    code = main(["compare", "policy.yaml", "new.yaml", "--format", "json"])
    return code, json.loads(capsys.readouterr().out)


def test_compare_says_what_opens(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, shown = compare(folder, POLICY.replace("[patient/*.rs]", "[patient/*.rs, patient/Observation.c]"), capsys)
    assert (code, shown["opens"], shown["closes"]) == (3, True, False)
    assert {(tuple(one["clients"]), tuple(one["types"]), one["permissions"]) for one in shown["boundaries"]} == {
        (("app",), ("Observation",), "c")
    }
    assert {one["after"]["text"] for one in shown["boundaries"]} <= {
        "in Patient/the-patient",
        "in Patient/the-user",
        "in Patient/the-patient or in Patient/the-user",
    }
    assert main(["compare", "policy.yaml", "new.yaml"]) == 3
    assert "opens: c on Observation\n  for clients app" in capsys.readouterr().out


def test_compare_says_what_closes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, shown = compare(folder, POLICY.replace("patient/*.rs", "patient/*.r"), capsys)
    assert (code, shown["opens"], shown["closes"]) == (0, False, True)
    assert {one["permissions"] for one in shown["boundaries"]} == {"s"}


def test_compare_finds_nothing_where_nothing_changed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "policy.yaml", "policy.yaml"]) == 0
    assert capsys.readouterr().out == "Nothing opens, nothing closes.\n"


def test_what_stands_outside_the_policy_is_not_weighed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    around = "server: {public_url: http://localhost/fhir}\nupstream: {url: http://localhost:8090/fhir, fhir_version: R4}\n"
    settings = around + "issuers: [{issuer: %s}]\n"
    (folder / "one.yaml").write_text(settings % "https://one.example")
    (folder / "two.yaml").write_text(settings % "https://two.example")
    assert main(["compare", "one.yaml", "two.yaml"]) == 3
    assert "cannot be weighed, counts as opened: issuers" in capsys.readouterr().out


FIELDS = """
fields: [{type: Patient, permissions: u, only: [%s], when: {client: app}}]
break_glass: {scope: __break-glass, lifts: [users], max_duration: %s}
"""


def test_elements_and_emergencies_are_weighed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "policy.yaml").write_text(POLICY + FIELDS % ("telecom", "30m"))
    code, shown = compare(folder, POLICY + FIELDS % ("telecom, address", "1h"), capsys)
    assert (code, shown["boundaries"]) == (3, [])
    assert {(one["rule"], one["before"], one["after"], one["opens"], one["closes"], one["weighed"]) for one in shown["rules"]} == {
        ("fields of Patient when updated", "only telecom", "only telecom, address", True, False, True),
        ("break_glass.max_duration", "1800 s", "3600 s", True, False, True),
    }
    assert compare(folder, POLICY + FIELDS % ("telecom", "30m"), capsys)[0] == 0


def test_what_an_emergency_opens_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    closed = "clients: {app: {}}\nusers: {Practitioner: compartment}\n"
    (folder / "policy.yaml").write_text(closed)
    code, shown = compare(folder, closed + "break_glass: {scope: __break-glass, lifts: [users], max_duration: 1h}\n", capsys)
    assert code == 3
    assert {(one["emergency"], one["opens"], one["closes"], one["permissions"]) for one in shown["boundaries"]} == {
        (True, True, False, "rs")
    }
    assert [(one["rule"], one["weighed"]) for one in shown["rules"]] == [("break_glass", True)]
    assert main(["compare", "policy.yaml", "new.yaml"]) == 3
    assert "tokens with user/ scopes; in an emergency" in capsys.readouterr().out


def test_a_refused_policy_is_not_compared(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "new.yaml").write_text("clients: {app: {limits: []}}\n")
    assert main(["compare", "policy.yaml", "new.yaml"]) == 1
    assert 'did you mean "limit"' in capsys.readouterr().err


# --- suggest ------------------------------------------------------------------------------------------------------------------------


def line(**members: Any) -> str:
    known = {
        "request_id": "r",
        "outcome": "permit",
        "status": 200,
        "issuer": "https://one.example",
        "client_id": "app",
        "fhir_user": "Patient/a",
    }
    return json.dumps({**known, **members})


ENTRIES = [
    {"interaction": "create", "type": "Task", "status": 201, "count": 2},
    {"interaction": "delete", "type": "Task", "status": 403, "count": 1},
]
SEARCH = {"interaction": "search-type", "type": "Observation"}


@pytest.mark.parametrize(
    ("records", "limit", "kept"),
    [
        ([line(**SEARCH, rules=["patient/*.cruds"])], ["patient/Observation.s"], []),
        (
            [line(**SEARCH, rules=["patient/*.rs"]), line(interaction="read", type="Observation", rules=["patient/*.rs"])],
            ["patient/Observation.rs"],
            [],
        ),
        ([line(**SEARCH, rules=["patient/Observation.rs?category=laboratory"])], ["patient/Observation.s?category=laboratory"], []),
        ([line(**SEARCH, rules=["patient/Observation.rs?category=laboratory", "patient/*.s"])], ["patient/Observation.s"], []),
        ([line(**SEARCH, rules=["patient/*.rs", "user/*.rs"])], ["patient/Observation.s", "user/Observation.s"], []),
        ([line(interaction="operation", type="Patient", rules=["patient/*.rs"])], ["patient/*.rs"], ["patient/*.rs"]),
        (
            [line(interaction="batch", type=None, rules=["user/*.cruds"], entries=ENTRIES)],
            ["user/Task.c"],
            [],
        ),
        (
            [line(**SEARCH, outcome="deny", rules=["patient/*.rs"]), line(interaction="read", type="Patient", rules=["patient/*.r"])],
            ["patient/Patient.r"],
            [],
        ),
    ],
)
def test_the_least_is_suggested(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], records: list[str], limit: list[str], kept: list[str]
) -> None:
    (tmp_path / "log").write_text("\n".join(records))
    assert main(["suggest", str(tmp_path / "log"), "--format", "json"]) == 0
    [shown] = json.loads(capsys.readouterr().out)["clients"]
    assert (shown["client"], shown["limit"], shown["kept_whole"]) == ("app", limit, kept)


def test_a_suggestion_is_a_policy_and_allows_what_was_allowed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "log").write_text(
        "\n".join([line(**SEARCH, rules=["patient/*.cruds"]), line(client_id='ev"il: \n', **SEARCH, rules=["patient/*.s"])])
    )
    assert main(["suggest", "log"]) == 0
    text = capsys.readouterr().out
    (folder / "suggested.yaml").write_text(text.partition("policy:\n")[2])
    assert main(["test", "cases.yaml", "--config", "suggested.yaml"]) == 0


def test_what_a_dry_run_would_have_refused_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused = line(outcome="deny", dry_run=True, code="insufficient-scope", interaction="create", type="Task")
    (tmp_path / "log").write_text("\n".join([refused, refused, line(outcome="deny", code="insufficient-scope", **SEARCH)]))
    assert main(["suggest", str(tmp_path / "log"), "--format", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown == {
        "clients": [],
        "refused": [{"client": "app", "interaction": "create", "type": "Task", "code": "insufficient-scope", "count": 2}],
    }


def test_what_was_not_used_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "wide.yaml").write_text("clients: {app: {registered_scopes: [patient/Observation.rs, patient/Patient.r]}}\n")
    (folder / "log").write_text(line(**SEARCH, rules=["patient/Observation.rs"]))
    assert main(["suggest", "log", "--config", "wide.yaml", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["clients"][0]["unused"] == ["patient/Patient.r"]


def test_no_suggestion_is_wider_than_the_limit_that_there_is(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "narrow.yaml").write_text("clients: {app: {limit: ['patient/*.rs?_id=a1', patient/Patient.r]}}\n")
    (folder / "log").write_text(line(**SEARCH, rules=["patient/*.cruds"]))
    assert main(["suggest", "log", "--config", "narrow.yaml", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["clients"][0]["limit"] == ["patient/Observation.s?_id=a1"]


def test_plain_scopes_that_count_are_kept(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No record says whether a label was shown, or an emergency called, by one: a limit without them would close that."""
    labels = "labels: {ceiling: N, unlabelled: N, raised_by: {__restricted: R, __other: R}}"
    (folder / "labelled.yaml").write_text(f"clients: {{app: {{registered_scopes: [patient/*.rs, __restricted]}}}}\n{labels}\n")
    (folder / "log").write_text(line(**SEARCH, rules=["patient/*.cruds"]))
    assert main(["suggest", "log", "--config", "labelled.yaml", "--format", "json"]) == 0
    [shown] = json.loads(capsys.readouterr().out)["clients"]
    assert (shown["limit"], shown["kept_whole"]) == (["patient/Observation.s", "__restricted"], ["__restricted"])
    assert main(["suggest", "log", "--config", "labelled.yaml"]) == 0
    assert '- "__restricted" # as it was' in capsys.readouterr().out


def test_what_depends_on_other_resources_keeps_the_scopes_by_which_these_are_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "log").write_text(line(interaction="read", type="Binary", rules=["patient/*.rs"]))
    assert main(["suggest", str(tmp_path / "log"), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["clients"][0]["kept_whole"] == ["patient/*.rs"]


def test_a_batch_of_which_nothing_was_carried_out_needs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "log").write_text(line(interaction="batch", type=None, rules=[], entries=ENTRIES[1:]))
    assert main(["suggest", str(tmp_path / "log"), "--format", "json"]) == 0
    [shown] = json.loads(capsys.readouterr().out)["clients"]
    assert (shown["limit"], shown["unexplained"]) == ([], 0)


@pytest.mark.parametrize("text", ["", "nonsense\n", "[]\n{}\n"])
def test_a_log_without_decisions_fails(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "log").write_text(text)
    assert main(["suggest", str(tmp_path / "log")]) == 1
    assert "no decision" in capsys.readouterr().err


# --- tenants ------------------------------------------------------------------------------------------------------------------------

TENANT = """
  - name: {name}
    path: /{name}
    upstream: {{url: http://localhost:8090/{name}, fhir_version: R4}}
    issuers: [{{issuer: "https://{name}.example"}}]
    policy: {{clients: {{app: {{limit: [{limit}]}}}}}}
"""


@pytest.fixture
def tenants(folder: Path) -> Path:
    head = "server: {public_url: http://localhost/fhir}\ntenants:"
    north, south = (TENANT.format(name=name, limit="patient/*.rs") for name in ("north", "south"))
    (folder / "old.yaml").write_text(head + north + south)
    (folder / "new.yaml").write_text(head + north + TENANT.format(name="south", limit="patient/*.cruds"))
    (folder / "cases.yaml").write_text(CASES.replace("config: policy.yaml", "config: new.yaml"))
    return folder


@pytest.mark.parametrize(("tenant", "opens", "failed"), [("north", 0, 0), ("south", 3, 1)])
def test_one_of_several_tenants(tenants: Path, tenant: str, opens: int, failed: int) -> None:
    assert main(["compare", "old.yaml", "new.yaml", "--tenant", tenant]) == opens
    assert main(["test", "cases.yaml", "--tenant", tenant, "--coverage"]) == failed


@pytest.mark.parametrize("more", [[], ["--tenant", "east"]])
def test_a_tenant_must_be_named_and_known(tenants: Path, more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "old.yaml", "new.yaml", *more]) == 1
    assert main(["test", "cases.yaml", *more]) == 1
    assert "north, south" in capsys.readouterr().err


def test_a_report_that_cannot_be_written_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", "cases.yaml", "--junit", "nowhere/out.xml"]) == 1
    out, err = capsys.readouterr()
    assert "3 of 3 cases pass" in out
    assert err == "nowhere/out.xml cannot be written: No such file or directory\n"


def test_a_policy_alone_may_name_issuers(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "old.yaml").write_text("clients: {app: {limit: [patient/*.rs], issuers: [https://a.example, https://b.example]}}\n")
    (folder / "new.yaml").write_text("clients: {app: {limit: [patient/*.rs], issuers: [https://a.example]}}\n")
    assert main(["compare", "old.yaml", "new.yaml"]) == 0
    assert "https://b.example" in capsys.readouterr().out
    assert main(["compare", "new.yaml", "old.yaml"]) == 3


def test_of_a_policy_alone_only_its_own_findings_are_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "broken.yaml").write_text("clients: {app: {limits: [patient/*.rs]}}\n")
    assert main(["compare", "policy.yaml", "broken.yaml"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said == ["broken.yaml is refused.", 'broken.yaml:1:17: error: policy.clients.app.limits: unknown key; did you mean "limit"?']


@pytest.mark.parametrize("verb", [["compare", "policy.yaml"], ["test", "cases.yaml", "--config"]])
def test_a_pipe_is_no_policy_since_it_can_be_read_only_once(verb: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(folder / "pipe")
    assert main([*verb, "pipe"]) == 1
    assert "is neither a file nor a directory" in capsys.readouterr().err
