"""The gateway as an ASGI app: as middleware around any FHIR app, and as a reverse proxy."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from smart_gateway.answers.capability import facts
from smart_gateway.errors import SettingsError, SmartGatewayError, UpstreamError
from smart_gateway.fhir.value_sets import ValueSets
from smart_gateway.gateway.credentials import Asking
from smart_gateway.gateway.edge.departure import Departure
from smart_gateway.gateway.edge.headers import RequestId, to_upstream
from smart_gateway.gateway.edge.lookout import Lookout
from smart_gateway.gateway.middleware import Gateway
from smart_gateway.gateway.snapshot import Snapshot, Threshold
from smart_gateway.gateway.subrequest import AnswerBounds, Inner
from smart_gateway.gateway.upstream import Patience, Upstream
from smart_gateway.policy.model import Capabilities
from smart_gateway.policy.plan import UpstreamRequest
from smart_gateway.settings.building.snapshot import SEALING_KEY_BYTES, Built, build
from smart_gateway.settings.model import Settings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Patterns:
    """How the app keeps itself informed; all in seconds. ``first`` is the pause after a failed look at the CapabilityStatement,
    doubled up to ``most``; ``refresh`` the pause after a good one."""

    first: float = 1.0
    most: float = 300.0
    refresh: float = 3600.0


@dataclass(slots=True)
class Generation:
    """What one state of the settings became: swapped whole, so that no request sees half of two."""

    built: Built
    snapshot: Snapshot
    app: ASGIApp
    gateway: Gateway
    _under_way: int = 0
    _ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request to its end, whatever comes after this state."""
        self._under_way += 1
        try:
            await self.gateway(scope, receive, send)
        finally:
            self._under_way -= 1
            self._ended.set()

    async def idle(self) -> None:
        """Waits until none of its requests is under way."""
        while self._under_way:
            self._ended.clear()
            await self._ended.wait()

    async def aclose(self, successor: Generation | None = None) -> None:
        await self.built.aclose(None if successor is None else successor.built)
        if isinstance(self.app, Upstream):
            await self.app.aclose()


