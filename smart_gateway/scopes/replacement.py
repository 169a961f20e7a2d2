"""Scope strings whose characters an authorization server cannot carry, as with Azure AD: back to SMART's spelling.

Two encoders are known. One escapes (``escapes: backslash``): every ``/`` is written as another character, every ``*`` as another
one, and these characters themselves, and the backslash, behind a backslash. One does not (``escapes: none``): there only the
separator after the context can be read back, and URLs in values are looked up among those that the settings list.

Spec: semantics 3, "Replaced characters".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote, unquote

from smart_gateway.fhir.search_values import escape
from smart_gateway.scopes.scope import MalformedScope

_CONTEXTS = ("patient", "user", "system", "launch")
_VALUE_PARTS = re.compile(r"([,|$&=])")


@dataclass(frozen=True, slots=True)
class Replacement:
    """``slash`` is the character for ``/``; ``star`` a character, or a word such as ``all``, for ``*``; ``strip_prefix`` goes first.

    A word counts only as the whole type or the whole permission. ``known_urls`` serve ``escapes: none`` only.
    """

    slash: str = "/"
    star: str | None = None
    strip_prefix: str = ""
    escapes: Literal["backslash", "none"] = "backslash"
    known_urls: tuple[str, ...] = ()
    _spelled: dict[str, str | None] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.slash) != 1 or self.slash.isalnum() or self.slash in "\\%&=?,| ":
            raise ValueError("slash is one character, neither letter nor digit, nor one that scopes need themselves")
        if self.star is not None and (not self.star or self.star == self.slash or not _is_star(self.star)):
            raise ValueError("star is one character other than slash, or a word of letters")
        object.__setattr__(self, "_spelled", _spelled(self.known_urls, self.slash))

    def restore(self, text: str) -> str | MalformedScope:
        """``text`` in SMART's spelling; malformed where that is not certain. Linear; never raises."""
        body = text.removeprefix(self.strip_prefix)
        if self.escapes == "backslash":
            restored = self._unescaped(body)
            if restored is None:
                return MalformedScope(text, "A backslash stands before a character that needs none.")
            return restored if self._star_is_character else self._starred(restored)
        opened = self._separated(body)
        if opened is None:
            return body
        head, mark, query = opened.partition("?")
        values = self._values(query)
        if values is None:
            return MalformedScope(text, "A URL in the scope has replaced characters and is not certainly one of the known URLs.")
        return self._starred(head) + mark + values

    @property
    def _star_is_character(self) -> bool:
        return self.star is not None and len(self.star) == 1

    def _unescaped(self, body: str) -> str | None:
        """Every unescaped slash and star character replaced, every escaped one bare; None for any other escape."""
        if self.slash == "/" and not self._star_is_character:
            return body
        special = {self.slash: "/", "\\": "\\"}
        if self.star is not None and self._star_is_character:
            special[self.star] = "*"
        out, characters = [], iter(body)
        for character in characters:
            if character != "\\":
                out.append(special.get(character, character))
                continue
            escaped = next(characters, "")
            if escaped not in special:
                return None
            out.append(escaped)
        return "".join(out)

    def _separated(self, body: str) -> str | None:
        """``body`` with the slash after its context; None where it is no scope with a context."""
        for context in _CONTEXTS:
            if body.startswith(context + self.slash):
                return f"{context}/{body[len(context) + 1 :]}"
        return None

    def _starred(self, restored: str) -> str:
        """The star word, where it is the whole type or the whole permission, as ``*``."""
        if self.star is None:
            return restored
        head, mark, query = restored.partition("?")
        context, slash, rest = head.partition("/")
        if context not in _CONTEXTS or not slash:
            return restored
        parts = ["*" if part == self.star else part for part in rest.split(".")]
        return f"{context}/{'.'.join(parts)}{mark}{query}"

    def _values(self, query: str) -> str | None:
        """The query with its known URLs restored; None where a URL is unknown or means several."""
        parts = _VALUE_PARTS.split(query)
        for place, part in enumerate(parts):
            decoded = unquote(part) if "%" in part else part
            if not self._is_replaced_url(decoded):
                continue
            url = self._spelled.get(decoded)
            if url is None:
                return None
            parts[place] = quote(escape(url), safe="/:\\")
        return "".join(parts)

    def _is_replaced_url(self, text: str) -> bool:
        scheme, colon, rest = text.partition(":")
        return self.slash != "/" and bool(colon) and scheme.isalnum() and rest.startswith(self.slash * 2)


def _is_star(star: str) -> bool:
    return star.isalpha() if len(star) > 1 else not star.isalnum() and star not in "\\%&=?,| /"


def _spelled(urls: tuple[str, ...], slash: str) -> dict[str, str | None]:
    """URLs by their replaced spelling; None where two share one."""
    spelled: dict[str, str | None] = {}
    for url in dict.fromkeys(urls):
        key = url.replace("/", slash)
        spelled[key] = None if key in spelled else url
    return spelled
