"""A policy in several files: directories, ``include``, what is said twice, and where everything is written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from smart_gateway.settings.building.policy import build_policy
from smart_gateway.settings.findings import Severity
from smart_gateway.settings.loading import Examination, examine
from smart_gateway.settings.reloading import SettingsFile
from tests.settings.test_refusals import ENVIRONMENT, settings


def examined(tmp_path: Path, named: str, **files: str) -> Examination:
    """The examination of settings whose policy is ``named``; ``files`` by their names, ``__`` for a slash."""
    (tmp_path / "gateway.yaml").write_text(settings(policy=f"policy: {named}"))
    for name, text in files.items():
        path = tmp_path / (name.replace("__", "/") + ".yaml")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return examine(tmp_path / "gateway.yaml", ENVIRONMENT, proxying=True)


CLIENTS = "clients:\n  a: {limit: [patient/*.rs]}\n"
USERS = "users:\n  - boundary: patient\n"


def test_a_directory_is_a_policy_in_parts(tmp_path: Path) -> None:
    found = examined(
        tmp_path,
        "policy.d",
        policy_d="",
        **{"policy.d__10": CLIENTS + USERS, "policy.d__20": "clients: {b: {}}\nusers: [{boundary: nothing}]\n"},
    )
    assert found.findings == ()
    assert found.settings is not None
    policy = build_policy(found.settings)
    assert list(policy.clients or {}) == ["a", "b"]
    assert len(policy.users) == 2
    assert policy.place("clients", "a", "limit", 0) == f"{tmp_path}/policy.d/10.yaml:2:15"
    assert policy.place("clients", "b") == f"{tmp_path}/policy.d/20.yaml:1:11"
    assert policy.place("users", 1) == f"{tmp_path}/policy.d/20.yaml:2:9"
    assert policy.place("labels") is None


@pytest.mark.parametrize("include", ["clients.d", "[clients.d]", "[clients.d/a.yaml, clients.d/b.yaml]"])
def test_include_takes_files_and_directories(tmp_path: Path, include: str) -> None:
    parts = {"clients.d__a": "clients: {a: {}}", "clients.d__b": "clients: {b: {}}"}
    found = examined(tmp_path, "policy.yaml", policy=f"include: {include}\nclients: {{own: {{}}}}\n", **parts)
    assert found.findings == ()
    assert found.settings is not None
    assert set(found.settings.policy.clients or {}) == {"own", "a", "b"}
    assert found.settings.policy.include is None


def test_include_in_the_settings_themselves(tmp_path: Path) -> None:
    found = examined(tmp_path, "{include: more.yaml}", more=CLIENTS)
    assert found.settings is not None
    assert set(found.settings.policy.clients or {}) == {"a"}


@pytest.mark.parametrize(
    ("first", "second", "key", "place"),
    [
        (CLIENTS, CLIENTS, "policy.clients.a", "2:3"),
        ("binary: deny\n", "binary: allow\n", "policy.binary", "1:1"),
        ("limits: {url: 8KiB}\n", "limits: {url: 9KiB}\n", "policy.limits.url", "1:10"),
        (USERS, "users: {Patient: nothing}\n", "policy.users", "1:1"),
    ],
)
def test_what_is_said_twice_is_refused(tmp_path: Path, first: str, second: str, key: str, place: str) -> None:
    found = examined(tmp_path, "p.d", **{"p.d__1": first, "p.d__2": second})
    assert found.settings is None
    (finding,) = found.findings
    assert (str(finding.place), finding.key) == (f"{tmp_path}/p.d/2.yaml:{place}", key)
    assert f"is said already ({tmp_path}/p.d/1.yaml:{place})" in finding.text


@pytest.mark.parametrize(
    ("named", "files", "says"),
    [
        ("p.d", {"p.d__.hidden": ""}, "holds no file *.yaml"),
        ("p.yaml", {"p": "include: p.yaml\n"}, "part of the policy already"),
        ("p.yaml", {"p": "include: q.yaml\n", "q": "include: [p.yaml]\n"}, "part of the policy already"),
        ("p.yaml", {"p": "include: absent.yaml\n"}, "cannot be read"),
        ("p.yaml", {"p": 'include: "a\\0b"\n'}, "cannot be read"),
        ("p.yaml", {"p": "include: [1]\n"}, "must be the path of a file or directory"),
        ("p.yaml", {"p": "include: {a: b}\n"}, "must be the path of a file or directory"),
        ("p.yaml", {"p": "include:\n"}, "must be the path of a file or directory"),
        ("p.d", {"p.d__a": "[]"}, "must hold a mapping"),
    ],
)
def test_what_cannot_be_included_is_refused(tmp_path: Path, named: str, files: dict[str, str], says: str) -> None:
    found = examined(tmp_path, named, **files)
    assert found.settings is None
    assert [finding for finding in found.findings if says in finding.text], found.findings


def test_what_a_directory_holds_besides_is_said(tmp_path: Path) -> None:
    left_out = ["20.YAML", "30.json", "40.yml.bak", "50.yaml~", "60"]
    (tmp_path / "p.d" / "more").mkdir(parents=True)
    for name in (*left_out, "README.md", "notes.txt", ".hidden.json"):
        (tmp_path / "p.d" / name).write_text("clients: {x: {}}")
    found = examined(tmp_path, "p.d", **{"p.d__10": CLIENTS})
    assert found.settings is not None
    assert set(found.settings.policy.clients or {}) == {"a"}
    assert {finding.severity for finding in found.findings} == {Severity.WARNING}
    assert [(finding.key, finding.text) for finding in found.findings] == [
        ("policy", f"{tmp_path}/p.d/{name} is not read: of a directory the files *.yaml and *.yml are") for name in (*left_out, "more")
    ]


def test_findings_of_an_included_file_name_that_file(tmp_path: Path) -> None:
    found = examined(tmp_path, "p.d", **{"p.d__a": "clients: {x: {}}\n", "p.d__b": "clients:\n  y: {limt: []}\n"})
    assert [str(finding) for finding in found.findings] == [
        f'{tmp_path}/p.d/b.yaml:2:7: error: policy.clients.y.limt: unknown key; did you mean "limit"?'
    ]


def test_a_file_that_is_added_is_a_change(tmp_path: Path) -> None:
    examined(tmp_path, "p.d", **{"p.d__a": CLIENTS})
    file = SettingsFile(tmp_path / "gateway.yaml", ENVIRONMENT)
    file.read()
    assert not file.changed()
    (tmp_path / "p.d" / "b.yaml").write_text("clients: {b: {}}\n")
    os.utime(tmp_path / "p.d", (1, 1))
    assert file.changed()
    read, _ = file.read()
    assert set(read.policy.clients or {}) == {"a", "b"}
