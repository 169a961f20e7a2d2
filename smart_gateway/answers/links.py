"""Links of a searchset: the client's own search as ``self``, paging links sealed, all others gone."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qsl

import msgspec

from smart_gateway.answers.sealing import NONCE_BYTES, Sealer
from smart_gateway.errors import PageRefused
from smart_gateway.fhir.interactions import Interaction
from smart_gateway.fhir.query import encode_query
from smart_gateway.fhir.references import Bases
from smart_gateway.policy.access import Access
from smart_gateway.policy.plan import UpstreamRequest
from smart_gateway.principal import Principal
from smart_gateway.request.model import FhirRequest

PAGE_PARAMETER = "_page"
_RELATIONS = {"next": "next", "previous": "previous", "prev": "previous", "first": "first", "last": "last"}
_MOST_PARAMETERS = 1000
_VISIBLE = re.compile(r"[!\"$-\[\]-~]*")  # visible ASCII without '#' and backslash
_BROKEN_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})|%0[0-9A-Fa-f]|%1[0-9A-Fa-f]|%7[Ff]")
_SEARCH_PATH = re.compile(r"/?|/[A-Z][A-Za-z]{1,63}|/[A-Z][A-Za-z]{1,63}/(?!\.{1,2}/)[A-Za-z0-9\-.]{1,64}/[A-Z][A-Za-z]{1,63}")


class _Payload(msgspec.Struct, array_like=True):
    """What a paging link seals: the upstream's URL relative to its base, and what the plan of the search said of its answer."""

    target: str
    exact: bool
    drop_elements: tuple[str, ...]


_payload = msgspec.json.Decoder(_Payload)
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Page:
    """An opened paging link: the request to send, and ``exact`` and ``drop_elements`` of the search's CheckSearchset."""

    upstream: UpstreamRequest
    exact: bool
    drop_elements: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LinkSealer:
    """Makes the links of one answer. ``self_url`` is the client's request in the public base; ``entropy(n)`` gives n random bytes;
    ``now`` is in seconds since the epoch."""

    bases: Bases
    principal: Principal
    sealer: Sealer
    self_url: str
    now: float
    entropy: Callable[[int], bytes]

    def links(self, found: tuple[tuple[str, str], ...], type: str, exact: bool, drop_elements: tuple[str, ...]) -> list[dict[str, str]]:
        """``Bundle.link``: self first, then each paging link of ``found`` (relation, URL) that lies under one of the bases."""
        links = {"self": self.self_url}
        for relation, url in found:
            name = _RELATIONS.get(relation)
            target = relative_target(url, self.bases, type) if name is not None and name not in links else None
            if name is not None and target is not None:
                links[name] = self._page(_Payload(target, exact, drop_elements), type)
        return [{"relation": name, "url": url} for name, url in links.items()]

    def _page(self, payload: _Payload, type: str) -> str:
        token = self.sealer.seal(_encode(payload), page_context(self.principal, type), self.now, self.entropy(NONCE_BYTES))
        return f"{self.bases.public}/{type}?{PAGE_PARAMETER}={token}"


def link_sealer(request: FhirRequest, access: Access, sealer: Sealer, now: float, entropy: Callable[[int], bytes]) -> LinkSealer:
    """The links of the answer to ``request``."""
    bases = access.policy.bases
    return LinkSealer(bases, access.principal, sealer, self_url(request, bases.public), now, entropy)


def open_page(token: str, type: str, access: Access, sealer: Sealer, now: float) -> Page:
    """The page that ``token`` names, for the same principal and type as it was sealed for. Raises PageRefused, PageExpired."""
    payload = _payload.decode(sealer.open(token, page_context(access.principal, type), now))
    upstream = parse_target(payload.target, type)
    if upstream is None:
        raise PageRefused("This paging link leads nowhere: search again.")
    return Page(upstream, payload.exact, payload.drop_elements)


def self_url(request: FhirRequest, public: str) -> str:
    """The client's request, as parsed, in the public base. Spec: FHIR R4 search.html 3.1.1.2."""
    if request.interaction is Interaction.PAGE:
        return f"{public}/{request.type}?{PAGE_PARAMETER}={request.page}"
    owner = (request.compartment.type, request.compartment.id) if request.compartment is not None else ()
    path = "/".join((public, *owner, *((request.type,) if request.type is not None else ())))
    query = encode_query(tuple((parameter.key, parameter.value) for parameter in request.parameters))
    return f"{path}?{query}" if query else path


def page_context(principal: Principal, type: str) -> bytes:
    """Whom and what a paging link is bound to: issuer, subject, client, user, patient, tenant, scopes and the type searched."""
    scopes = sorted([*(scope.text for scope in principal.scopes.resources), *(scope.text for scope in principal.scopes.plain)])
    user = str(principal.fhir_user) if principal.fhir_user is not None else None
    bound = (principal.issuer, principal.subject, principal.client_id, user, principal.patient, principal.tenant, scopes, type)
    return hashlib.sha256(b"page" + _encode(bound)).digest()


def relative_target(url: str, bases: Bases, type: str) -> str | None:
    """``url`` relative to the upstream's (or our) base, when it can be nothing but a page of a search of ``type``; else None."""
    for base in (bases.upstream, bases.public):
        if url.startswith(base) and url[len(base) : len(base) + 1] in {"", "/", "?"}:
            target = url[len(base) :]
            return target if parse_target(target, type) is not None else None
    return None


def parse_target(target: str, type: str) -> UpstreamRequest | None:
    """The GET that a paging URL asks for: at the base, on ``type``, or on ``type`` in a compartment; None for anything else."""
    path, _, query = target.partition("?")
    segments = tuple(segment for segment in path.split("/") if segment)
    if _SEARCH_PATH.fullmatch(path) is None or _VISIBLE.fullmatch(query) is None or _BROKEN_PERCENT.search(query) is not None:
        return None
    if segments and segments[-1] != type:
        return None
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=_MOST_PARAMETERS)
    except ValueError:
        return None
    return UpstreamRequest("GET", segments, tuple(pairs))
