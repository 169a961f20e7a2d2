"""``server.shared_cache``: what workers and replicas know together."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import Field

from smart_gateway.answers.sealing import LEAST_KEY_BYTES
from smart_gateway.settings.problems import Problem, warning
from smart_gateway.settings.sections.addresses import is_loopback
from smart_gateway.settings.sections.quantities import Duration
from smart_gateway.settings.sections.secret import Secret
from smart_gateway.settings.sections.section import Section, Text
from smart_gateway.tokens.shared_cache import LocalCache, SharedCache

if TYPE_CHECKING:
    from smart_gateway.settings.model import Settings

_PATH = ("server", "shared_cache", "redis")
_SCHEMES = {"redis", "rediss", "unix"}


class RedisSettings(Section):
    """A Redis server, or one that speaks as it does. Needs `pip install smart-gateway[redis]`."""

    url: Secret
    """`rediss://user:password@host:6379/0`; `redis://` without TLS, `unix://` for a socket."""
    timeout: Duration = Field(default="200ms", validate_default=True)
    """How long it may take to answer. While it does not, each process goes by what it knows itself."""
    prefix: Text = "smart-gateway:"
    """What its keys begin with; with `tenants`, the tenant's name and a colon follow."""


class SharedCacheSettings(Section):
    """What is shared: answers of introspection, sealed by `server.sealing.keys`, and the ids of DPoP proofs that were seen."""

    redis: RedisSettings
    """Where it is kept."""


def check_shared_cache(settings: Settings) -> Iterator[Problem]:
    """What is wrong with ``server.shared_cache``."""
    if settings.server.shared_cache is None:
        return
    if find_spec("redis") is None:
        yield Problem(_PATH, "needs the package redis: pip install smart-gateway[redis]")
    try:
        parts = urlsplit(settings.server.shared_cache.redis.url.reveal())
        scheme, host, _ = parts.scheme, parts.hostname, parts.port
    except ValueError:
        scheme, host = "", None
    if scheme not in _SCHEMES or (scheme != "unix" and not host):
        yield Problem((*_PATH, "url"), "must be a URL: rediss://, redis:// or unix://")
    elif scheme == "redis" and not is_loopback(host or ""):
        yield warning((*_PATH, "url"), "without TLS to an address that is not loopback: use rediss://")


async def answers(shared: SharedCacheSettings) -> bool:
    """Whether Redis answers now."""
    from smart_gateway.tokens.redis_cache import RedisCache, RedisConfig  # noqa: PLC0415  # an extra

    cache = RedisCache(RedisConfig(shared.redis.url.reveal(), shared.redis.timeout, shared.redis.prefix, (bytes(LEAST_KEY_BYTES),)))
    try:
        return await cache.answers()
    finally:
        await cache.aclose()


def build_shared_cache(settings: Settings, sealing_keys: tuple[bytes, ...], previous: SharedCache | None) -> SharedCache:
    """The cache; ``previous`` where it is still what the settings say, for what it knows must not be forgotten by a reload."""
    shared = settings.server.shared_cache
    if shared is None:
        return previous if isinstance(previous, LocalCache) else LocalCache()
    from smart_gateway.tokens.redis_cache import RedisCache, RedisConfig  # noqa: PLC0415  # an extra

    prefix = shared.redis.prefix if settings.tenant is None else f"{shared.redis.prefix}{settings.tenant.name}:"
    config = RedisConfig(shared.redis.url.reveal(), shared.redis.timeout, prefix, sealing_keys)
    if isinstance(previous, RedisCache) and previous.config == config:
        return previous
    return RedisCache(config)
