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
from smart_gateway.policy.plan import CheckHistory, CheckSearchset, Page, UpstreamRequest
from smart_gateway.principal import Principal
from smart_gateway.request.model import FhirRequest

PAGE_PARAMETER = "_page"
_RELATIONS = {"next": "next", "previous": "previous", "prev": "previous", "first": "first", "last": "last"}
_MOST_PARAMETERS = 1000
_VISIBLE = re.compile(r"[!\"$-\[\]-~]*")  # visible ASCII without '#' and backslash
_BROKEN_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})|%0[0-9A-Fa-f]|%1[0-9A-Fa-f]|%7[Ff]")
_SEGMENT = re.compile(r"(?!\.{1,2}$)[$A-Za-z0-9_\-.]{1,64}")


class _Payload(msgspec.Struct, array_like=True):
    """What a paging link seals: the upstream's URL relative to its base, the path that the answer came from, and the rest of ``Page``."""

    target: str
    place: tuple[str, ...]
    id: str | None
    history: bool
    exact: bool
    drop_elements: tuple[str, ...]
    types: tuple[str, ...]


_payload = msgspec.json.Decoder(_Payload)
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class LinkSealer:
    """Makes the links of one answer. ``self_url`` is the client's request in the public base; ``place`` the path that was asked upstream;
    ``entropy(n)`` gives n random bytes; ``now`` is in seconds since the epoch."""

    bases: Bases
    principal: Principal
    sealer: Sealer
    self_url: str
    place: tuple[str, ...]
    now: float
    entropy: Callable[[int], bytes]

    def links(self, found: tuple[tuple[str, str], ...], rule: CheckSearchset | CheckHistory) -> list[dict[str, str]]:
        """``Bundle.link``: self first, then each paging link of ``found`` (relation, URL) that can be a page of the same answer."""
        links = {"self": self.self_url}
        for relation, url in found:
            name = _RELATIONS.get(relation)
            target = relative_target(url, self.bases, rule.type, self.place) if name is not None and name not in links else None
            if name is not None and target is not None:
                links[name] = self._page(self._payload(target, rule), rule.type)
        return [{"relation": name, "url": url} for name, url in links.items()]

    def _payload(self, target: str, rule: CheckSearchset | CheckHistory) -> _Payload:
        if isinstance(rule, CheckHistory):
            return _Payload(target, self.place, rule.id, True, False, (), ())
        return _Payload(target, self.place, None, False, rule.exact, rule.drop_elements, tuple(sorted(rule.types)))

    def _page(self, payload: _Payload, type: str | None) -> str:
        token = self.sealer.seal(_encode(payload), page_context(self.principal, type), self.now, self.entropy(NONCE_BYTES))
        return page_url(self.bases.public, type, token)


def link_sealer(
    request: FhirRequest, place: tuple[str, ...], access: Access, sealer: Sealer, now: float, entropy: Callable[[int], bytes]
) -> LinkSealer:
    """The links of the answer to ``request``, which came from the path ``place`` of the upstream."""
    bases = access.policy.bases
    return LinkSealer(bases, access.principal, sealer, self_url(request, bases.public), place, now, entropy)


def page_url(public: str, type: str | None, token: str) -> str:
    """Where a sealed page is had: ``[type]?_page=`` or, over all types, ``[base]?_page=``."""
    return f"{public}?{PAGE_PARAMETER}={token}" if type is None else f"{public}/{type}?{PAGE_PARAMETER}={token}"


def open_page(token: str, type: str | None, access: Access, sealer: Sealer, now: float) -> Page:
    """The page that ``token`` names, for the same principal and type as it was sealed for. Raises PageRefused, PageExpired."""
    sealed = sealer.open(token, page_context(access.principal, type), now)
    try:
        held = _payload.decode(sealed)
    except msgspec.DecodeError:
        raise _nowhere() from None
    upstream = parse_target(held.target, type, held.place)
    if upstream is None:
        raise _nowhere()
    return Page(upstream, type, held.id, held.history, held.exact, held.drop_elements, frozenset(held.types))


def self_url(request: FhirRequest, public: str) -> str:
    """The client's request, as parsed, in the public base. Spec: FHIR R4 search.html 3.1.1.2."""
    if request.interaction is Interaction.PAGE:
        return page_url(public, request.type, request.page or "")
    owner = (request.compartment.type, request.compartment.id) if request.compartment is not None else ()
    path = "/".join((public, *owner, *((request.type,) if request.type is not None else ())))
    query = encode_query(tuple((parameter.key, parameter.value) for parameter in request.parameters))
    return f"{path}?{query}" if query else path


def page_context(principal: Principal, type: str | None) -> bytes:
    """Whom and what a paging link is bound to: issuer, subject, client, user, patient, tenant, scopes and the type searched."""
    scopes = sorted([*(scope.text for scope in principal.scopes.resources), *(scope.text for scope in principal.scopes.plain)])
    user = str(principal.fhir_user) if principal.fhir_user is not None else None
    bound = (principal.issuer, principal.subject, principal.client_id, user, principal.patient, principal.tenant, scopes, type)
    return hashlib.sha256(b"page" + _encode(bound)).digest()


def relative_target(url: str, bases: Bases, type: str | None, place: tuple[str, ...]) -> str | None:
    """``url`` relative to the upstream's (or our) base, when it can be nothing but a page of an answer from ``place``; else None."""
    for base in (bases.upstream, bases.public):
        if url.startswith(base) and url[len(base) : len(base) + 1] in {"", "/", "?"}:
            target = url[len(base) :]
            return target if parse_target(target, type, place) is not None else None
    return None


def parse_target(target: str, type: str | None, place: tuple[str, ...]) -> UpstreamRequest | None:
    """The GET that a paging URL asks for: at the base, on ``type``, in a compartment of it, or at ``place``; None for anything else."""
    path, _, query = target.partition("?")
    segments = tuple(path.removeprefix("/").split("/")) if path not in {"", "/"} else ()
    if any(_SEGMENT.fullmatch(segment) is None for segment in segments) or not _is_page_of(segments, type, place):
        return None
    if _VISIBLE.fullmatch(query) is None or _BROKEN_PERCENT.search(query) is not None:
        return None
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=_MOST_PARAMETERS)
    except ValueError:
        return None
    return UpstreamRequest("GET", segments, tuple(pairs))


def _is_page_of(segments: tuple[str, ...], type: str | None, place: tuple[str, ...]) -> bool:
    if segments in {(), place}:
        return True
    return type is not None and segments[-1] == type and len(segments) in {1, 3}


def _nowhere() -> PageRefused:
    return PageRefused("This paging link leads nowhere: search again.")