class SmartGateway:
    """ASGI middleware that enforces SMART scopes on the FHIR app below it, at any mount path.

    ``settings`` come from ``load_settings``. Without an ``app`` it is a reverse proxy to ``upstream.url`` (see ``create_app``).
    ``sealing_key`` seals paging links where the settings name no key; ``dry_run`` decides and logs, and enforces nothing. Opens
    files and connections, and belongs to one event loop.
    """

    def __init__(
        self,
        app: ASGIApp | None,
        settings: Settings,
        *,
        sealing_key: bytes | None = None,
        dry_run: bool = False,
        patterns: Patterns | None = None,
    ) -> None:
        if settings.each:
            raise SettingsError("The settings are of several tenants: create_app serves them all, and settings.of(NAME) are those of one.")
        self._app = app
        self._sealing_key = sealing_key or os.urandom(SEALING_KEY_BYTES)
        self._dry_run = dry_run
        self._patterns = patterns or Patterns()
        self._tasks: set[asyncio.Task[None]] = set()
        self._retiring = asyncio.Lock()
        self._learning: asyncio.Task[None] | None = None
        self._stopping = False
        self._root_path = ""
        self._generation = self._generate(settings, None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
            return
        if self._learning is None and scope["type"] == "http":
            self._root_path = scope.get("root_path", "")
            self._learn()
        await self._generation.serve(scope, receive, send)

    @property
    def threshold(self) -> Threshold:
        """What requests are received by at this moment."""
        return self._generation.snapshot

    @property
    def snapshot(self) -> Snapshot:
        """What requests are judged by at this moment."""
        return self._generation.snapshot

    def adopt(self, settings: Settings) -> None:
        """Puts ``settings`` in force for requests that begin from now on; raises, and changes nothing, where they cannot be built."""
        self.put_in_force(self.prepare(settings))

    def prepare(self, settings: Settings) -> Generation:
        """What ``settings`` become. Raises where they cannot be built; what is made and not put in force must be discarded."""
        if settings.each:
            raise SettingsError("The settings are of several tenants now: that takes effect at the next start.")
        return self._generate(settings, self._generation.built)

    def put_in_force(self, made: Generation) -> None:
        """Judges by ``made`` the requests that begin from now on."""
        old = self._generation
        made.built.enter()
        if made.snapshot.policy.bases == old.snapshot.policy.bases:
            made.built.expansions.inherit(old.built.expansions)
            made.snapshot = _informed(made.snapshot, old.snapshot.policy.capabilities, made.built.expansions.sets())
        self._generation = made
        if self._learning is not None:
            self._learning.cancel()
            self._learn()
        self._keep(self._retire(old, made))

    async def discard(self, made: Generation) -> None:
        """Closes what was prepared for nothing."""
        await made.aclose(self._generation)

    def start(self) -> None:
        """Begins to learn what the FHIR server says of itself, unless that has begun."""
        if self._learning is None:
            self._learn()

    async def ready(self) -> bool:
        """Whether requests can be judged: not stopping, and each issuer has keys."""
        return not self._stopping and await self._generation.built.verifier.ready()

    def stop(self) -> None:
        """Says that the end is near: from now on the gateway is not ready, and still serves."""
        self._stopping = True

    async def idle(self) -> None:
        """Waits until everything that was begun is answered."""
        async with self._retiring:
            await self._generation.idle()

    async def aclose(self) -> None:
        """Ends what runs in the background and, once everything that was begun is answered, closes connections and files."""
        self._stopping = True
        if self._learning is not None:
            self._learning.cancel()
            await asyncio.gather(self._learning, return_exceptions=True)
        await self.idle()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._generation.aclose()

    def _generate(self, settings: Settings, previous: Built | None) -> Generation:
        app = proxy_to(settings) if self._app is None else self._app
        built = build(settings, sealing_key=self._sealing_key, dry_run=self._dry_run, previous=previous)
        generation = Generation(built, built.snapshot, app, Gateway(app, lambda: generation.snapshot))
        return generation

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The lifespan of the app below, and our own around it."""

        async def send_on(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                self._learn()
            elif message["type"] in {"lifespan.shutdown.complete", "lifespan.shutdown.failed"}:
                await self.aclose()
            await send(message)

        await (self._app or lifespan)(scope, receive, send_on)

    def _learn(self) -> None:
        self._learning = asyncio.get_running_loop().create_task(self._keep_learning(self._generation))

    async def _keep_learning(self, generation: Generation) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_informed(generation))
            tasks.create_task(self._keep_expanded(generation))

    async def _keep_informed(self, generation: Generation) -> None:
        """Asks for the CapabilityStatement until it is had, and again now and then; until then the release's tables stand in."""
        pause = self._patterns.first
        while True:
            try:
                capabilities = await ask_capabilities(generation.app, generation.snapshot, self._root_path)
            except SmartGatewayError as error:
                logger.warning("the upstream's CapabilityStatement cannot be had, the release's tables stand in: %s", error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, self._patterns.most)
                continue
            if capabilities != generation.snapshot.policy.capabilities:
                generation.snapshot = _informed(generation.snapshot, capabilities, generation.snapshot.policy.value_sets)
                logger.info("the upstream's CapabilityStatement was read")
            pause = self._patterns.first
            await asyncio.sleep(self._patterns.refresh)

    async def _keep_expanded(self, generation: Generation) -> None:
        """Asks for the value sets that the settings want of the upstream until all are had, and again now and then."""
        expansions, pause = generation.built.expansions, self._patterns.first
        while expansions.wanted:
            snapshot = generation.snapshot
            inner = _inner(generation.app, snapshot, self._root_path)
            complete = await expansions.ask(inner, snapshot.policy.vocabulary.release.version, asyncio.get_running_loop().time())
            sets = expansions.sets()
            if sets != generation.snapshot.policy.value_sets:
                generation.snapshot = _informed(generation.snapshot, generation.snapshot.policy.capabilities, sets)
            await asyncio.sleep(expansions.refresh if complete else pause)
            pause = self._patterns.first if complete else min(pause * 2, self._patterns.most)

    async def _retire(self, old: Generation, successor: Generation) -> None:
        """Closes what requests under way still use once they are answered; in order, for what two have in common ends with the later."""
        async with self._retiring:
            await old.idle()
            await old.aclose(successor)

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def ask_capabilities(app: ASGIApp, snapshot: Snapshot, root_path: str = "") -> Capabilities:
    """What the CapabilityStatement of ``app`` says; ``root_path`` is where the gateway is mounted. Raises UpstreamError."""
    capabilities = facts(await ask_metadata(app, snapshot, root_path))
    if capabilities.parameters is None:
        raise UpstreamError("it does not say by what it can be searched")
    return capabilities


async def ask_metadata(app: ASGIApp, snapshot: Snapshot, root_path: str = "") -> bytes:
    """The CapabilityStatement of ``app`` as it came. Raises UpstreamError."""
    received = await _inner(app, snapshot, root_path).collect(UpstreamRequest("GET", ("metadata",)))
    if received.status != 200:
        raise UpstreamError(f"it answered {received.status} for its metadata")
    return received.require_json(snapshot.policy.vocabulary.release.version)


def _inner(app: ASGIApp, snapshot: Snapshot, root_path: str) -> Inner:
    """``app`` as the gateway's own service, asked for nobody's request."""
    http = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http"}
    scope: Scope = {**http, "path": root_path, "root_path": root_path, "headers": [], "client": None, "server": None}
    request_id = RequestId(snapshot.entropy(8).hex())
    headers = to_upstream(scope, snapshot, request_id)
    bounds = AnswerBounds(snapshot.answer_size, snapshot.answer_time)
    credential = snapshot.credentials.of(Asking(), request_id.own, snapshot.clock)
    return Inner(app, scope, urlsplit(snapshot.policy.bases.public).path, headers, Departure(_never, Lookout()), bounds, credential)


def _informed(snapshot: Snapshot, capabilities: Capabilities, value_sets: ValueSets) -> Snapshot:
    return replace(snapshot, policy=replace(snapshot.policy, capabilities=capabilities, value_sets=value_sets))


def proxy_to(settings: Settings) -> Upstream:
    """The reverse proxy to ``upstream.url``. Raises SettingsError where there is no such URL."""
    upstream = settings.upstream
    if upstream.url is None:
        raise SettingsError("The settings name no upstream.url: there is nothing to be a proxy to.")
    return Upstream(upstream.url, urlsplit(settings.server.public_url).path, Patience(read=upstream.answer_time))


async def lifespan(_scope: Scope, receive: Receive, send: Send) -> None:
    """The lifespan of a proxy, which has none of its own."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _never() -> Message:
    """A client that says nothing and never leaves."""
    await asyncio.get_running_loop().create_future()
    raise AssertionError
