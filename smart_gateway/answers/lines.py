"""The lines of an export's files, judged one by one as they stream. Spec: NDJSON 1.0; semantics 8."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from smart_gateway.answers.issues import judged_outcome
from smart_gateway.answers.rewriting import base_rewriter
from smart_gateway.errors import UpstreamError
from smart_gateway.fhir.bundles import carried
from smart_gateway.fhir.members import Members, members_of, text_of
from smart_gateway.fhir.references import Bases, parse_reference
from smart_gateway.fhir.strict_json import parse_json
from smart_gateway.policy.exports.jobs import CheckExportFile, FileKind

_REMARK = "The FHIR server made a remark on this export; its words are withheld."
_encode = msgspec.json.Encoder().encode


class LineSplitter:
    """Cuts a stream into lines at ``\\n``; holds no more than one line, which may have ``most`` bytes."""

    __slots__ = ("_held", "_most", "_size")

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The lines that ``chunk`` ends. Raises UpstreamError for one that is too long."""
        start = 0
        while (end := chunk.find(b"\n", start)) >= 0:
            self._hold(chunk[start:end])
            yield self.finish()
            start = end + 1
        self._hold(chunk[start:])

    def finish(self) -> bytes:
        """The line held so far, which may be empty."""
        line = b"".join(self._held)
        self._held.clear()
        self._size = 0
        return line

    def _hold(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._most:
            self._held.clear()
            raise UpstreamError("A line of the export is longer than this gateway accepts.")
        if piece:
            self._held.append(piece)


@dataclass(slots=True)
class LineJudge:
    """Judges the lines of one file. ``removed`` counts entries that may not leave, and the line that broke the stream off."""

    rule: CheckExportFile
    bases: Bases
    removed: int = 0

    def judge(self, line: bytes) -> bytes:
        """What may leave of ``line``, its end included; nothing of an empty one. Raises UpstreamError for one that is not what the file is
        said to hold."""
        line = line.removesuffix(b"\r")
        if not line:
            return b""
        try:
            judged = self._judged(base_rewriter(self.bases).whole(line))
        except ValueError:
            self.removed += 1
            text = f"A line of the export is not {self.rule.file.type} as was said, or cannot be read."
            raise UpstreamError(text) from None
        return judged + b"\n" if judged else b""

    def _judged(self, line: bytes) -> bytes:
        members = members_of(line)
        if text_of(members, "resourceType") != self.rule.file.type:
            raise ValueError("another type")
        match self.rule.file.kind:
            case FileKind.OUTPUT:
                self._require_opened(members)
                return line.strip(b" \t")
            case FileKind.ERROR:
                outcome = judged_outcome(members, _REMARK)
                return _encode(outcome) if outcome is not None else b""
            case FileKind.DELETED:
                return self._deletions(parse_json(line))

    def _require_opened(self, members: Members) -> None:
        """Resources inside of it that stand for themselves are of types that may be exported."""
        opened = self.rule.opened
        if opened is not None and any(inner.get("resourceType") not in opened for inner in carried(self.rule.file.type, members)):
            raise ValueError("a resource of another type inside")

    def _deletions(self, bundle: dict[str, Any]) -> bytes:
        """A transaction of the deletions of the job's types. Spec: Bulk Data Access IG 2.0, "deleted"."""
        entries = bundle.get("entry", [])
        if bundle.get("type") != "transaction" or not isinstance(entries, list):
            raise ValueError("no transaction")
        names = [self._deleted(entry) for entry in entries]
        kept = [name for name in names if name is not None]
        self.removed += len(names) - len(kept)
        made = [{"request": {"method": "DELETE", "url": name}} for name in kept]
        return _encode({"resourceType": "Bundle", "type": "transaction", "entry": made}) if made else b""

    def _deleted(self, entry: Any) -> str | None:
        """``Type/id`` of a deletion; None for one of a type that is not the job's."""
        request = entry.get("request") if isinstance(entry, dict) and "resource" not in entry else None
        if not isinstance(request, dict) or request.get("method") != "DELETE" or not isinstance(request.get("url"), str):
            raise ValueError("no deletion")
        reference = parse_reference(request["url"], self.bases)
        if reference is None:
            raise ValueError("no deletion of one resource")
        return str(reference) if reference.type in self.rule.file.job.types else None
