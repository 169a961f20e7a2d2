"""``policy.audit``: where the records of decisions go, and whether anything is done without one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Discriminator, Field, Tag

from smart_gateway.observe.audit_event import Observer, References
from smart_gateway.observe.auditing import AuditTrail
from smart_gateway.observe.collector import Collector
from smart_gateway.observe.logs import DecisionLog, Sink
from smart_gateway.settings.files import is_file_name
from smart_gateway.settings.findings import KeyPath
from smart_gateway.settings.problems import Problem
from smart_gateway.settings.sections.addresses import BaseUrl, is_plain_http_elsewhere
from smart_gateway.settings.sections.quantities import Duration
from smart_gateway.settings.sections.secret import Secret
from smart_gateway.settings.sections.section import Section, Text, shape
from smart_gateway.tokens.transport import HttpTransport

if TYPE_CHECKING:
    from smart_gateway.settings.model import Settings

_PATH: KeyPath = ("policy", "audit", "sinks")
_STDOUT = 1


class FileSink(Section):
    """A file that gets one JSON line for each decision."""

    file: Text
    """Its path; lines are appended."""


class FhirSink(Section):
    """A FHIR server (R4) that gets an AuditEvent for each decision, by IHE Basic Audit Log Patterns."""

    fhir: BaseUrl
    """Its base: events are posted to `AuditEvent` there."""
    bearer: Secret | None = None
    """The token that they are posted with."""
    allow_http: bool = False
    """Plain http to an address that is not loopback."""
    queue: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    """How many events may wait for it; further ones are lost, which the log says."""
    timeout: Duration = Field(default="5s", validate_default=True)
    """Until it has answered. A request whose record is required waits so long at most."""
    references: References = "logical"
    """How records of patients are named: by identifiers below `public_url`, which every server takes, or by `literal` references, by which
    AuditEvents of a patient can be searched where the server knows or allows them (relative ones if it is `upstream.url`)."""


def _kind(value: object) -> str:
    if isinstance(value, FhirSink) or (isinstance(value, dict) and "fhir" in value):
        return "collector"
    return "word" if shape(value) == "word" else "lines"


AuditSink = Annotated[
    Annotated[Literal["log"], Tag("word")] | Annotated[FileSink, Tag("lines")] | Annotated[FhirSink, Tag("collector")], Discriminator(_kind)
]


class AuditSettings(Section):
    """Where the records of decisions go."""

    required: bool = False
    """Whether nothing is done that is not on record before: with a sink that fails, whatever would be permitted is refused (503)."""
    sinks: Annotated[list[AuditSink], Field(min_length=1)] = Field(default=["log"])
    """`log` (standard output), `{file: PATH}` and `{fhir: URL}`."""


@dataclass(frozen=True, slots=True)
class BuiltAudit:
    """The trail and its files."""

    trail: AuditTrail
    files: tuple[FileIO, ...] = ()

    async def aclose(self) -> None:
        await self.trail.aclose()
        for file in self.files:
            file.close()


def build_audit(settings: Settings, *, recording: bool) -> BuiltAudit:
    """The sinks; without ``recording`` no file is opened. Raises OSError where one cannot be."""
    sinks = settings.policy.audit.sinks
    files = tuple(_appending(settings.file(sink.file)) for sink in sinks if isinstance(sink, FileSink)) if recording else ()
    streams: list[Sink] = [*([FileIO(_STDOUT, "wb", closefd=False)] if "log" in sinks else []), *files]
    lines = DecisionLog(streams[0] if len(streams) == 1 else Streams(tuple(streams))) if streams else None
    return BuiltAudit(AuditTrail(lines, [_collector(sink, settings) for sink in sinks if isinstance(sink, FhirSink)]), files)


def _appending(path: Path) -> FileIO:
    """A file that is never waited for: a pipe that nobody reads is an error instead."""
    return FileIO(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o666), "ab")


def _collector(sink: FhirSink, settings: Settings) -> Collector:
    observer = Observer(settings.server.public_url, sink.references, relative=sink.fhir == settings.upstream.url)
    headers = {} if sink.bearer is None else {"authorization": f"Bearer {sink.bearer.reveal()}"}
    transport = HttpTransport(seconds=sink.timeout)
    return Collector(f"{sink.fhir}/AuditEvent", transport, observer, headers=headers, most=sink.queue)


class Streams:
    """Several places for one line; the line counts as written only when all of them have it."""

    def __init__(self, sinks: tuple[Sink, ...]) -> None:
        self._sinks = sinks

    def write(self, line: bytes, /) -> int | None:
        """Writes to all, also after one has failed; raises OSError when one did, or answers the fewest bytes that one took."""
        written, failure = len(line), None
        for sink in self._sinks:
            try:
                taken = sink.write(line)
            except OSError as error:
                failure = error
            else:
                written = min(written, 0 if taken is None else taken)
        if failure is not None:
            raise failure
        return written


def check_audit(settings: Settings) -> Iterator[Problem]:
    """Sinks that cannot be reached as they are written."""
    for index, sink in enumerate(settings.policy.audit.sinks):
        if isinstance(sink, FileSink):
            path: KeyPath = (*_PATH, index, "file")
            if not is_file_name(sink.file):
                yield Problem(path, "is not a file name")
            elif not settings.file(sink.file).parent.is_dir():
                yield Problem(path, f"the directory of {sink.file} does not exist")
        elif isinstance(sink, FhirSink):
            yield from _collected(sink, (*_PATH, index, "fhir"), settings)


def _collected(sink: FhirSink, path: KeyPath, settings: Settings) -> Iterator[Problem]:
    if is_plain_http_elsewhere(sink.fhir) and not sink.allow_http:
        yield Problem(path, "plain http to an address that is not loopback: use https, or set allow_http: true beside it")
    if sink.fhir == settings.server.public_url:
        yield Problem(path, "is the gateway itself: each record would make another one")
