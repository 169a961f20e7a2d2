"""Which plain scopes (``__score``) count for whom under two policies: what no boundary shows, for operations are opened by them."""

from __future__ import annotations

from collections.abc import Iterator

from smart_gateway.policy.access import Access
from smart_gateway.policy.admission import refuse_party
from smart_gateway.policy.comparing.circumstances import Asked, Circumstance, asked_by
from smart_gateway.policy.comparing.differences import Difference
from smart_gateway.policy.comparing.token_kinds import OTHERS, Who, principal_of, whos
from smart_gateway.policy.model import Policy
from smart_gateway.policy.rules.plain_scopes import holds_plain

_RULES = {True: "plain scopes that count", False: "plain scopes that count without being in the token"}
_USER = "Practitioner"
_Texts = tuple[str, ...]


def compare_plain_scopes(old: Policy, new: Policy) -> Iterator[Difference]:
    """What counts of a token that has them all, and, where that is another change, of one that has none."""
    asked = asked_by(old, new)
    texts = tuple(sorted({text for policy in (old, new) for one in policy.operations for text in one.plain} | asked.plain))
    found: dict[tuple[str, _Texts, _Texts], list[str]] = {}
    for client, issuer, actor in _parties(old, new, asked) if texts else ():
        said = set[tuple[_Texts, _Texts]]()
        for has, rule in _RULES.items():
            who = Who(client, _USER, "none", issuer, actor, Circumstance(plain=texts if has else ()))
            before, after = (_counting(who, policy, asked, texts) for policy in (old, new))
            if before != after and (before, after) not in said:
                said.add((before, after))
                found.setdefault((rule, before, after), []).append(_named(client, issuer, actor))
    for (rule, before, after), names in found.items():
        opens, closes = not set(after) <= set(before), not set(before) <= set(after)
        yield Difference(f"{rule} for clients {', '.join(names)}", _listed(before), _listed(after), opens=opens, closes=closes)


def _parties(old: Policy, new: Policy, asked: Asked) -> Iterator[tuple[str, str, str | None]]:
    """Every client, the issuer of its token, and who acts, that one of the policies could tell from another."""
    yield from dict.fromkeys((who.client, who.issuer, who.actor) for who in whos(old, new, asked) if who.user == _USER)


def _counting(who: Who, policy: Policy, asked: Asked, texts: _Texts) -> _Texts:
    access = Access(principal_of(who, policy, asked, "*"), policy)
    return tuple(text for text in texts if refuse_party(access) is None and holds_plain(access, text))


def _named(client: str, issuer: str, actor: str | None) -> str:
    return client + ("" if issuer == OTHERS else f" from {issuer}") + ("" if actor is None else f" by the actor {actor}")


def _listed(texts: _Texts) -> str:
    return ", ".join(texts) or "none"
