"""Links of a searchset: the client's own search as ``self``, paging links sealed, all others gone."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, urlsplit

import msgspec

from smart_gateway.answers.sealing import NONCE_BYTES, Sealer
from smart_gateway.boundary.fingerprint import fingerprint
from smart_gateway.boundary.model import Filter
from smart_gateway.errors import PageRefused, RequestError
from smart_gateway.fhir.interactions import Interaction
from smart_gateway.fhir.query import encode_query
from smart_gateway.fhir.references import Bases
from smart_gateway.policy.access import Access
from smart_gateway.policy.pages import Page, PageBranch, UnionPage
from smart_gateway.policy.plan import (
    Branch,
    CheckHistory,
    CheckSearchset,
    CheckUnion,
    SortKey,
    UpstreamRequest,
)
from smart_gateway.principal import Principal
from smart_gateway.request.limits import Limits
from smart_gateway.request.model import FhirRequest

PAGE_PARAMETER = "_page"
_RELATIONS = {"next": "next", "previous": "previous", "prev": "previous", "first": "first", "last": "last"}
_HISTORIES = frozenset({Interaction.HISTORY_INSTANCE, Interaction.HISTORY_TYPE, Interaction.HISTORY_SYSTEM})
_MOST_PARAMETERS = 1000
_WORTH_PACKING = 256  # bytes
_MOST_UNPACKED = 1024 * 1024
_VISIBLE = re.compile(r"[!\"$-\[\]-~]*")  # visible ASCII without '#' and backslash
_BROKEN_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})|%0[0-9A-Fa-f]|%1[0-9A-Fa-f]|%7[Ff]")
_SEGMENT = re.compile(r"(?!\.{1,2}$)[$A-Za-z0-9_\-.]{1,64}")


class _Single(msgspec.Struct, array_like=True, tag="page"):
    """What a paging link seals: the upstream's URL relative to its base, the path that the answer came from, and the rest of ``Page``."""

    target: str
    place: tuple[str, ...]
    id: str | None
    history: bool
    exact: bool
    drop_elements: tuple[str, ...]
    fingerprint: str
    includes: tuple[tuple[str, str], ...] = ()
    extent: str = ""


class _Part(msgspec.Struct, array_like=True):
    """One ``PageBranch``: for a POST, ``target`` has the form where a GET has its query; ``unless`` are parameters and their values."""

    post: bool
    target: str
    type: str
    drop_elements: tuple[str, ...]
    unless: tuple[tuple[str, tuple[str, ...]], ...]
    skip: int
    includes: tuple[tuple[str, str], ...] = ()
    extent: str = ""


class _Several(msgspec.Struct, array_like=True, tag="union"):
    """What the link to the next page of a union seals; ``sort`` is that of the client."""

    parts: tuple[_Part, ...]
    count: int | None
    sort: tuple[str, ...]


_payload: msgspec.json.Decoder[_Single | _Several] = msgspec.json.Decoder(_Single | _Several)
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class LinkSealer:
    """Makes the links of one answer. ``self_url`` is the client's request in the public base; ``place`` the path that was asked upstream;
    ``entropy(n)`` gives n random bytes; ``now`` is in seconds since the epoch. ``longest``: the request targets that clients may send are
    shorter, in bytes. ``emergency``: the links open in an emergency only, which each request calls anew."""

    bases: Bases
    principal: Principal
    sealer: Sealer
    self_url: str
    place: tuple[str, ...]
    now: float
    entropy: Callable[[int], bytes]
    longest: int = Limits().url
    emergency: bool = False

    def links(self, found: tuple[tuple[str, str], ...], rule: CheckSearchset | CheckHistory) -> list[dict[str, str]]:
        """``Bundle.link``: self first, then each paging link of ``found`` (relation, URL) that can be a page of the same answer."""
        links = {"self": self.self_url}
        for relation, url in found:
            name = _RELATIONS.get(relation)
            target = relative_target(url, self.bases, rule.type, self.place) if name is not None and name not in links else None
            page = self._page(self._single(target, rule), rule.type) if target is not None else None
            if name is not None and page is not None:
                links[name] = page
            elif name == "next" and target is not None:
                raise _too_long()
        return [{"relation": name, "url": url} for name, url in links.items()]

    def union_links(self, left: tuple[Branch, ...], rule: CheckUnion) -> list[dict[str, str]]:
        """``Bundle.link`` of a union: self and, where a branch has something left, next."""
        links = [{"relation": "self", "url": self.self_url}]
        if left:
            sort = tuple(f"-{key.code}" if key.descending else key.code for key in rule.sort)
            page = self._page(_Several(tuple(_part(branch) for branch in left), rule.count, sort), rule.type)
            if page is None:
                raise _too_long()
            links.append({"relation": "next", "url": page})
        return links

    def onward(self, found: tuple[tuple[str, str], ...], rule: CheckSearchset | CheckHistory) -> UpstreamRequest | None:
        """The request for the page after that of ``found``, by the rule for its link."""
        url = next((url for relation, url in found if relation == "next"), "")
        target = relative_target(url, self.bases, rule.type, self.place)
        return parse_target(target, rule.type, self.place) if target is not None else None

    def _single(self, target: str, rule: CheckSearchset | CheckHistory) -> _Single:
        if isinstance(rule, CheckHistory):
            return _Single(target, self.place, rule.id, True, False, (), "")
        exact = rule.exact and rule.boundary is not None
        bound = fingerprint(rule.boundary) if exact and rule.boundary is not None else ""
        return _Single(target, self.place, None, False, exact, rule.drop_elements, bound, rule.includes, rule.extent)

    def _page(self, payload: _Single | _Several, type: str | None) -> str | None:
        """The link; None where it would be longer than a request may be."""
        context = page_context(self.principal, type, self.bases.public, emergency=self.emergency)
        token = self.sealer.seal(_pack(_encode(payload)), context, self.now, self.entropy(NONCE_BYTES))
        url = page_url(self.bases.public, type, token)
        origin = len(self.bases.public) - len(urlsplit(self.bases.public).path)
        return url if len(url) - origin < self.longest else None


