"""``issuers[].introspection``: asking an issuer about its tokens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from smart_gateway.settings.findings import KeyPath
from smart_gateway.settings.problems import Problem
from smart_gateway.settings.sections.addresses import FetchedUrl, is_plain_http_elsewhere
from smart_gateway.settings.sections.client_authentication import ClientAuthenticationSettings, build_client, check_client
from smart_gateway.settings.sections.quantities import DurationOrNone
from smart_gateway.tokens.issuer import IntrospectionConfig

if TYPE_CHECKING:
    from smart_gateway.settings.model import Settings
    from smart_gateway.settings.sections.issuers import IssuerSettings


class IntrospectionSettings(ClientAuthenticationSettings):
    """With `mode: introspection`: the issuer's introspection endpoint (RFC 7662), and who the gateway is to it."""

    url: FetchedUrl | None = None
    """The endpoint. Absent: the `introspection_endpoint` of the issuer's discovery document."""
    cache: DurationOrNone = Field(default="30s", validate_default=True)
    """How long a positive answer serves: a token that is revoked ends within this time. Never past the token's own expiry."""
    negative_cache: DurationOrNone = Field(default="5s", validate_default=True)
    """How long a token that is not active is refused without asking again."""
    signed: bool = False
    """Only signed answers count (RFC 9701): JWTs by the issuer's keys."""
    opaque: bool = True
    """Whether tokens that are no JWTs count as this issuer's. Of one issuer only; a JWT names its issuer."""


def check_introspection(settings: Settings) -> Iterator[Problem]:
    """What is wrong with how issuers are asked about tokens."""
    first: int | None = None
    for index, issuer in enumerate(settings.issuers):
        path: KeyPath = ("issuers", index)
        yield from _mode(issuer, path)
        if issuer.introspection is None:
            continue
        yield from _introspection(settings, issuer, issuer.introspection, (*path, "introspection"))
        if issuer.introspection.opaque and first is not None:
            text = f"tokens that are no JWTs can be of one issuer only, and count as those of issuers[{first}]: set opaque: false for one"
            yield Problem((*path, "introspection", "opaque"), text)
        elif issuer.introspection.opaque:
            first = index


def _mode(issuer: IssuerSettings, path: KeyPath) -> Iterator[Problem]:
    if issuer.mode == "introspection" and issuer.introspection is None:
        yield Problem((*path, "introspection"), "is missing: mode introspection needs to know who the gateway is to the issuer")
    if issuer.mode == "jwt" and issuer.introspection is not None:
        yield Problem((*path, "introspection"), "only with mode: introspection; with jwt nobody is asked")


def _introspection(settings: Settings, issuer: IssuerSettings, asking: IntrospectionSettings, path: KeyPath) -> Iterator[Problem]:
    if asking.url is not None and is_plain_http_elsewhere(asking.url) and not issuer.allow_http:
        yield Problem((*path, "url"), "plain http to an address that is not loopback: use https, or set allow_http of this issuer: true")
    yield from check_client(asking, path, settings.file)


def build_introspection(issuer: IssuerSettings, settings: Settings) -> IntrospectionConfig | None:
    """How ``issuer`` is asked about its tokens; None where it is not."""
    asking = issuer.introspection
    if asking is None:
        return None
    return IntrospectionConfig(
        authentication=build_client(asking, settings.file),
        url=asking.url,
        cache=asking.cache,
        negative_cache=asking.negative_cache,
        signed=asking.signed,
        opaque=asking.opaque,
    )
