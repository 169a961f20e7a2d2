"""``hooks:``: the operator's own code that the gateway asks about who comes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, cast

from pydantic import Field

from smart_gateway.errors import SettingsError
from smart_gateway.fhir.references import Bases
from smart_gateway.gateway.callers.hooks import Amendments, PrincipalHook
from smart_gateway.settings.problems import Problem
from smart_gateway.settings.sections.quantities import Duration
from smart_gateway.settings.sections.section import Section, spelled

if TYPE_CHECKING:
    from smart_gateway.settings.model import Settings

_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


HookName = Annotated[str, spelled(_NAME.fullmatch, "hook", "must be module:object, such as our_hooks:consent")]


class HooksSettings(Section):
    """The operator's own code, asked once about each verified token; see docs/python.md."""

    principal: HookName
    """`module:object`: an async callable, in a module that Python can import (installed, or on `PYTHONPATH`)."""
    timeout: Duration = Field(default="2s", validate_default=True)
    """How long it may take; after that the request is refused with 503."""
    may_widen: bool = False
    """Whether it may give scopes, patient, encounter and fhirUser that the token does not have."""


def load_hook(name: str) -> PrincipalHook:
    """The object that ``name`` names. Raises SettingsError, with nothing of what the module itself raised but its kind."""
    module, _, path = name.partition(":")
    try:
        found: object = import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except Exception as error:
        raise SettingsError(f"{name} cannot be imported: {type(error).__name__}") from error
    if inspect.isclass(found) or not (inspect.iscoroutinefunction(found) or inspect.iscoroutinefunction(getattr(found, "__call__", None))):  # noqa: B004
        raise SettingsError(f"{name} is no async callable")
    return cast(PrincipalHook, found)


def build_amendments(hooks: HooksSettings | None, bases: Bases) -> Amendments:
    """What asks the hook. Raises SettingsError where it cannot be imported."""
    if hooks is None:
        return Amendments()
    return Amendments(load_hook(hooks.principal), timeout=hooks.timeout, may_widen=hooks.may_widen, bases=bases)


def check_hooks(settings: Settings) -> Iterator[Problem]:
    """A hook that cannot be loaded refuses the start: it may be all that keeps somebody out."""
    if settings.hooks is None:
        return
    try:
        load_hook(settings.hooks.principal)
    except SettingsError as error:
        yield Problem(("hooks", "principal"), error.text)
