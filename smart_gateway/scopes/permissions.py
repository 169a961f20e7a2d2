"""The five permissions of SMART v2 scopes."""

from __future__ import annotations

from enum import Flag
from functools import cache

_LETTERS = "cruds"


class Permission(Flag):
    """``c r u d s``. Spec: SMART App Launch 2.2, scopes-and-launch-context, "Scopes for requesting FHIR Resources"."""

    CREATE = 1
    READ = 2
    UPDATE = 4
    DELETE = 8
    SEARCH = 16

    __hash__ = object.__hash__  # each combination is one object; Enum's own hash is a call into Python

    @property
    def letters(self) -> str:
        """The letters in the order that SMART prescribes, such as ``rs``."""
        return _letters(self)

    @classmethod
    def of(cls, letters: str) -> Permission | None:
        """The permissions that ``letters`` names: at least one, in the order ``cruds``, none twice; else None."""
        places = [_LETTERS.find(letter) for letter in letters]
        if not places or -1 in places or places != sorted(set(places)):
            return None
        result = cls(0)
        for letter in letters:
            result |= _BY_LETTER[letter]
        return result


_BY_LETTER = dict(zip(_LETTERS, Permission, strict=True))


@cache
def _letters(permissions: Permission) -> str:
    return "".join(letter for letter in _LETTERS if _BY_LETTER[letter] in permissions)
