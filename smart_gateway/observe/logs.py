"""The decision log: one JSON line per request (semantics 12)."""

from __future__ import annotations

import json
from io import FileIO
from typing import Protocol

from msgspec import to_builtins
from msgspec.json import Encoder

from smart_gateway.observe.events import DecisionEvent

_STDOUT = 1


class Sink(Protocol):
    """Where lines go: an unbuffered binary stream, or one that the caller flushes."""

    def write(self, line: bytes, /) -> int | None: ...


class DecisionLog:
    """Writes each event as one line of ASCII JSON, in one call, so that lines of several workers on one pipe do not mix.

    ASCII, because U+2028, U+0085 and terminal escapes end or forge a line for some readers; what a client could influence
    is always inside a quoted string.
    """

    __slots__ = ("_encoder", "_sink", "lost")

    def __init__(self, sink: Sink | None = None) -> None:
        """``sink`` is standard output, unbuffered, unless given."""
        self._sink: Sink = FileIO(_STDOUT, "wb", closefd=False) if sink is None else sink
        self._encoder = Encoder()
        self.lost = 0

    def record(self, event: DecisionEvent) -> bool:
        """Writes ``event``; False, and ``lost`` one higher, where it could not be. Never raises into the request."""
        try:
            line = self._line(event)
            written = self._sink.write(line)
        except Exception:  # a full disk or a closed pipe must not decide about requests
            self.lost += 1
            return False
        if written is None or written < len(line):  # None: a pipe that nobody reads is full
            self.lost += 1
            return False
        return True

    async def keep(self, event: DecisionEvent) -> bool:
        """As ``record``: a line that is written is kept."""
        return self.record(event)

    def _line(self, event: DecisionEvent) -> bytes:
        try:
            line = self._encoder.encode(event)
        except UnicodeEncodeError:  # a lone surrogate: only the slow writer can spell it
            line = b""
        if not line or not line.isascii():
            line = json.dumps(to_builtins(event), ensure_ascii=True, separators=(",", ":")).encode()
        return line.replace(b"\x7f", b"\\u007f") + b"\n"
