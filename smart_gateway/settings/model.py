"""The settings as a whole: what one YAML file says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PrivateAttr

from smart_gateway.settings.findings import KeyPath
from smart_gateway.settings.hooks import HooksSettings
from smart_gateway.settings.issuers import IssuerSettings
from smart_gateway.settings.policy import PolicySettings
from smart_gateway.settings.revocation import RevocationSettings
from smart_gateway.settings.secret import Surroundings
from smart_gateway.settings.section import NotYet, Section, Text
from smart_gateway.settings.server import ServerSettings, UpstreamSettings

# A path is read in before the model sees it; the schema shows editors that both are allowed.
_PolicyOrPath = Annotated[PolicySettings, BeforeValidator(lambda value: value, json_schema_input_type=Text | PolicySettings)]


class Settings(Section):
    """The settings of one gateway."""  # Made by ``load_settings`` only, which checks what no single key can.

    server: ServerSettings
    """What clients see and where the gateway listens."""
    upstream: UpstreamSettings
    """The FHIR server behind the gateway."""
    issuers: Annotated[list[IssuerSettings], Field(min_length=1)]
    """The authorization servers whose tokens count: a closed list."""
    revocation: RevocationSettings = RevocationSettings()
    """Tokens that do not count although they verify."""
    policy: _PolicyOrPath = PolicySettings()
    """What narrows the scopes: a mapping, or the path of a file or of a directory of `*.yaml` files that hold it."""
    hooks: HooksSettings | None = None
    """Your own code that refuses, limits or adds to who comes."""
    tenants: NotYet = None

    _directory: Path = PrivateAttr(default_factory=Path)
    _places: Mapping[KeyPath, str] = PrivateAttr(default_factory=dict)

    def model_post_init(self, context: Any) -> None:
        """Keeps the directory that relative paths start from, that of the settings file, and where each rule of the policy is written."""
        if isinstance(context, Surroundings):
            self._directory = context.directory
            self._places = context.places

    @property
    def places(self) -> Mapping[KeyPath, str]:
        """Where each key and item of the policy is written, as ``file:line:column``, by its path below ``policy``."""
        return self._places

    def file(self, path: str) -> Path:
        """Where a path of the settings leads."""
        return self._directory / path
