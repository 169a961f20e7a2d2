"""Hooks: the operator's own code, asked once about each principal, that may refuse it, limit it, or add what it knows.

What a hook says is kept for a while, so a hook sees no request: what depends on the request is the policy's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Protocol

from cachetools import LRUCache

from smart_gateway.errors import DependencyUnavailable, HookRefused, SmartGatewayError
from smart_gateway.fhir.references import Bases, Reference, is_id, parse_reference
from smart_gateway.principal import Ceiling, Principal
from smart_gateway.scopes.claim_paths import leads_into
from smart_gateway.scopes.parsing import parse_scope
from smart_gateway.scopes.reading import read_scopes
from smart_gateway.scopes.scope import ResourceScope

_logger = logging.getLogger("smart_gateway")

FACTS = "hook"
"""The claim that holds what a hook found out. A token's own claim of this name does not count where there is a hook."""

_USER_TYPES = frozenset({"Patient", "Practitioner", "PractitionerRole", "RelatedPerson", "Person"})
_BASES = Bases("http://localhost", "http://localhost")


@dataclass(frozen=True, slots=True, kw_only=True)
class Amendment:
    """What a hook has to say of a principal that may come; ``Amendment()`` leaves it as it is.

    ``limit``: scopes beyond which nothing is open, as ``limit`` of a client; None sets no limit, an empty one leaves nothing.
    ``facts``: what it found out (roles, consent), to be found as the claim ``hook``. The others can widen, and count only where
    the settings say ``may_widen: true``: ``scopes`` (a text as in a token), ``patient`` and ``encounter`` (ids) and ``fhir_user``
    (``Type/id``) in place of the token's own.
    """

    limit: Sequence[str] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    scopes: str | None = None
    patient: str | None = None
    encounter: str | None = None
    fhir_user: str | None = None

    @property
    def widens(self) -> bool:
        """Whether it says anything that could open more than the token does."""
        return any(value is not None for value in (self.scopes, self.patient, self.encounter, self.fhir_user))


@dataclass(frozen=True, slots=True)
class Refusal:
    """The principal may not come. ``text`` is a sentence that its user gets to read: it should tell of nobody else."""

    text: str


class PrincipalHook(Protocol):
    """What ``hooks.principal`` names: asked when a token is verified, and again when it is verified anew, or after a minute."""

    async def __call__(self, principal: Principal) -> Amendment | Refusal:
        """What there is to say of ``principal``. An exception, another value or no answer in time is a refusal with 503."""
        ...


class UnusableAmendment(SmartGatewayError):
    """A hook said what cannot be used; the text is for the log."""


@dataclass(slots=True)
class _Asked:
    principal: Principal
    since: float
    task: asyncio.Task[Principal | Refusal | None]


