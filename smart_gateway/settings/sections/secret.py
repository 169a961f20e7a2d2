"""Secrets: from an environment variable, from a file, or (with a warning) in the file itself; never printed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NoReturn

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from smart_gateway.errors import SettingsError
from smart_gateway.settings.files import read_named
from smart_gateway.settings.findings import KeyPath
from smart_gateway.settings.sections.tenant_names import Tenant

MAX_SECRET_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What settings may refer to: ``directory`` for relative paths, ``environment`` for ``from_env``; and where the keys of the policy are
    written, by their paths below it. ``tenant`` is whose they are; ``each`` the settings of all tenants, for those of the process."""

    directory: Path
    environment: Mapping[str, str]
    places: Mapping[KeyPath, str] = field(default_factory=dict)
    tenant: Tenant | None = None
    each: tuple[Any, ...] = ()


class Secret:
    """A value that is shown to nobody: every way of printing it gives where it came from."""

    __slots__ = ("_value", "origin", "plain")

    def __init__(self, value: str, origin: str, *, plain: bool = False) -> None:
        self._value = value
        self.origin = origin
        self.plain = plain

    def reveal(self) -> str:
        """The secret itself."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({self.origin})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    __hash__ = None  # type: ignore[assignment]  # no secret is a key of anything

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not written anywhere")

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(
            read_secret, serialization=core_schema.plain_serializer_function_ser_schema(repr)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, _schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return handler(
            core_schema.union_schema(
                [core_schema.str_schema(min_length=1), FromEnv.__pydantic_core_schema__, FromFile.__pydantic_core_schema__]
            )
        )


class FromEnv(BaseModel):
    """A secret in an environment variable."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    from_env: Annotated[str, Field(min_length=1, description="Name of the environment variable.")]


class FromFile(BaseModel):
    """A secret in a file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    from_file: Annotated[str, Field(min_length=1, description="Path of the file; a final line end is not part of the secret.")]


def read_secret(value: Any, info: ValidationInfo) -> Secret:
    """``{from_env: NAME}``, ``{from_file: PATH}`` or the text itself."""
    surroundings: Surroundings = info.context or Surroundings(Path(), {})
    match value:
        case Secret():
            return value
        case str():
            return _present(value, "plain text", plain=True)
        case {"from_env": str(name)} if len(value) == 1:
            return _present(_variable(name, surroundings), f"from_env {name}")
        case {"from_file": str(path)} if len(value) == 1:
            return _present(_file(path, surroundings), f"from_file {path}")
    raise _refused("must be {from_env: NAME}, {from_file: PATH} or a text")


def _variable(name: str, surroundings: Surroundings) -> str:
    if name not in surroundings.environment:
        raise _refused(f"the environment variable {name} is not set")
    return surroundings.environment[name]


def _file(path: str, surroundings: Surroundings) -> str:
    try:
        text = read_named(surroundings.directory / path, path, MAX_SECRET_BYTES).decode()
    except SettingsError as error:
        raise _refused(error.text) from None
    except UnicodeDecodeError:
        raise _refused(f"the file {path} cannot be read: it is not UTF-8 text") from None
    return text.removesuffix("\n").removesuffix("\r")


def _present(text: str, origin: str, *, plain: bool = False) -> Secret:
    if not text:
        raise _refused(f"the secret is empty ({origin})")
    return Secret(text, origin, plain=plain)


def _refused(text: str) -> PydanticCustomError:
    return PydanticCustomError("secret", "{text}", {"text": text})
