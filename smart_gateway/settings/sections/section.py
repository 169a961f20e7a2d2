"""What all sections of the settings have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, LiteralString

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError


class Section(BaseModel):
    """A mapping of the settings: closed, strict, immutable."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)


Text = Annotated[str, Field(min_length=1)]


def spelled(holds: Callable[[str], object], kind: LiteralString, says: LiteralString) -> AfterValidator:
    """Refuses every text of which ``holds`` says nothing true; the finding reads "KEY ``says``"."""

    def require(text: str) -> str:
        if not holds(text):
            raise PydanticCustomError(kind, says)
        return text

    return AfterValidator(require)


def shape(value: Any) -> str:
    """The discriminator of keys that take a word, a list or a mapping."""
    if isinstance(value, (dict, BaseModel)):
        return "mapping"
    return "list" if isinstance(value, list) else "word"
