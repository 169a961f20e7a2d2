"""An in-memory FHIR R4 server as a small ASGI app: enough REST to stand behind the gateway, no security whatsoever."""

from __future__ import annotations

import itertools
import json
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qsl, urlencode

from smart_gateway.demo.searching import Found, Searcher, only
from smart_gateway.demo.store import Resource, Store, Version
from smart_gateway.errors import RequestError
from smart_gateway.fhir.references import Bases, is_id
from smart_gateway.fhir.releases import Release
from smart_gateway.fhir.vocabulary import Vocabulary, load_vocabulary

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_FHIR_JSON = "application/fhir+json;charset=utf-8"
_KEPT = 1000  # searches that can be paged, and requests that are remembered


@dataclass(frozen=True, slots=True)
class _Asked:
    """One request: path segments below the base, decoded query or form, headers in lower case, body."""

    method: str
    path: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    headers: dict[str, str]
    body: bytes
    base: str


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


class DemoServer:
    """A FHIR server over ``resources``: metadata, read, vread, create, update, delete, search with includes and paging.

    ``base_path`` is where it answers; ``base_url`` what it writes into its URLs (by default by the Host header). ``requests`` keeps the
    method and target of what it was asked last, for tests that look at what a gateway sends. ``clock`` gives seconds since the epoch.
    """

    def __init__(
        self,
        resources: Iterable[Resource] = (),
        *,
        base_path: str = "/fhir",
        base_url: str | None = None,
        release: Release = Release.R4,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.store = Store()
        self.requests: deque[tuple[str, str]] = deque(maxlen=_KEPT)
        self._base_path = base_path.rstrip("/")
        self._base_url = base_url
        self._vocabulary: Vocabulary = load_vocabulary(release)
        self._clock = clock
        self._pages: dict[str, Found] = {}
        self._searches = itertools.count()
        self.store.put_all(resources, clock())

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            asked = await self._read(scope, receive)
            reply = self._answer(asked) if asked is not None else _issue(404, "not-found", "Not below this server's base.")
            await _send(reply, scope["method"] == "HEAD", send)

    async def _read(self, scope: Message, receive: Receive) -> _Asked | None:
        query = scope["query_string"].decode("latin-1")
        self.requests.append((scope["method"], scope["path"] + (f"?{query}" if query else "")))
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if path != self._base_path and not path.startswith(f"{self._base_path}/"):
            return None
        segments = tuple(segment for segment in path[len(self._base_path) :].split("/") if segment)
        form = body.decode() if segments[-1:] == ("_search",) else ""
        pairs = (*parse_qsl(query, keep_blank_values=True), *parse_qsl(form, keep_blank_values=True))
        base = self._base_url or f"{scope['scheme']}://{headers.get('host', 'localhost')}{scope.get('root_path', '')}{self._base_path}"
        return _Asked(scope["method"].replace("HEAD", "GET"), segments, pairs, headers, body, base)

    def _answer(self, asked: _Asked) -> _Reply:
        try:
            return self._route(asked)
        except RequestError as error:
            return _issue(error.status, error.issue_code, error.text)

    def _route(self, asked: _Asked) -> _Reply:
        match asked.method, asked.path:
            case "GET", ("metadata",):
                return _Reply(200, self._metadata(asked))
            case "GET", () if dict(asked.pairs).get("_getpages") is not None:
                return self._page(asked)
            case _, (type, *_) if type not in self._vocabulary.types:
                return _issue(404, "not-found", "There is no such type.")
            case ("GET", (type,)) | ("POST", (type, "_search")):
                return self._search(type, asked)
            case "POST", (type,):
                return self._create(type, asked)
            case "GET", (type, id):
                return self._show(self.store.current(type, id), asked)
            case "GET", (type, id, "_history", number):
                return self._show(self.store.version(type, id, number), asked)
            case "PUT", (type, id):
                return self._update(type, id, asked)
            case "DELETE", (type, id):
                return self._delete(type, id, asked)
        return _issue(400, "not-supported", "This server does not do that.")

    def _show(self, version: Version | None, asked: _Asked) -> _Reply:
        if version is None:
            return _issue(404, "not-found", "There is no such resource.")
        if version.resource is None:
            return _issue(410, "deleted", "The resource was deleted.")
        if asked.headers.get("if-none-match") == version.etag:
            return _Reply(304, None, {"etag": version.etag})
        return _Reply(200, version.resource, _version_headers(version))

    def _create(self, type: str, asked: _Asked) -> _Reply:
        resource = _resource(asked, type)
        version = self.store.put({**resource, "id": self.store.free_id(type)}, self._clock())
        return _written(201, version, asked)

    def _update(self, type: str, id: str, asked: _Asked) -> _Reply:
        resource = _resource(asked, type)
        if resource.get("id") != id or not is_id(id):
            raise RequestError("The id of the body is not that of the path.")
        before = self.store.current(type, id)
        self._require_match(before, asked)
        version = self.store.put(resource, self._clock())
        return _written(200 if before is not None and before.resource is not None else 201, version, asked)

    def _delete(self, type: str, id: str, asked: _Asked) -> _Reply:
        before = self.store.current(type, id)
        if before is None:
            return _issue(404, "not-found", "There is no such resource.")
        self._require_match(before, asked)
        if before.resource is not None:
            self.store.delete(type, id, self._clock())
        return _Reply(204)

    def _require_match(self, before: Version | None, asked: _Asked) -> None:
        """Spec: FHIR R4 http.html 3.1.0.5, managing resource contention."""
        wanted = asked.headers.get("if-match")
        if wanted is not None and (before is None or wanted != before.etag):
            raise _Conflict("The stored version is another one.")
        if asked.headers.get("if-none-match") == "*" and before is not None and before.resource is not None:
            raise _Conflict("The resource is there already.")

    def _search(self, type: str, asked: _Asked) -> _Reply:
        found = self._searcher(asked).search(type, asked.pairs)
        if found.criteria.count_only or found.criteria.count == 0:
            return _Reply(200, {"resourceType": "Bundle", "type": "searchset", "total": len(found.matches)})
        token = f"page-{next(self._searches)}"
        self._pages[token] = found
        if len(self._pages) > _KEPT:
            del self._pages[next(iter(self._pages))]
        query = urlencode(asked.pairs)
        return _Reply(200, self._searchset(token, found, 0, f"{asked.base}/{type}" + (f"?{query}" if query else ""), asked))

    def _page(self, asked: _Asked) -> _Reply:
        """The next part of a search, the way HAPI links it: at the base, by ``_getpages``."""
        wanted = dict(asked.pairs)
        token, offset = wanted["_getpages"], wanted.get("_getpagesoffset", "0")
        if token not in self._pages or not offset.isdecimal():
            return _issue(410, "not-found", "This search is no longer known.")
        return _Reply(200, self._searchset(token, self._pages[token], int(offset), f"{asked.base}?{urlencode(asked.pairs)}", asked))

    def _searchset(self, token: str, found: Found, offset: int, self_url: str, asked: _Asked) -> Resource:
        criteria = found.criteria
        page = found.matches[offset : offset + criteria.count]
        links = [{"relation": "self", "url": self_url}]
        for relation, place in (("next", offset + criteria.count), ("previous", offset - criteria.count)):
            if 0 <= place < len(found.matches):
                links.append({"relation": relation, "url": f"{asked.base}?_getpages={token}&_getpagesoffset={place}"})
        matches = [_entry(only(resource, criteria.elements), "match", asked.base) for resource in page]
        includes = [_entry(resource, "include", asked.base) for resource in self._searcher(asked).included(page, criteria)]
        bundle = {"resourceType": "Bundle", "id": token, "type": "searchset", "total": len(found.matches), "link": links}
        return {**bundle, "entry": [*matches, *includes]} if matches else bundle

    def _searcher(self, asked: _Asked) -> Searcher:
        return Searcher(self.store, self._vocabulary, Bases(asked.base, asked.base))

    def _metadata(self, asked: _Asked) -> Resource:
        codes = ("read", "vread", "create", "update", "delete", "search-type")
        resources = [
            {
                "type": type,
                "interaction": [{"code": code} for code in codes],
                "versioning": "versioned",
                "searchParam": [{"name": p.code, "type": p.kind.value} for p in self._vocabulary.parameters(type).values() if p.evaluable],
            }
            for type in sorted(self._vocabulary.types)
        ]
        return {
            "resourceType": "CapabilityStatement",
            "status": "active",
            "date": "2026-01-01",
            "kind": "instance",
            "implementation": {"description": "The demonstration's FHIR server", "url": asked.base},
            "fhirVersion": self._vocabulary.release.version,
            "format": ["json"],
            "rest": [{"mode": "server", "resource": resources}],
        }


class _Conflict(RequestError):
    status = 412
    issue_code = "conflict"


def _resource(asked: _Asked, type: str) -> Resource:
    try:
        resource = json.loads(asked.body)
    except ValueError:
        raise RequestError("The body is not JSON.") from None
    if not isinstance(resource, dict) or resource.get("resourceType") != type:
        raise RequestError("The body is not a resource of the path's type.")
    return resource


def _written(status: int, version: Version, asked: _Asked) -> _Reply:
    assert version.resource is not None
    location = f"{asked.base}/{version.resource['resourceType']}/{version.resource['id']}/_history/{version.number}"
    body = None if "return=minimal" in asked.headers.get("prefer", "") else version.resource
    return _Reply(status, body, {**_version_headers(version), "location": location})


def _version_headers(version: Version) -> dict[str, str]:
    return {"etag": version.etag, "last-modified": formatdate(version.updated, usegmt=True)}


def _entry(resource: Resource, mode: str, base: str) -> Resource:
    return {"fullUrl": f"{base}/{resource['resourceType']}/{resource['id']}", "resource": resource, "search": {"mode": mode}}


def _issue(status: int, code: str, text: str) -> _Reply:
    issue = {"severity": "error", "code": code, "diagnostics": text}
    return _Reply(status, {"resourceType": "OperationOutcome", "issue": [issue]})


async def _send(reply: _Reply, is_head: bool, send: Send) -> None:
    body = b"" if reply.body is None else json.dumps(reply.body, separators=(",", ":")).encode()
    headers = {**reply.headers, **({"content-type": _FHIR_JSON, "content-length": str(len(body))} if body else {})}
    raw: Sequence[tuple[bytes, bytes]] = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": raw})
    await send({"type": "http.response.body", "body": b"" if is_head else body})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
