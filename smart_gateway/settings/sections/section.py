"""What all sections of the settings have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, LiteralString

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

UNAVAILABLE = "not available in this version"


class Section(BaseModel):
    """A mapping of the settings: closed, strict, immutable."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)


def _unavailable_unless(neutral: Any) -> BeforeValidator:
    """Refuses every value but the one that asks for nothing."""

    def refuse_others(value: Any) -> Any:
        if type(value) is not type(neutral) or value != neutral:
            raise PydanticCustomError("unavailable", UNAVAILABLE)
        return value

    return BeforeValidator(refuse_others)


# Features that do not exist yet are known by name and refused, so that nobody believes in a limit that nothing enforces.
NotYet = Annotated[None, _unavailable_unless(None), WithJsonSchema({"not": {}})]
NotYetUnlessFalse = Annotated[bool, _unavailable_unless(False), WithJsonSchema({"const": False})]

Text = Annotated[str, Field(min_length=1)]


def spelled(holds: Callable[[str], object], kind: LiteralString, says: LiteralString) -> AfterValidator:
    """Refuses every text of which ``holds`` says nothing true; the finding reads "KEY ``says``"."""

    def require(text: str) -> str:
        if not holds(text):
            raise PydanticCustomError(kind, says)
        return text

    return AfterValidator(require)


def later(*names: str) -> BeforeValidator:
    """Refuses the values ``names`` of a later version by saying so, instead of as unknown words."""

    def refuse_later(value: Any) -> Any:
        if isinstance(value, str) and value in names:
            raise PydanticCustomError("unavailable", "{word}: " + UNAVAILABLE, {"word": f'"{value}"'})
        return value

    return BeforeValidator(refuse_later)


def shape(value: Any) -> str:
    """The discriminator of keys that take a word, a list or a mapping."""
    if isinstance(value, (dict, BaseModel)):
        return "mapping"
    return "list" if isinstance(value, list) else "word"
