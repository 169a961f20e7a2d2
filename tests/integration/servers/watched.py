"""A front of real HAPI that keeps what the gateway sent it, and lets in only whom a test's rule lets in."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import httpx

_ENDS_HERE = frozenset({"connection", "transfer-encoding", "keep-alive", "content-length", "content-encoding", "date", "server"})


@dataclass
class Watched:
    """``base`` is its FHIR base; ``seen`` the path and the headers of each request, names in lower case. ``admits`` judges the headers:
    where it says no, the answer is 401."""

    base: str
    seen: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    admits: Callable[[Mapping[str, str]], bool] = lambda _headers: True

    def of(self, path: str) -> Mapping[str, str]:
        """The headers of the last request to ``path``, relative to the base."""
        return [headers for asked, headers in self.seen if asked.partition("?")[0] == urlsplit(self.base).path + path][-1]


@contextmanager
def watch(hapi: str) -> Iterator[Watched]:
    """Serves HAPI's base ``hapi`` on a free loopback port."""
    origin = hapi.removesuffix(urlsplit(hapi).path)
    client = httpx.Client(timeout=60, trust_env=False)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _relay(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            assert len(headers) == len(self.headers), self.headers.items()
            body = self.rfile.read(int(headers.get("content-length", 0)))
            watched.seen.append((self.path, headers))
            if not watched.admits(headers):
                self._answer(401, {}, b"")
                return
            passed = {name: value for name, value in headers.items() if name not in {"connection", "authorization"}}
            answer = client.request(self.command, origin + self.path, content=body, headers=passed)
            self._answer(answer.status_code, answer.headers, answer.content)

        do_GET = do_POST = do_PUT = do_DELETE = _relay  # noqa: N815

        def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in _ENDS_HERE:
                    self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    watched = Watched(f"http://127.0.0.1:{server.server_port}{urlsplit(hapi).path}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield watched
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        client.close()