def link_sealer(
    request: FhirRequest,
    place: tuple[str, ...],
    access: Access,
    sealer: Sealer,
    now: float,
    entropy: Callable[[int], bytes],
    longest: int = Limits().url,
) -> LinkSealer:
    """The links of the answer to ``request``, which came from the path ``place`` of the upstream."""
    bases = access.policy.bases
    own, emergency = self_url(request, bases.public), access.policy.emergency is not None
    return LinkSealer(bases, access.principal, sealer, own, place, now, entropy, longest, emergency)


def page_url(public: str, type: str | None, token: str) -> str:
    """Where a sealed page is had: ``[type]?_page=`` or, over all types, ``[base]?_page=``."""
    return f"{public}?{PAGE_PARAMETER}={token}" if type is None else f"{public}/{type}?{PAGE_PARAMETER}={token}"


def open_page(token: str, type: str | None, access: Access, sealer: Sealer, now: float) -> Page | UnionPage:
    """The page that ``token`` names, for the same principal and type as it was sealed for. Raises PageRefused, PageExpired."""
    sealed = sealer.open(token, _context(access, type), now)
    try:
        held = _payload.decode(_unpack(sealed))
    except (msgspec.DecodeError, zlib.error):
        raise _nowhere() from None
    if isinstance(held, _Several):
        sort = tuple(SortKey(key.removeprefix("-"), key.startswith("-")) for key in held.sort)
        return UnionPage(tuple(_page_branch(part) for part in held.parts), type, held.count, sort)
    upstream = parse_target(held.target, type, held.place)
    if upstream is None:
        raise _nowhere()
    return Page(upstream, type, held.id, held.history, held.exact, held.drop_elements, held.fingerprint, held.includes, held.extent)


def _part(branch: Branch) -> _Part:
    upstream, rule = branch.upstream, branch.rule
    form = upstream.form is not None
    target = replace(upstream, query=upstream.form, form=None).target if upstream.form is not None else upstream.target
    unless = tuple((filter.parameter, filter.values) for filter in branch.unless)
    return _Part(form, target, rule.type or "", rule.drop_elements, unless, branch.skip, rule.includes, rule.extent)


def _page_branch(part: _Part) -> PageBranch:
    path, mark, query = part.target.partition("?")
    upstream = parse_target(path.removesuffix("/_search") + mark + query if part.post else part.target, part.type, ())
    if upstream is None:
        raise _nowhere()
    if part.post:
        upstream = UpstreamRequest("POST", (*upstream.path, "_search"), form=upstream.query)
    unless = tuple(Filter(parameter, None, values) for parameter, values in part.unless)
    return PageBranch(upstream, part.type, part.drop_elements, unless, part.skip, part.includes, part.extent)


def _pack(payload: bytes) -> bytes:
    """Deflated where that is worth it. What is sealed is the client's own search and the upstream's paging: nothing secret from this
    client, whose length could tell something."""
    return payload if len(payload) < _WORTH_PACKING else zlib.compress(payload, 9)


def _unpack(sealed: bytes) -> bytes:
    return sealed if sealed.startswith(b"[") else zlib.decompressobj().decompress(sealed, _MOST_UNPACKED)


def self_url(request: FhirRequest, public: str) -> str:
    """The client's request, as parsed, in the public base. Spec: FHIR R4 search.html 3.1.1.2."""
    if request.interaction is Interaction.PAGE:
        return page_url(public, request.type, request.page or "")
    owner = (request.compartment.type, request.compartment.id) if request.compartment is not None else ()
    type = "*" if owner and request.type is None else request.type  # all types of the compartment: without it the URL would be a read
    named = (name for name in (type, request.id, request.operation) if name is not None)
    path = "/".join((public, *owner, *named, *(("_history",) if request.interaction in _HISTORIES else ())))
    query = encode_query(tuple((parameter.key, parameter.value) for parameter in request.parameters))
    return f"{path}?{query}" if query else path


def _context(access: Access, type: str | None) -> bytes:
    return page_context(access.principal, type, access.policy.bases.public, emergency=access.policy.emergency is not None)


def page_context(principal: Principal, type: str | None, public: str, *, emergency: bool = False) -> bytes:
    """Whom and what a paging link is bound to: issuer, subject, client, user, patient, tenant, scopes, the base and the type searched, and
    whether it is of an emergency."""
    scopes = sorted([*(scope.text for scope in principal.scopes.resources), *(scope.text for scope in principal.scopes.plain)])
    user = str(principal.fhir_user) if principal.fhir_user is not None else None
    scopes += [f"{region.patient} {region.scope.text}" for region in principal.permitted or ()]
    bound = (principal.issuer, principal.subject, principal.client_id, user, principal.patient, principal.tenant, scopes, public, type)
    return hashlib.sha256((b"emergency" if emergency else b"page") + _encode(bound)).digest()


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


def _too_long() -> RequestError:
    """Without the link the client would take a part for the whole."""
    text = "The link to the next page would be longer than this gateway accepts: search with fewer or shorter values, or fewer types."
    return RequestError(text, reason="page-too-long")


def _nowhere() -> PageRefused:
    return PageRefused("This paging link leads nowhere: search again.", expression="http._page")
