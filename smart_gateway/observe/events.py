"""One frozen record per request: what was decided, for whom, and by which rule (semantics 12)."""

from __future__ import annotations

from typing import Literal

import msgspec


class EntryCount(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How many entries of a batch asked for the same interaction on the same type and got the same status.

    ``status`` is None for an entry that was permitted and not carried out, because another one had its transaction refused.
    """

    interaction: str | None
    type: str | None
    status: int | None
    count: int


class BreakGlassUse(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An emergency that a request called, ``granted`` or not: by which scope, what for and why in the user's own words, what was lifted;
    and more of the token than other records hold: its id, when the user logged in (seconds since the epoch), and in which class."""

    granted: bool
    scope: str
    purpose: str | None
    reason: str | None
    lifts: tuple[str, ...]
    token_id: str | None = None
    auth_time: float | None = None
    acr: str | None = None


class DecisionEvent(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the decision log says of one request; the names are the keys of its JSON line.

    Ids and names only: never a token, a query value, a header or a body. ``time`` is seconds since the epoch, ``duration``
    milliseconds from the first byte read to the end of the answer. ``interaction``, ``type``, ``id`` and ``types`` (every type
    the request touches) are what was parsed: None or empty for a target that could not be. ``issuer``, ``subject``,
    ``client_id``, ``fhir_user`` (``Practitioner/p1``), ``patient``, ``tenant``, ``actor`` (who acts for the subject by ``act``,
    RFC 8693: its ``sub``, else its ``client_id``) and ``prior_actors`` (those before, the last one first) come from the verified
    token, so they are None or empty for a 401. ``status`` is what the client got, ``upstream_status`` what the upstream
    answered, if it was asked; ``code`` the stable machine code of a refusal or error; ``rules`` the deciding scopes and policy rules;
    ``removed`` the number of entries taken out of the answer; ``entries`` what became of those of a batch. With ``dry_run`` the outcome
    is what would have been enforced. ``instance`` is the name of the entry of ``tenants`` whose request it was (``tenant`` is the
    organisation that the token says): None without such, and for a request that came to none of them.
    ``address`` is the client's IP address, ``break_glass`` the emergency that it called.

    ``stage`` is ``ended``, or ``begun`` for what is written before a request is carried out where its record is required: then ``status``
    is 0, and the record of its end, with the same ``request_id``, says ``kept``.
    """

    time: float
    request_id: str
    method: str
    outcome: Literal["permit", "deny", "error"]
    status: int
    duration: float
    interaction: str | None = None
    type: str | None = None
    id: str | None = None
    types: tuple[str, ...] = ()
    issuer: str | None = None
    subject: str | None = None
    client_id: str | None = None
    fhir_user: str | None = None
    patient: str | None = None
    tenant: str | None = None
    actor: str | None = None
    prior_actors: tuple[str, ...] = ()
    code: str | None = None
    rules: tuple[str, ...] = ()
    upstream_status: int | None = None
    removed: int = 0
    entries: tuple[EntryCount, ...] = ()
    dry_run: bool = False
    address: str | None = None
    break_glass: BreakGlassUse | None = None
    stage: Literal["begun", "ended"] = "ended"
    kept: bool = False
    instance: str | None = None
