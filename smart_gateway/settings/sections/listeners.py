"""``server.tls`` and ``server.listeners``: where the gateway listens, and what it makes there of certificates and tokens."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Discriminator, Tag

from smart_gateway.settings.findings import KeyPath
from smart_gateway.settings.problems import Problem, warning
from smart_gateway.settings.sections.addresses import Listen, is_loopback, parse_listen
from smart_gateway.settings.sections.section import Section, Text, shape, spelled

if TYPE_CHECKING:
    from smart_gateway.settings.model import Settings

_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")


Word = Literal["reject", "limit", "ignore"]
Limit = Annotated[
    Annotated[Literal["public"], Tag("word")] | Annotated[list[Text], Tag("list")],
    Discriminator(shape),
]


class TlsSettings(Section):
    """TLS that the gateway speaks itself (1.2 and later). Without it something in front of it must."""

    certificate: Text
    """PEM file with the certificate and the chain to its authority. It is read anew when it changes."""
    key: Text
    """PEM file with the certificate's private key, unencrypted."""
    client_ca: Text | None = None
    """PEM file with the authorities that clients' certificates come from; a self-signed certificate is its own."""
    client_certificates: Literal["none", "optional", "required"] = "none"
    """Whether clients are asked for a certificate: `none` not at all, `optional` may have one, `required` are not let in without one."""


class ShownCertificateSettings(Section):
    """What becomes of requests whose client has shown no certificate, or one that is no client's of the policy: `reject` (401), `limit`
    (no more than `limit` of the listener), `ignore` (their token decides)."""

    missing: Word = "ignore"
    """No certificate."""
    unknown: Word = "reject"
    """A certificate that is none of `policy.clients.NAME.certificates`, or of two clients."""


class SentTokenSettings(Section):
    """What becomes of requests without a token, or with one that does not count: `reject` (401), `limit` (no more than `limit` of the
    listener), `ignore` (a certificate names the client by itself, which then has its `registered_scopes` or `pin`)."""

    missing: Word = "limit"
    """No token."""
    unknown: Word = "reject"
    """A token that does not verify. One that cannot be judged at the moment is 503."""


class ListenerSettings(Section):
    """One of several places where the gateway listens. Discovery is for everybody at each of them."""

    name: Annotated[str, spelled(_NAME.fullmatch, "name", "must be a name of letters, digits, hyphens and underscores")]
    """Its name in messages."""
    listen: Listen
    """Address and port."""
    tls: TlsSettings | None = None
    """Absent: plain HTTP."""
    certificate: ShownCertificateSettings = ShownCertificateSettings()
    """Without a certificate, or with one of nobody. One of a client counts with tokens of that client only."""
    token: SentTokenSettings = SentTokenSettings()
    """Without a token, or with one that does not count."""
    limit: Limit = "public"
    """What `limit` leaves: `public`, the interactions that `policy.public` opens to everybody; or scopes, which bound a token and are all
    that there is without one."""


def check_listeners(settings: Settings) -> Iterator[Problem]:
    """What is wrong with the listeners."""
    yield from _explain(settings)
    server, path = settings.server, ("server", "listeners")
    if server.listeners is None:
        return
    if server.tls is not None and not server.listens:
        yield Problem(("server", "tls"), "has no effect: beside listeners there is server.listen only where it is said")
    seen: list[ListenerSettings] = []
    for index, listener in enumerate(server.listeners):
        yield from _listener(listener, settings, (*path, index))
        address = parse_listen(listener.listen)
        if any(listener.name == other.name for other in seen):
            yield Problem((*path, index, "name"), "is there already: each listener has a name of its own")
        others = [*(other.listen for other in seen), *([server.listen] if server.listens else [])]
        if any(address.meets(parse_listen(other)) for other in others):
            yield Problem((*path, index, "listen"), "is there already: the gateway listens there")
        if server.management is not None and address.meets(parse_listen(server.management)):
            yield Problem((*path, index, "listen"), "must be another address than server.management")
        seen.append(listener)


def _explain(settings: Settings) -> Iterator[Problem]:
    """Tokens are typed there: they go over no network, and nobody elsewhere gets to ask."""
    path: KeyPath = ("server", "explain")
    if not settings.server.explain:
        return
    if settings.server.management is None:
        yield Problem(path, "needs server.management: the page is there and nowhere else")
    elif not is_loopback(parse_listen(settings.server.management).host):
        yield Problem(path, "needs server.management at a loopback address, such as 127.0.0.1:9090: tokens are typed into the page")


def _listener(listener: ListenerSettings, settings: Settings, path: KeyPath) -> Iterator[Problem]:
    asked = listener.tls is not None and listener.tls.client_certificates != "none"
    if not asked and settings.server.client_certificate_header is None and listener.certificate.missing == "reject":
        text = "lets nobody in: clients are asked for no certificate here (tls.client_certificates)"
        yield Problem((*path, "certificate", "missing"), text)
    if listener.limit == []:
        yield warning((*path, "limit"), "is empty: it leaves nothing")
