"""``/explain`` on the management listener: a page on which one request is explained, and its JSON twin.

What is asked here may hold a token: it is verified as any, and neither logged nor repeated. Nothing here asks the upstream.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any

from starlette.types import Receive, Scope

from smart_gateway.admin.guarding import Objection, object_to, object_to_post
from smart_gateway.admin.questions import Asking, read_question
from smart_gateway.admin.replies import Reply
from smart_gateway.errors import DependencyUnavailable
from smart_gateway.gateway.explaining import Setting, UnusableQuestion, explain, explain_token, invent
from smart_gateway.gateway.snapshot import Snapshot

logger = logging.getLogger(__name__)

EXPLAIN = "/explain"
_MOST = 1024 * 1024  # bytes of a question
_WITHIN = 10.0  # seconds, for the question to arrive and for the token to be verified
_PARTS = {
    EXPLAIN: ("page.html", "text/html; charset=utf-8"),
    f"{EXPLAIN}/page.css": ("page.css", "text/css; charset=utf-8"),
    f"{EXPLAIN}/page.js": ("page.js", "text/javascript; charset=utf-8"),
}
_JSON = "application/json"
# Only what is served here, nothing inline, nothing elsewhere, in no frame; and scripts cannot make HTML of texts.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class ExplainPage:
    """Answers for ``/explain``. ``source`` gives what the requests of a tenant, by its name, are judged by at this moment (without a name:
    those of a gateway that has no tenants), or None where there is no such; ``switched_on`` whether the settings of this moment want the
    page."""

    def __init__(self, source: Callable[[str | None], Snapshot | None], switched_on: Callable[[], bool]) -> None:
        self._source = source
        self._switched_on = switched_on
        self._parts = {path: Reply(200, type, _read(name), _HEADERS) for path, (name, type) in _PARTS.items()}

    @property
    def enabled(self) -> bool:
        """Whether there is such a page."""
        return self._switched_on()

    async def answer(self, scope: Scope, receive: Receive) -> Reply:
        """The page, one of its parts, or an explanation."""
        objection = object_to(scope)
        if objection is not None:
            return _refusal(objection)
        path, method = scope["path"], scope["method"]
        if path not in self._parts:
            return Reply.text(404, "not here")
        if method in {"GET", "HEAD"}:
            return self._parts[path]
        if path != EXPLAIN:
            return Reply.not_allowed("GET, HEAD")
        if method != "POST":
            return Reply.not_allowed("GET, HEAD, POST")
        objection = object_to_post(scope)
        return _refusal(objection) if objection is not None else await self._explain(receive)

    async def _explain(self, receive: Receive) -> Reply:
        try:
            async with asyncio.timeout(_WITHIN):
                raw = await _body(receive)
                if raw is None:
                    return _error(413, "the question is larger than is taken here")
                return _json(200, await self._explained(read_question(raw)))
        except UnusableQuestion as error:
            return _error(400, error.text)
        except DependencyUnavailable:
            return _error(503, "the token cannot be verified at the moment")
        except TimeoutError:
            return _error(503, "this took too long")
        except Exception as error:
            logger.error("a request could not be explained: %s", type(error).__name__)  # noqa: TRY400  # its text may hold what was asked
            return _error(500, "this could not be explained")

    async def _explained(self, asking: Asking) -> dict[str, Any]:
        snapshot = self._source(asking.tenant)
        if snapshot is None:
            raise UnusableQuestion("the tenant is one of this gateway's, by its name; a gateway without tenants has none")
        now = snapshot.clock()
        if asking.token is not None:
            return await explain_token(asking.question, asking.token, snapshot, now, snapshot.sealer)
        principal = invent(asking.who, snapshot.policy.bases, now)
        return await explain(asking.question, Setting(snapshot.policy, snapshot.limits, principal, now, snapshot.sealer))


async def _body(receive: Receive) -> bytes | None:
    """The whole body; None where it is too large."""
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise TimeoutError
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > _MOST:
            return None
        more = message.get("more_body", False)
    return b"".join(parts)


def _refusal(objection: Objection) -> Reply:
    return _error(objection.status, objection.text)


def _error(status: int, text: str) -> Reply:
    return _json(status, {"error": text})


def _json(status: int, value: Mapping[str, Any]) -> Reply:
    return Reply(status, _JSON, json.dumps(value, ensure_ascii=True).encode() + b"\n", _HEADERS)


def _read(name: str) -> bytes:
    return (resources.files("smart_gateway.admin") / "page" / name).read_bytes()