class Amendments:
    """Asks one hook, and keeps what it said of each principal object: the amended one is the same object each time.

    ``timeout`` and ``keep``, how long an answer serves at most, are in seconds. Without a hook every
    principal is left as it is. Belongs to one event loop.
    """

    def __init__(
        self,
        hook: PrincipalHook | None = None,
        *,
        timeout: float = 2.0,
        may_widen: bool = False,
        bases: Bases = _BASES,
        keep: float = 60.0,
        size: int = 10_000,
    ) -> None:
        self._hook = hook
        self._timeout = timeout
        self._may_widen = may_widen
        self._bases = bases
        self._keep = keep
        self._asked: LRUCache[int, _Asked] = LRUCache(size)

    async def of(self, principal: Principal, now: float) -> Principal:
        """``principal`` as amended, at ``now`` (seconds since the epoch).

        Raises HookRefused, and DependencyUnavailable where the hook fails: nobody comes in unasked.
        """
        if self._hook is None or principal.anonymous:
            return principal
        asked = self._ask(self._hook, principal, now)
        # asyncio.wait, not await: a request that is cancelled must not cancel the question that others wait for.
        await asyncio.wait({asked.task})
        outcome = None if asked.task.cancelled() else asked.task.result()
        if outcome is None:
            self._forget(asked)
            raise DependencyUnavailable("The gateway cannot find out whether this token may be used here at the moment.")
        if isinstance(outcome, Refusal):
            raise HookRefused(outcome.text)
        return outcome

    def _ask(self, hook: PrincipalHook, principal: Principal, now: float) -> _Asked:
        """INVARIANT: an entry holds its principal, so that no other object can have its identity."""
        held = self._asked.get(id(principal))
        if held is None or held.principal is not principal or abs(now - held.since) >= self._keep:
            held = self._asked[id(principal)] = _Asked(principal, now, asyncio.create_task(self._answer(hook, principal)))
        return held

    def _forget(self, asked: _Asked) -> None:
        if self._asked.get(id(asked.principal)) is asked:
            del self._asked[id(asked.principal)]

    async def _answer(self, hook: PrincipalHook, principal: Principal) -> Principal | Refusal | None:
        """What the hook makes of ``principal``; None where it fails. The log learns the kind of an exception only, for its text may
        hold patient data."""
        try:
            said = await self._said(hook, principal)
            return said if isinstance(said, Refusal) else self._amended(principal, said)
        except UnusableAmendment as error:
            _logger.error("the hook's answer cannot be used: %s", error.text)  # noqa: TRY400
        except TimeoutError:
            _logger.error("the hook did not answer in %s seconds", self._timeout)  # noqa: TRY400
        except Exception as error:
            _logger.error("the hook failed: %s", type(error).__name__)  # noqa: TRY400
        return None

    async def _said(self, hook: PrincipalHook, principal: Principal) -> object:
        """What the hook says in time. Raises TimeoutError at the limit, whatever the hook makes of its cancellation: what it says later
        is heard by nobody."""
        question = asyncio.ensure_future(hook(principal))
        question.add_done_callback(_let_go)
        try:
            await asyncio.wait({question}, timeout=self._timeout)
            if not question.done():
                raise TimeoutError
            return question.result()
        finally:
            question.cancel()

    def _amended(self, principal: Principal, said: object) -> Principal:
        if not isinstance(said, Amendment):
            raise UnusableAmendment("it is neither an Amendment nor a Refusal")
        if said.widens and not self._may_widen:
            raise UnusableAmendment("it could widen what the token opens, which takes hooks.may_widen: true")
        limit = () if said.limit is None else (Ceiling("the hook", _limit(said.limit)),)
        return replace(
            principal,
            ceilings=(*principal.ceilings, *limit),
            claims=_claims(principal, said.facts),
            scopes=principal.scopes if said.scopes is None else read_scopes(said.scopes, replacement=None, v1_write="cud"),
            patient=principal.patient if said.patient is None else _id(said.patient),
            encounter=principal.encounter if said.encounter is None else _id(said.encounter),
            fhir_user=principal.fhir_user if said.fhir_user is None else _user(said.fhir_user, self._bases),
        )


def _claims(principal: Principal, facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """Those of the token and the facts; none of the token's own is found where a policy asks for one of these."""
    own = {name: value for name, value in principal.claims.items() if not leads_into(name, FACTS)}
    return MappingProxyType({**own, FACTS: MappingProxyType(dict(facts))})


def _let_go(question: asyncio.Future[Any]) -> None:
    """Looks at an exception that comes too late: else the event loop logs it, and its text may hold patient data."""
    if not question.cancelled():
        question.exception()


# What comes from outside is of any type, whatever the annotations of ``Amendment`` say.
def _limit(texts: object) -> tuple[ResourceScope, ...]:
    """Every one must be a scope for resources: a slip would else take away what it was meant to leave, and nobody would know why."""
    if not isinstance(texts, list | tuple):
        raise UnusableAmendment("the limit is no list of scopes")
    scopes = [parse_scope(text) for text in texts if isinstance(text, str)]
    read = tuple(scope for scope in scopes if isinstance(scope, ResourceScope))
    if len(read) != len(texts):
        raise UnusableAmendment("the limit holds what is no scope for resources")
    return read


def _id(text: object) -> str:
    if not isinstance(text, str) or not is_id(text):
        raise UnusableAmendment("patient and encounter are FHIR ids")
    return text


def _user(text: object, bases: Bases) -> Reference:
    reference = parse_reference(text, bases) if isinstance(text, str) else None
    if reference is None or reference.version is not None or reference.type not in _USER_TYPES:
        raise UnusableAmendment("fhir_user is Type/id of one of the five types of users")
    return reference
