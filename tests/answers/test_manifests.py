"""The manifest of an export, the addresses in it, and the lines of its files."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from smart_gateway.answers.jobs import LIFETIME, JobSealer, locate, locate_job, open_file, open_job
from smart_gateway.answers.lines import LineJudge, LineSplitter
from smart_gateway.answers.links import page_context
from smart_gateway.answers.manifests import confine_manifest
from smart_gateway.answers.sealing import Sealer
from smart_gateway.errors import PageExpired, PageRefused, UpstreamError
from smart_gateway.fhir.references import Bases
from smart_gateway.policy.access import Access
from smart_gateway.policy.exports.jobs import CheckExportFile, ExportFile, ExportJob, FileKind
from tests.support.deciding import BASES, DEFAULT, principal, vocabulary

NOW = 1_750_000_000.0
SEALER = Sealer([b"k" * 32], 900.0)
UP, PUBLIC = BASES.upstream, BASES.public
TYPES = frozenset({"Observation", "Patient"})
JOB = ExportJob(("$export-poll-status",), (("_jobId", "1"),), TYPES, "Patient")
WHO = {"subject": "s", "client_id": "c"}


def access(scope: str = "system/*.rs", **claims: Any) -> Access:
    return Access(principal(scope, **{**WHO, **claims}), DEFAULT)


def links(who: Access | None = None) -> JobSealer:
    count = iter(range(1, 1000))
    return JobSealer(who or access(), SEALER, NOW, lambda size: next(count).to_bytes(size, "big"))


def token(url: str) -> str:
    return url.partition("=")[2]


def manifest(**members: Any) -> bytes:
    found = {
        "transactionTime": "2025-06-15T10:00:00.000+00:00",
        "request": f"{UP}/Patient/$export?_type=Patient,Observation",
        "requiresAccessToken": False,
        "output": [{"type": "Patient", "url": f"{UP}/Binary/1", "count": 7}],
        "error": [],
        **members,
    }
    return json.dumps({name: value for name, value in found.items() if value is not None}).encode()


def confined(raw: bytes, job: ExportJob = JOB) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(confine_manifest(raw, job, links()).body)
    return found


def test_a_manifest_is_built_anew() -> None:
    made = confined(manifest(surprise="x", extension={"secret": "y"}))
    assert list(made) == ["transactionTime", "request", "requiresAccessToken", "output", "error"]
    assert made["requiresAccessToken"] is True
    assert made["request"] == f"{PUBLIC}/Patient/$export?_type=Patient,Observation"
    assert made["error"] == []
    (file,) = made["output"]
    assert (file["type"], file["count"], list(file)) == ("Patient", 7, ["type", "url", "count"])
    assert file["url"].startswith(f"{PUBLIC}/$export-file?_file=")
    opened = open_file(token(file["url"]), access(), SEALER, NOW)
    assert opened == ExportFile(replace(JOB, path=("Binary", "1"), query=()), FileKind.OUTPUT, "Patient")


def test_files_of_other_types_are_left_out_and_counted() -> None:
    files = [{"type": type, "url": f"{UP}/Binary/1"} for type in ("Patient", "Condition", "patient", "Observation", "OperationOutcome")]
    elsewhere = {"type": "Condition", "url": "https://elsewhere.example/x"}  # left out before anybody looks where it lies
    found = confine_manifest(manifest(output=[*files, elsewhere]), JOB, links())
    assert [file["type"] for file in json.loads(found.body)["output"]] == ["Patient", "Observation"]
    assert found.removed == 4


def test_deletions_and_errors() -> None:
    deleted = [{"type": "Bundle", "url": f"{UP}/Binary/2"}, {"type": "Patient", "url": f"{UP}/Binary/3"}]
    error = [{"type": "OperationOutcome", "url": f"{UP}/Binary/4"}, {"type": "Patient", "url": f"{UP}/Binary/5"}]
    made = confined(manifest(deleted=deleted, error=error))
    assert [file["type"] for file in made["deleted"]] == ["Bundle"]
    assert [file["type"] for file in made["error"]] == ["OperationOutcome"]
    assert open_file(token(made["deleted"][0]["url"]), access(), SEALER, NOW).kind is FileKind.DELETED
    assert open_file(token(made["error"][0]["url"]), access(), SEALER, NOW).kind is FileKind.ERROR


@pytest.mark.parametrize(
    "url",
    [
        "https://elsewhere.example/fhir/Binary/1",
        "https://bucket.s3.amazonaws.com/x.ndjson?X-Amz-Signature=1",
        "http://127.0.0.1:8090/other/Binary/1",
        "http://127.0.0.1:8090/fhir-other/Binary/1",
        "http://127.0.0.1:8090/fhir@elsewhere.example/Binary/1",
        "http://user:secret@127.0.0.1:8090/fhir/Binary/1",
        "http://127.0.0.1:8090.elsewhere.example/fhir/Binary/1",
        f"{UP}/../admin",
        f"{UP}/Binary/../../admin",
        f"{UP}/Binary/%2e%2e/x",
        f"{UP}/Binary/.",
        f"{UP}//Binary/1",
        f"{UP}/Binary/1#x",
        f"{UP}/Binary/1?a=1?b=2",
        f"{UP}/Binary/1?a=%ZZ",
        f"{UP}/Binary/1 x",
        f"{UP}/Binary\\1",
        f"{UP}/Binary/1;x",
        f"{UP}/Bin\u00e4ry/1",
        f"{UP}/Binary/1\r\nX: y",
        f"{UP}/" + "a/" * 20 + "b",
        f"{UP}/",
        UP,
        "/fhir/Binary/1",
        "Binary/1",
        "",
    ],
)
def test_a_file_elsewhere_cannot_be_given_out(url: str) -> None:
    with pytest.raises(UpstreamError):
        confined(manifest(output=[{"type": "Patient", "url": url}]))


@pytest.mark.parametrize("url", [f"{UP}/Binary/1", f"{PUBLIC}/Binary/1", f"{UP}/bulk/files/1.Patient.ndjson?sig=a%2Bb%26c", f"{UP}/%24x/1"])
def test_a_file_below_the_base(url: str) -> None:
    assert locate(url, BASES) is not None


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"null",
        b'"x"',
        b"\xef\xbb\xbf{}",
        manifest(transactionTime=None),
        manifest(transactionTime="yesterday"),
        manifest(transactionTime=5),
        manifest(output={"type": "Patient"}),
        manifest(output=["x"]),
        manifest(output=[{"url": f"{UP}/Binary/1"}]),
        manifest(output=[{"type": "Patient"}]),
        manifest(output=[{"type": ["Patient"], "url": f"{UP}/Binary/1"}]),
        manifest(link=[{"relation": "next", "url": f"{UP}/more"}]),
        manifest()[:-1] + b',"output":[]}',  # doubled
        b'{"transactionTime":"2025-06-15T10:00:00Z","output":[{"type":"Condition","type":"Patient","url":"%s/Binary/1"}]}' % UP.encode(),
        manifest(output=[{"type": "Patient", "url": f"{UP}/Binary/1"}] * 10_001),
        manifest(x="y" * (8 * 1024 * 1024)),
    ],
)
def test_what_is_no_manifest(raw: bytes) -> None:
    with pytest.raises(UpstreamError):
        confined(raw)


@pytest.mark.parametrize("count", [-1, 1.5, "7", True, None, 10**20])
def test_a_count_that_is_none_is_left_out(count: object) -> None:
    (file,) = confined(manifest(output=[{"type": "Patient", "url": f"{UP}/Binary/1", "count": count}]))["output"]
    assert "count" not in file


@pytest.mark.parametrize(
    ("said", "level", "shown"),
    [
        (f"{UP}/$export?_typeFilter=Patient?name=a", None, f"{PUBLIC}/$export?_typeFilter=Patient%3Fname%3Da"),
        ("https://elsewhere.example/$export", None, f"{PUBLIC}/$export"),
        ("https://elsewhere.example/$export", "Patient", f"{PUBLIC}/Patient/$export"),
        (7, None, f"{PUBLIC}/$export"),
    ],
)
def test_the_request_is_told_in_the_public_base(said: object, level: str | None, shown: str) -> None:
    assert confined(manifest(request=said), replace(JOB, level=level))["request"] == shown


@pytest.mark.parametrize(
    ("url", "found"),
    [
        (f"{UP}/$export-poll-status?_jobId=1", True),
        (f"{UP}/%24export-poll-status?_jobId=1", True),
        ("/fhir/$export-poll-status?_jobId=1", True),
        (f"{PUBLIC}/bulkstatus/5", True),
        (f"{UP}/Patient/$export-status?id=1", True),
        (f"{UP}/Patient/1", False),  # to DELETE there would not end a job
        (f"{UP}/Patient?_id=1", False),
        (f"{UP}/Patient", False),
        (f"{UP}?_id=1", False),
        (f"{UP}/", False),
        ("//fhir/$export-poll-status", False),
        ("/other/$export-poll-status", False),
        ("https://elsewhere.example/fhir/x", False),
        ("", False),
    ],
)
def test_where_a_job_may_be(url: str, found: bool) -> None:
    assert (locate_job(url, BASES, vocabulary().types) is not None) is found


@pytest.mark.parametrize("types", [TYPES, vocabulary().types, vocabulary().types - {"Bundle"}])
def test_a_job_opens_as_it_was_sealed(types: frozenset[str]) -> None:
    job = replace(JOB, types=types)
    url = links().job_url(job)
    assert url.startswith(f"{PUBLIC}/$export-poll-status?_job=")
    assert len(url) < 8 * 1024  # a target may be no longer
    assert open_job(token(url), access(), SEALER, NOW) == job


def test_an_address_outlives_tokens_and_pages_but_not_its_day() -> None:
    url = links().job_url(JOB)
    for scope in ("system/Patient.rs", "", "patient/*.rs"):
        assert open_job(token(url), access(scope), SEALER, NOW + LIFETIME - 1) == JOB
    with pytest.raises(PageExpired) as expired:
        open_job(token(url), access(), SEALER, NOW + LIFETIME)
    assert (expired.value.reason, expired.value.expression) == ("export-expired", "http._job")


@pytest.mark.parametrize("claims", [{"subject": "t"}, {"client_id": "d"}, {"subject": None}, {"client_id": None}, {"tenant": "t2"}])
def test_nobody_elses_address(claims: dict[str, Any]) -> None:
    (file,) = confined(manifest())["output"]
    for opening, url, named in ((open_job, links().job_url(JOB), "http._job"), (open_file, file["url"], "http._file")):
        with pytest.raises(PageRefused) as refused:
            opening(token(url), access(**claims), SEALER, NOW)
        assert (refused.value.reason, refused.value.expression) == ("foreign-export", named)


def test_no_address_is_taken_for_another() -> None:
    job, (file,) = links().job_url(JOB), confined(manifest())["output"]
    page = SEALER.seal(b'["x",[],["*"],null]', page_context(access().principal, None, PUBLIC), NOW, b"n" * 12)
    for opening, wrong in ((open_file, token(job)), (open_job, token(file["url"])), (open_job, page), (open_file, page), (open_job, "")):
        with pytest.raises(PageRefused):
            opening(wrong, access(), SEALER, NOW)


def test_a_changed_address_does_not_open() -> None:
    sealed = token(links().job_url(JOB))
    for place in range(0, len(sealed), 7):
        changed = sealed[:place] + ("A" if sealed[place] != "A" else "B") + sealed[place + 1 :]
        with pytest.raises(PageRefused):
            open_job(changed, access(), SEALER, NOW)


def judge(line: bytes, kind: FileKind = FileKind.OUTPUT, type: str = "Patient", opened: frozenset[str] | None = TYPES) -> tuple[bytes, int]:
    judging = LineJudge(CheckExportFile(ExportFile(JOB, kind, type), opened), BASES)
    return judging.judge(line), judging.removed


@pytest.mark.parametrize(
    ("line", "left"),
    [
        (b'{"resourceType":"Patient","id":"1"}', b'{"resourceType":"Patient","id":"1"}\n'),
        (b'{"resourceType":"Patient","id":"1"}\r', b'{"resourceType":"Patient","id":"1"}\n'),
        (b' {"id": "1", "resourceType": "Patient"} ', b'{"id": "1", "resourceType": "Patient"}\n'),
        (b'{"\\u0072esourceType":"Patient"}', b'{"\\u0072esourceType":"Patient"}\n'),
        (b'{"resourceType":"Patient","x":1.50}', b'{"resourceType":"Patient","x":1.50}\n'),
        (
            b'{"resourceType":"Patient","link":[{"other":{"reference":"%s/Patient/2"}}]}' % UP.encode(),
            b'{"resourceType":"Patient","link":[{"other":{"reference":"%s/Patient/2"}}]}\n' % PUBLIC.encode(),
        ),
        (b'{"resourceType":"Patient","contained":[{"resourceType":"Condition","id":"c"}]}', None),
        (b"", b""),
        (b"\r", b""),
    ],
)
def test_lines_that_may_leave(line: bytes, left: bytes | None) -> None:
    assert judge(line) == (line + b"\n" if left is None else left, 0)


@pytest.mark.parametrize(
    "line",
    [
        b'{"resourceType":"Observation","id":"1"}',
        b'{"resourceType":"patient"}',
        b'{"id":"1"}',
        b'{"resourceType":["Patient"]}',
        b'{"resourceType":null}',
        b'{"resourceType":"Patient","resourceType":"Observation"}',
        b'{"resourceType":"Observation","resourceType":"Patient"}',
        b'{"resourceType":"Patient","\\u0072esourceType":"Observation"}',
        b'{"\\u0072esourceType":"Observation","resourceType":"Patient"}',
        b'{"resourceType":"Patient"} {"resourceType":"Observation"}',
        b'{"resourceType":"Patient"}\r{"resourceType":"Observation"}',
        b'[{"resourceType":"Patient"}]',
        b'"Patient"',
        b"null",
        b"  ",
        b"\xef\xbb\xbf" + b'{"resourceType":"Patient"}',
        b'{"resourceType":"Patient","x":"\xff"}',
        b'{"resourceType":"Patient","x":',
        b'{"resourceType":"Patient","x":"\\ud800"}',
        b'{"resourceType":"Patient","x":NaN}',
        b'{"resourceType":"Patient","contained":[{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Condition"}}]}]}',
        b'{"resourceType":"Patient","contained":[{"resourceType":"Parameters","parameter":[{"resource":{"resourceType":"Goal"}}]}]}',
        b'{"resourceType":"Patient","x":' + b"[" * 5000 + b"]" * 5000 + b"}",
    ],
)
def test_lines_that_break_the_file_off(line: bytes) -> None:
    judging = LineJudge(CheckExportFile(ExportFile(JOB, FileKind.OUTPUT, "Patient"), TYPES), BASES)
    with pytest.raises(UpstreamError) as refused:
        judging.judge(line)
    assert judging.removed == 1
    assert "Observation" not in refused.value.text


def test_a_bundle_is_exported_whole_by_whoever_has_every_type() -> None:
    bundle = b'{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Condition"}}]}'
    assert judge(bundle, type="Bundle", opened=None) == (bundle + b"\n", 0)


def test_errors_leave_without_their_words() -> None:
    issues = [{"severity": "error", "code": "processing", "diagnostics": "secret", "expression": ["Condition/9"]}, {"severity": "secret"}]
    left, removed = judge(json.dumps({"resourceType": "OperationOutcome", "issue": issues}).encode(), FileKind.ERROR, "OperationOutcome")
    assert b"secret" not in left
    assert b"Condition" not in left
    assert [issue["code"] for issue in json.loads(left)["issue"]] == ["processing"]
    assert removed == 0
    assert judge(b'{"resourceType":"OperationOutcome"}', FileKind.ERROR, "OperationOutcome") == (b"", 0)


def deletions(*entries: dict[str, Any], type: str = "transaction") -> bytes:
    return json.dumps({"resourceType": "Bundle", "id": "b", "type": type, "entry": list(entries)}).encode()


def deletion(url: str, **members: Any) -> dict[str, Any]:
    return {"request": {"method": "DELETE", "url": url}, **members}


def test_deletions_of_the_jobs_types() -> None:
    given = deletions(deletion("Patient/1"), deletion("Condition/2"), deletion(f"{UP}/Observation/3", fullUrl="urn:x"))
    left, removed = judge(given, FileKind.DELETED, "Bundle")
    assert json.loads(left) == {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [deletion("Patient/1"), deletion("Observation/3")],
    }
    assert removed == 1
    assert judge(deletions(deletion("Condition/2")), FileKind.DELETED, "Bundle") == (b"", 1)


@pytest.mark.parametrize(
    "line",
    [
        deletions(deletion("Patient/1"), type="batch"),
        deletions({"request": {"method": "PUT", "url": "Patient/1"}}),
        deletions(deletion("Patient/1", resource={"resourceType": "Patient"})),
        deletions(deletion("Patient?name=x")),
        deletions(deletion("https://elsewhere.example/fhir/Patient/1")),
        deletions({}),
        b'{"resourceType":"Bundle","type":"transaction","entry":{}}',
        b'{"resourceType":"Bundle","type":"transaction","entry":["x"]}',
        b'{"resourceType":"Patient"}',
        b'{"resourceType":"Bundle","type":"transaction","entry":[{"request":{"method":"DELETE","method":"PUT","url":"Patient/1"}}]}',
    ],
)
def test_what_is_no_file_of_deletions(line: bytes) -> None:
    with pytest.raises(UpstreamError):
        judge(line, FileKind.DELETED, "Bundle")


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_lines_are_cut_across_chunks(size: int) -> None:
    text = b"one\n\ntwo\r\nthree"
    splitter = LineSplitter(10)
    found = [line for start in range(0, len(text), size) for line in splitter.feed(text[start : start + size])]
    assert [*found, splitter.finish()] == [b"one", b"", b"two\r", b"three"]
    assert splitter.finish() == b""


@pytest.mark.parametrize(
    ("chunks", "last"),
    [([], b"x" * 11), ([b"x" * 6], b"x" * 5), ([], b"ok\n" + b"x" * 11 + b"\n"), ([b"x"] * 10, b"x"), ([b"x" * 10], b"x\n")],
)
def test_a_line_has_a_greatest_length(chunks: list[bytes], last: bytes) -> None:
    splitter = LineSplitter(10)
    assert [line for chunk in chunks for line in splitter.feed(chunk)] == []
    with pytest.raises(UpstreamError):
        list(splitter.feed(last))


def test_another_gateway_with_the_same_key_does_not_open_it() -> None:
    moved = Access(access().principal, replace(DEFAULT, bases=Bases(PUBLIC, "http://127.0.0.1:9999/fhir")))
    with pytest.raises(PageRefused):
        open_job(token(links().job_url(JOB)), moved, SEALER, NOW)
