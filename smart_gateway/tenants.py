"""Several gateways in one process, each of one tenant, behind one small dispatcher: they share where is listened, and nothing else."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_network
from typing import Any, TypeVar
from urllib.parse import urlsplit

from starlette.types import Message, Receive, Scope, Send

from smart_gateway.answers.refusals import Facing, refuse
from smart_gateway.app import Generation, Patterns, SmartGateway, lifespan
from smart_gateway.errors import SettingsError, UnknownPath
from smart_gateway.gateway.edge.headers import client_address
from smart_gateway.gateway.edge.tenancy import Address, Directory, Porch
from smart_gateway.gateway.middleware import POLICY_VIOLATION
from smart_gateway.gateway.snapshot import Threshold
from smart_gateway.observe.events import DecisionEvent
from smart_gateway.observe.logs import DecisionLog, Sink
from smart_gateway.request.limits import Limits
from smart_gateway.settings.building.snapshot import SEALING_KEY_BYTES, build_limits
from smart_gateway.settings.findings import Finding, Place
from smart_gateway.settings.model import Settings
from smart_gateway.settings.sections.tenant_names import Tenant

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _State:
    """Who is served at this moment: swapped whole."""

    porch: Porch
    gateways: Mapping[str, SmartGateway]
    directory: Directory[SmartGateway]


class Tenants:
    """A ``SmartGateway`` for each tenant, as an ASGI app. What comes to none of them gets 404, and is told nothing.

    ``settings`` are those of a file with ``tenants``; the other parameters are those of ``SmartGateway``, of which each tenant has one
    with keys of its own. ``sink`` takes the records of what came to no tenant: standard output unless given.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        sealing_key: bytes | None = None,
        dry_run: bool = False,
        patterns: Patterns | None = None,
        sink: Sink | None = None,
    ) -> None:
        self._sealing_key = sealing_key or os.urandom(SEALING_KEY_BYTES)
        self._dry_run = dry_run
        self._patterns = patterns or Patterns()
        self._log = DecisionLog(sink)
        self._tasks: set[asyncio.Task[None]] = set()
        self._started = False
        self._state = self._entered(settings, {_name(one): self._open(one) for one in settings.each})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "http":
                await self._serve(scope, receive, send)
            case "lifespan":
                await self._live(scope, receive, send)
            case "websocket":
                await receive()
                await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": ""})
            case kind:
                raise RuntimeError(f"the gateway serves no {kind}")

    @property
    def threshold(self) -> Threshold:
        """What requests are received by at this moment."""
        return self._state.porch

    def named(self, name: str) -> SmartGateway | None:
        """The gateway of one tenant."""
        return self._state.gateways.get(name)

    def adopt(self, settings: Settings) -> None:
        """Puts ``settings`` in force for requests that begin from now on: those of all tenants, or, where one's cannot be built, none.

        A tenant keeps what it knows by its name; one that is gone is 404 at once, and what it has begun is answered.
        """
        if not settings.each:
            raise SettingsError("The settings are of no tenants any more: that takes effect at the next start.")
        old = self._state
        prepared: dict[str, Generation] = {}
        opened: dict[str, SmartGateway] = {}
        try:
            for one in settings.each:
                name = _name(one)
                known = old.gateways.get(name)
                if known is None:
                    opened[name] = self._open(one)
                else:
                    prepared[name] = _blaming(name, partial(known.prepare, one))
        except Exception:
            for name, made in prepared.items():
                self._keep(old.gateways[name].discard(made))
            for gateway in opened.values():
                self._keep(gateway.aclose())
            raise
        for name, made in prepared.items():
            old.gateways[name].put_in_force(made)
        self._state = self._entered(settings, {**{name: old.gateways[name] for name in prepared}, **opened})
        if self._started:
            for gateway in opened.values():
                gateway.start()
        for name in old.gateways.keys() - self._state.gateways.keys():
            self._keep(old.gateways[name].aclose())

    async def ready(self) -> bool:
        """Whether any tenant's requests can be judged: what one of them lacks must not cut off the others."""
        return any(await asyncio.gather(*[gateway.ready() for gateway in self._state.gateways.values()]))

    def stop(self) -> None:
        """Says that the end is near: from now on no tenant is ready, and all are still served."""
        for gateway in self._state.gateways.values():
            gateway.stop()

    async def aclose(self) -> None:
        """Ends what runs in the background and, once everything that was begun is answered, closes connections and files."""
        await asyncio.gather(*self._tasks, *[gateway.aclose() for gateway in self._state.gateways.values()], return_exceptions=True)

    def _open(self, settings: Settings) -> SmartGateway:
        make = partial(SmartGateway, None, settings, sealing_key=self._sealing_key, dry_run=self._dry_run, patterns=self._patterns)
        return _blaming(_name(settings), make)

    def _entered(self, settings: Settings, gateways: Mapping[str, SmartGateway]) -> _State:
        limits = [build_limits(one.policy) for one in settings.each]
        porch = Porch(
            limits=Limits(**{name: max(getattr(one, name) for one in limits) for name in Limits.__dataclass_fields__}),
            log=self._log,
            trusted_proxies=tuple(ip_network(network) for network in settings.server.trusted_proxies),
        )
        return _State(porch, gateways, Directory((_address(one), gateways[_name(one)]) for one in settings.each))

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = self._state
        gateway = state.directory.find(scope, state.porch)
        if gateway is None or not gateway.snapshot.listeners.serves(scope):
            await _not_here(scope, send, state.porch)
        else:
            await gateway(scope, receive, send)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_on(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                self._started = True
                for gateway in self._state.gateways.values():
                    gateway.start()
            elif message["type"] == "lifespan.shutdown.complete":
                await self.aclose()
            await send(message)

        await lifespan(scope, receive, send_on)

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def create_app(settings: Settings) -> SmartGateway | Tenants:
    """The gateway as a reverse proxy to ``upstream.url``, or to those of all tenants, for any ASGI server. Raises SettingsError where
    there is no such URL."""
    return open_gateway(settings)


def open_gateway(settings: Settings, *, sealing_key: bytes | None = None, dry_run: bool = False) -> SmartGateway | Tenants:
    """The same, for ``serve``."""
    if settings.each:
        return Tenants(settings, sealing_key=sealing_key, dry_run=dry_run)
    return SmartGateway(None, settings, sealing_key=sealing_key, dry_run=dry_run)


async def _not_here(scope: Scope, send: Send, porch: Porch) -> None:
    """404: the same for an unknown host, an unknown path, and a tenant that is not at this listener."""
    request_id = porch.entropy(8).hex()
    answer = refuse(UnknownPath("There is nothing here."), Facing(request_id, porch.public))
    length = (b"content-length", b"%d" % len(answer.body))
    await send(
        {
            "type": "http.response.start",
            "status": answer.status,
            "headers": [*answer.headers, length, (b"x-request-id", request_id.encode())],
        }
    )
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer.body})
    porch.log.record(
        DecisionEvent(
            time=porch.clock(),
            request_id=request_id,
            method=scope["method"],
            outcome="deny",
            status=answer.status,
            duration=0.0,
            code="unknown-tenant",
            address=client_address(scope, porch.trusted_proxies),
        )
    )


def _address(settings: Settings) -> Address:
    host = _tenant(settings).host
    return Address(None if host is None else host.encode(), urlsplit(settings.server.public_url).path.rstrip("/").encode())


def _tenant(settings: Settings) -> Tenant:
    assert settings.tenant is not None  # INVARIANT: those of Settings.each have one
    return settings.tenant


def _name(settings: Settings) -> str:
    return _tenant(settings).name


def _blaming(name: str, make: Callable[[], T]) -> T:
    """What ``make`` makes; where it fails for what the settings say, the tenant is named."""
    try:
        return make()
    except OSError as error:
        text = f"a file cannot be opened: {error.strerror or error}"
    except SettingsError as error:
        text = error.text
    raise SettingsError(f"The tenant {name}: {text}", (Finding(Place("settings"), "", text, tenant=name),))
