"""The decision log: one line per event, whatever is in it, and never an error into the request."""

from __future__ import annotations

import io
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from smart_gateway.observe.events import DecisionEvent
from smart_gateway.observe.logs import DecisionLog

EVENT = DecisionEvent(
    time=1763719200.25,
    request_id="r-1",
    method="GET",
    outcome="permit",
    status=200,
    duration=1.5,
    interaction="search-type",
    type="Observation",
    types=("Observation", "Patient"),
    issuer="https://idp.example.org",
    subject="amy",
    client_id="growth-chart",
    fhir_user="Patient/pat-a",
    patient="pat-a",
    rules=("patient/Observation.rs",),
    upstream_status=200,
    removed=2,
)


def lines_of(event: DecisionEvent) -> list[bytes]:
    sink = io.BytesIO()
    assert DecisionLog(sink).record(event)
    return sink.getvalue().splitlines(keepends=True)


def test_a_line_has_every_field_under_its_own_name() -> None:
    (line,) = lines_of(EVENT)
    record = json.loads(line)
    assert list(record) == list(DecisionEvent.__struct_fields__)
    assert record["types"] == ["Observation", "Patient"]
    assert record["removed"] == 2
    assert record["id"] is None
    assert record["dry_run"] is False


def test_an_event_cannot_be_changed() -> None:
    with pytest.raises(AttributeError, match="immutable"):
        EVENT.status = 403  # type: ignore[misc]


@pytest.mark.parametrize(
    "hostile",
    [
        'a\n{"outcome":"permit"}',
        "a\r\nb",
        "a\u2028b\u2029c\u0085d",
        "\x1b[2J\x1b]0;title\x07",
        "\x00\x7f",
        '"},{"',
        "\ud800",
        "Zo\u00eb \U0001f600",
    ],
)
def test_what_a_client_can_influence_stays_inside_its_string(hostile: str) -> None:
    (line,) = lines_of(replace(EVENT, subject=hostile, method=hostile, types=(hostile,)))
    text = line.decode("ascii")
    assert text.endswith("}\n")
    assert all(32 <= ord(c) < 127 for c in text[:-1])
    record = json.loads(text)
    assert (record["subject"], record["method"], record["types"]) == (hostile, hostile, [hostile])
    assert record["outcome"] == "permit"


@given(st.text(st.characters(codec=None), max_size=40), st.text(max_size=40))
def test_any_text_gives_one_line_that_reads_back(subject: str, code: str) -> None:
    (line,) = lines_of(replace(EVENT, subject=subject, code=code))
    record = json.loads(line)
    assert (record["subject"], record["code"]) == (subject, code)


class Broken:
    def __init__(self, failure: Exception | int) -> None:
        self.failure = failure

    def write(self, line: bytes, /) -> int:
        if isinstance(self.failure, int):
            return self.failure
        raise self.failure


@pytest.mark.parametrize("failure", [BrokenPipeError(), OSError(28, "no space"), ValueError("closed file"), 3])
def test_a_line_that_cannot_be_written_is_counted_and_raises_nothing(failure: Exception | int) -> None:
    log = DecisionLog(Broken(failure))
    assert not log.record(EVENT)
    assert not log.record(EVENT)
    assert log.lost == 2


def test_standard_output_is_the_default_and_is_written_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    log = DecisionLog()
    assert log.record(EVENT)
    assert json.loads(capfd.readouterr().out)["request_id"] == "r-1"


def test_lines_of_two_writers_on_one_pipe_do_not_mix() -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as source, os.fdopen(writer, "wb", buffering=0) as sink:
        first, second = DecisionLog(sink), DecisionLog(sink)
        for n in range(20):
            first.record(replace(EVENT, request_id=f"a{n}"))
            second.record(replace(EVENT, request_id=f"b{n}"))
        sink.close()
        assert [json.loads(line)["request_id"] for line in source] == [f"{w}{n}" for n in range(20) for w in "ab"]
