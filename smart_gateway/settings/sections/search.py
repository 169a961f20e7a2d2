"""``policy.search``: search parameters of the FHIR server's own that bounded tokens may use. Spec: semantics 0.2 and 4."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field

from smart_gateway.settings.sections.section import Section, Text, spelled

_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}(?::[A-Za-z][A-Za-z0-9-]{0,63})?")
SearchKey = Annotated[str, spelled(_KEY.fullmatch, "search_key", "must be a search parameter, or one with its modifier (name:phonetic)")]


class SearchSettings(Section):
    """What searches may use besides what FHIR defines."""

    parameters: dict[Text, Annotated[list[SearchKey], Field(min_length=1)]] = Field(default={})
    """By type, or `"*"` for all: search parameters (`ward`) and modifiers (`name:phonetic`) of the FHIR server's own that bounded tokens
    may use although neither FHIR nor the CapabilityStatement defines them. They are sent as they came. What comes back is checked as
    always, and not counted: `total` goes, `_summary=count` is refused. Empty: none."""
