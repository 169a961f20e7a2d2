"""Literal references: which resource a string names, if it names one of this server's without doubt."""

from __future__ import annotations

import re
from dataclasses import dataclass

ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_RELATIVE = re.compile(r"([A-Z][A-Za-z]{1,63})/([A-Za-z0-9\-.]{1,64})(?:/_history/([A-Za-z0-9\-.]{1,64}))?")


@dataclass(frozen=True, slots=True)
class Reference:
    """A literal reference ``type/id``, with the version when it names one."""

    type: str
    id: str
    version: str | None = None

    def __str__(self) -> str:
        return f"{self.type}/{self.id}"


@dataclass(frozen=True, slots=True)
class Bases:
    """The service bases that mean this server, without a trailing slash: ``public`` as clients see it, ``upstream`` as we do."""

    public: str
    upstream: str

    def strip(self, text: str) -> str | None:
        """``text`` relative to one of the bases; None when it is an absolute URL elsewhere; relative text stays as it is."""
        for base in (self.public, self.upstream):
            if text.startswith(base) and text[len(base) : len(base) + 1] == "/":
                return text[len(base) + 1 :]
        return None if "://" in text or text.startswith(("urn:", "/")) else text


def is_id(text: str) -> bool:
    """Whether ``text`` is a FHIR id. Spec: FHIR R4 datatypes, id."""
    return ID.fullmatch(text) is not None


def parse_reference(text: str, bases: Bases) -> Reference | None:
    """The resource of this server that a literal reference names, else None.

    None for: another server's URL, ``#contained``, ``urn:``, conditional (``Patient?...``), canonical with ``|``, a bare
    id, dots alone as id, anything with a fragment or a query. The type is not checked against a release.
    """
    relative = bases.strip(text)
    if relative is None:
        return None
    match = _RELATIVE.fullmatch(relative)
    if match is None or match[2] in {".", ".."}:
        return None
    return Reference(match[1], match[2], match[3])
