"""The settings as a whole: what one YAML file says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, PrivateAttr

from smart_gateway.errors import SettingsError
from smart_gateway.settings.findings import KeyPath
from smart_gateway.settings.sections.hooks import HooksSettings
from smart_gateway.settings.sections.issuers import IssuerSettings
from smart_gateway.settings.sections.policy import PolicySettings
from smart_gateway.settings.sections.revocation import RevocationSettings
from smart_gateway.settings.sections.secret import Surroundings
from smart_gateway.settings.sections.section import Section
from smart_gateway.settings.sections.server import ServerSettings, UpstreamSettings
from smart_gateway.settings.sections.tenant_names import Tenant
from smart_gateway.settings.sections.tenants import PolicyOrPath, TenantOrPath


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
    policy: PolicyOrPath = PolicySettings()
    """What narrows the scopes: a mapping, or the path of a file or of a directory of `*.yaml` files that hold it."""
    hooks: HooksSettings | None = None
    """Your own code that refuses, limits or adds to who comes."""
    tenants: Annotated[list[TenantOrPath], Field(min_length=1)] | None = None
    """Several FHIR servers, each by its host or path, instead of `upstream`, `issuers`, `policy`, `revocation` and `hooks` here."""

    _directory: Path = PrivateAttr(default_factory=Path)
    _places: Mapping[KeyPath, str] = PrivateAttr(default_factory=dict)
    _tenant: Tenant | None = PrivateAttr(default=None)
    _each: tuple[Self, ...] = PrivateAttr(default=())

    def model_post_init(self, context: Any) -> None:
        """Keeps the directory that relative paths start from, that of the settings file, and where each rule of the policy is written."""
        if isinstance(context, Surroundings):
            self._directory = context.directory
            self._places = context.places
            self._tenant = context.tenant
            self._each = context.each

    @property
    def tenant(self) -> Tenant | None:
        """Whose settings these are, where there are tenants."""
        return self._tenant

    @property
    def each(self) -> tuple[Self, ...]:
        """The settings of every tenant, where these are of a process that has some: then ``server`` counts here, and nothing else."""
        return self._each

    def of(self, name: str | None) -> Self:
        """The settings of the tenant ``name``, or these where there are none. Raises SettingsError for the wrong question."""
        if name is None and not self._each:
            return self
        names = [one.tenant.name for one in self._each if one.tenant is not None]
        if name is None:
            raise SettingsError(f"The settings have tenants: name one of them, as with --tenant ({', '.join(names)}).")
        if name not in names:
            raise SettingsError(f"The settings know no tenant {name!r}; there are: {', '.join(names) or 'none'}.")
        return self._each[names.index(name)]

    @property
    def places(self) -> Mapping[KeyPath, str]:
        """Where each key and item of the policy is written, as ``file:line:column``, by its path below ``policy``."""
        return self._places

    def file(self, path: str) -> Path:
        """Where a path of the settings leads."""
        return self._directory / path
