"""Sinks that fail, are slow, refuse, or are gone: none holds up another, and what is not on record is known not to be."""

from __future__ import annotations

import asyncio
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from smart_gateway.observe.audit_event import Observer
from smart_gateway.observe.auditing import AuditTrail
from smart_gateway.observe.collector import Collector, Patience
from smart_gateway.observe.events import BreakGlassUse, DecisionEvent
from smart_gateway.observe.logs import DecisionLog
from smart_gateway.settings.sections.audit import build_audit
from smart_gateway.tokens.transport import FetchError, Received
from tests.observe.test_audit_event import EVENT

URL = "https://audit.example.org/fhir/AuditEvent"
OBSERVER = Observer("https://fhir.example.org/fhir")
AT_ONCE = Patience(0.0, 0.0, 5.0)


class Server:
    """A collector of AuditEvents: ``answers`` in order, the last one ever after; ``open`` lets posts through."""

    def __init__(self, *answers: int | Exception) -> None:
        self.answers = list(answers) or [201]
        self.got: list[dict[str, Any]] = []
        self.headers: list[Mapping[str, str]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.closed = False
        self.tried = 0

    async def get_json(self, url: str) -> Any:
        raise NotImplementedError

    async def post(self, url: str, content: bytes, headers: Mapping[str, str]) -> Received:
        assert url == URL
        self.tried += 1
        await self.open.wait()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        self.headers.append(headers)
        if answer < 300:
            self.got.append(json.loads(content))
        return Received(answer, "application/fhir+json", b"")

    async def aclose(self) -> None:
        self.closed = True


def collector(server: Server, **choices: Any) -> Collector:
    return Collector(URL, server, OBSERVER, **{"patience": AT_ONCE, **choices})


def request_ids(server: Server) -> list[str]:
    return [event["entity"][0]["what"]["identifier"]["value"] for event in server.got]


def numbered(number: int) -> DecisionEvent:
    return replace(EVENT, request_id=f"r-{number}")


async def test_events_are_posted_in_their_time() -> None:
    server = Server()
    kept = collector(server, headers={"authorization": "Bearer s"})
    assert all(kept.offer(numbered(n)) for n in range(20))
    assert server.got == []  # nobody waited
    await kept.aclose()
    assert sorted(request_ids(server)) == sorted(f"r-{n}" for n in range(20))
    assert server.headers[0]["authorization"] == "Bearer s"
    assert server.headers[0]["content-type"] == "application/fhir+json"
    assert (server.closed, kept.lost) == (True, 0)


async def test_a_server_that_does_not_answer_fills_its_queue_and_nothing_else() -> None:
    server, lines = Server(), io.BytesIO()
    server.open.clear()
    slow = collector(server, most=3, patience=Patience(0.0, 0.0, 0.0))
    trail = AuditTrail(DecisionLog(lines), [slow])
    for number in range(4):
        trail.record(numbered(number))
        await asyncio.sleep(0)  # four are under way
    taken = [trail.record(numbered(number)) for number in range(4, 10)]
    assert taken == [True, True, True, False, False, False]
    assert len(lines.getvalue().splitlines()) == 10
    assert (slow.waiting, slow.lost) == (3, 3)
    await trail.aclose()
    assert slow.waiting == 3
    assert slow.lost >= 6


async def test_what_failed_is_sent_again() -> None:
    server = Server(FetchError("gone"), 503, 429, 201)
    kept = collector(server)
    kept.offer(EVENT)
    await kept.aclose()
    assert (request_ids(server), kept.lost, server.tried) == (["r-1"], 0, 4)


async def test_what_the_server_refuses_is_not_sent_again() -> None:
    server = Server(422, 201)
    kept = collector(server)
    kept.offer(numbered(1))
    await asyncio.sleep(0)
    kept.offer(numbered(2))
    await kept.aclose()
    assert (request_ids(server), kept.lost) == (["r-2"], 1)


async def test_after_the_end_nothing_is_taken() -> None:
    kept = collector(Server())
    await kept.aclose()
    assert not kept.offer(EVENT)
    assert not await kept.deliver(EVENT)


@pytest.mark.parametrize("answer", [401, 403, 404, 422, 500, 503, 302, FetchError("gone"), RuntimeError("odd")])
async def test_what_must_be_kept_is_kept_or_is_known_not_to_be(answer: int | Exception) -> None:
    lines = io.BytesIO()
    assert await AuditTrail(DecisionLog(lines), [collector(Server())]).keep(EVENT)
    assert not await AuditTrail(DecisionLog(lines), [collector(Server()), collector(Server(answer))]).keep(EVENT)
    assert len(lines.getvalue().splitlines()) == 2


class Full:
    def write(self, line: bytes, /) -> int | None:
        raise OSError(28, "No space left on device")


async def test_a_full_disk_keeps_nothing_and_the_server_gets_its_event() -> None:
    server = Server()
    trail = AuditTrail(DecisionLog(Full()), [collector(server)])
    assert not await trail.keep(EVENT)
    assert request_ids(server) == ["r-1"]
    assert not trail.record(EVENT)


async def test_what_was_kept_as_it_began_is_not_told_twice() -> None:
    server = Server()
    kept = collector(server)
    assert await kept.deliver(replace(EVENT, stage="begun", status=0))
    assert kept.offer(replace(EVENT, kept=True))
    kept.offer(replace(EVENT, kept=True, outcome="error", status=502, request_id="r-2"))
    await kept.aclose()
    assert request_ids(server) == ["r-1", "r-2"]


def test_reasons_in_any_script_are_one_line_of_ascii() -> None:
    use = BreakGlassUse(granted=True, scope="__x", purpose="BTG", reason="Hüfte \N{SNOWMAN}", lifts=("users",))
    sink = io.BytesIO()
    assert DecisionLog(sink).record(replace(EVENT, break_glass=use))
    (line,) = sink.getvalue().splitlines()
    assert line.isascii()
    assert json.loads(line)["break_glass"]["reason"] == "Hüfte \N{SNOWMAN}"


class _Settings:
    """As much of the settings as sinks need."""

    def __init__(self, folder: Path, *sinks: Any) -> None:
        from smart_gateway.settings.sections.audit import AuditSettings

        self.policy = type("P", (), {"audit": AuditSettings.model_validate({"sinks": list(sinks)})})
        self._folder = folder

    def file(self, name: str) -> Path:
        return self._folder / name


def test_a_pipe_that_nobody_reads_is_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    settings: Any = _Settings(tmp_path, {"file": "pipe"}, {"file": "audit.ndjson"})
    with pytest.raises(OSError, match="No such device"):
        build_audit(settings, recording=True)
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    built = build_audit(settings, recording=True)
    written = [built.trail.record(EVENT) for _ in range(400)]  # more than a pipe holds
    assert written[0]
    assert not written[-1]
    assert len((tmp_path / "audit.ndjson").read_bytes().splitlines()) == 400
    os.close(reader)
    for file in built.files:
        file.close()
