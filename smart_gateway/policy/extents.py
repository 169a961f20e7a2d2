"""How far one access sees, in few characters: what a search of parts of resources was judged by is not there to be judged anew."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from smart_gateway.boundary.fingerprint import fingerprint
from smart_gateway.policy.access import Access
from smart_gateway.scopes.permissions import Permission

Pairs = tuple[tuple[str, str], ...]


def extent(type: str, includes: Pairs, access: Access) -> str:
    """The same for as long as matches of ``type``, and what ``includes`` bring along, are judged and masked in the same way."""
    return access.remembered(("extent", type if not includes else "*"), lambda: _extent(type, includes, access))


def comes_in_parts(pairs: Pairs) -> bool:
    """Whether a search by ``pairs`` gives resources without all of their elements."""
    return any(name == "_elements" or (name == "_summary" and value != "false") for name, value in pairs)


def _extent(type: str, includes: Pairs, access: Access) -> str:
    types = sorted(access.policy.vocabulary.types) if includes else [type]
    said = [f"{one} {fingerprint(access.boundary(one, by))}" for one in types for by in (Permission.SEARCH, Permission.READ)]
    return hashlib.sha256("\n".join([*said, *_hidden(access)]).encode()).hexdigest()[:16]


def _hidden(access: Access) -> Iterable[str]:
    rules = access.restrictions_for(Permission.SEARCH).fields.rules
    return sorted(repr((rule.type, [path.text for path in rule.hide], rule.labelled)) for rule in rules if rule.hide)
