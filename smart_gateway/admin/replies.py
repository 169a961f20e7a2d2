"""Answers of the management listener: small, whole, and kept by nobody."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.types import Send

_HEADERS = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer; ``more`` are headers beside those that every answer has."""

    status: int
    type: str
    body: bytes
    more: tuple[tuple[bytes, bytes], ...] = ()

    @classmethod
    def text(cls, status: int, text: str, *more: tuple[bytes, bytes]) -> Reply:
        """One line of plain text."""
        return cls(status, "text/plain; charset=utf-8", f"{text}\n".encode(), more)

    @classmethod
    def not_allowed(cls, allow: str) -> Reply:
        """405, with the methods that are allowed."""
        return cls.text(405, allow.replace(", ", " or "), (b"allow", allow.encode()))

    async def send(self, send: Send, *, head: bool) -> None:
        """Sends it, without its body for HEAD."""
        length = str(len(self.body)).encode()
        headers = [(b"content-type", self.type.encode()), *_HEADERS, (b"content-length", length), *self.more]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if head else self.body})
