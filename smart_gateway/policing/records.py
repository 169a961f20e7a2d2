"""The FHIR server of one case: its stored resources, or the answer that the case has written down; it keeps what it was asked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote

from starlette.types import Receive, Scope, Send

from smart_gateway.demo.fhir_server import DemoServer
from smart_gateway.fhir.releases import Release

Message = MutableMapping[str, Any]
Resource = Mapping[str, Any]
_FHIR_JSON = "application/fhir+json"
_READABLE = "/:|,$*"


@dataclass(frozen=True, slots=True)
class Scripted:
    """One written answer; ``body`` is JSON unless it is a text."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


class CaseServer:
    """Answers as a FHIR server that holds ``stored``; ``answer`` comes before it, but for reads of what is stored.

    ``asked`` are the requests as ``spell_request`` writes them. ``base`` is the URL that it writes, ``path`` where it is reached.
    """

    def __init__(self, stored: Iterable[Resource], answer: Scripted | None, *, base: str, path: str, release: Release, now: float) -> None:
        self.asked: list[str] = []
        held = [dict(resource) for resource in stored]
        self._answer = answer
        self._path = path.rstrip("/")
        self._readable = {f"GET /{resource['resourceType']}/{resource['id']}" for resource in held}
        self._server = DemoServer(held, base_path=path, base_url=base, release=release, clock=lambda: now)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _body(receive)
        path = scope["raw_path"].decode("ascii").removeprefix(self._path) or "/"
        form = body.decode("utf-8", "replace") if path.endswith("/_search") else ""
        self.asked.append(spell_request(scope["method"], path, "&".join(filter(None, (scope["query_string"].decode("ascii"), form)))))
        if self._answer is not None and f"{scope['method']} {path}" not in self._readable:
            await _send(self._answer, send)
        elif scope["method"] == "POST" and path == "/":
            await _send(await self._batch(scope, body), send)
        else:
            await self._server(scope, _given(body), send)

    async def _batch(self, scope: Scope, body: bytes) -> Scripted:
        """Each entry by itself, in order; a transaction no better than a batch."""
        bundle = json.loads(body)
        answers = [await self._entry(scope, entry) for entry in bundle.get("entry", ())]
        return Scripted(200, {"resourceType": "Bundle", "type": f"{bundle['type']}-response", "entry": answers})

    async def _entry(self, scope: Scope, entry: Mapping[str, Any]) -> dict[str, Any]:
        request = entry["request"]
        path, _, query = request["url"].partition("?")
        full = f"{self._path}/{path}"
        asked = {**scope, "method": request["method"], "path": full, "raw_path": full.encode(), "query_string": query.encode()}
        sent: list[Message] = []

        async def keep(message: Message) -> None:
            sent.append(message)

        await self._server(asked, _given(json.dumps(entry.get("resource")).encode()), keep)
        headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        response = {"status": str(sent[0]["status"])}
        response |= {name: headers[name] for name in ("location", "etag") if name in headers}
        content = b"".join(message.get("body", b"") for message in sent[1:])
        return {"response": response} | ({"resource": json.loads(content)} if content else {})


def spell_request(method: str, path: str, query: str) -> str:
    """``GET /Observation?code=8867-4&patient=Patient/123``, in readable spelling; a form stands for the query."""
    pairs = [f"{quote(name, safe=_READABLE)}={quote(value, safe=_READABLE)}" for name, value in parse_qsl(query, keep_blank_values=True)]
    return f"{method} {path}" + (f"?{'&'.join(pairs)}" if pairs else "")


def searchset(resources: Iterable[Resource], base: str, type: str | None) -> dict[str, Any]:
    """A searchset of ``resources``: those of ``type`` as matches, others as what came along."""
    entries = [
        {
            "fullUrl": f"{base}/{resource['resourceType']}/{resource['id']}",
            "resource": dict(resource),
            "search": {"mode": "match" if type in (None, resource["resourceType"]) else "include"},
        }
        for resource in resources
    ]
    return {"resourceType": "Bundle", "type": "searchset", "total": len(entries), "entry": entries}


async def _body(receive: Receive) -> bytes:
    parts, more = [], True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


def _given(body: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


async def _send(answer: Scripted, send: Send) -> None:
    body = answer.body.encode() if isinstance(answer.body, str) else b"" if answer.body is None else json.dumps(answer.body).encode()
    headers = {"content-type": _FHIR_JSON, **{name.lower(): value for name, value in answer.headers.items()}}
    raw = [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
