"""``revocation:``: tokens that do not count although they verify, in the settings and in a file of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field, ValidationError

from smart_gateway.errors import SettingsError
from smart_gateway.settings.files import read_named
from smart_gateway.settings.problems import Problem
from smart_gateway.settings.reading.document import MAX_BYTES, read_document
from smart_gateway.settings.sections.section import Section, Text
from smart_gateway.tokens.cache import DenyList

if TYPE_CHECKING:
    from smart_gateway.settings.model import Settings


class DeniedTokens(Section):
    """Ids and subjects of tokens that do not count."""

    jti: list[Text] = Field(default=[])
    """Token ids."""
    subjects: list[Text] = Field(default=[])
    """Subjects, of any issuer."""


class RevocationSettings(DeniedTokens):
    """Tokens that do not count although they verify."""

    file: Text | None = None
    """A YAML file with more `jti` and `subjects`. It is read anew when it changes; while it cannot be read, the list of before counts."""


def check_revocation(settings: Settings) -> Iterator[Problem]:
    """What is wrong with the file."""
    if settings.revocation.file is None:
        return
    try:
        _read(settings, settings.revocation.file)
    except SettingsError as error:
        yield Problem(("revocation", "file"), error.text)


def build_deny_list(settings: Settings) -> DenyList:
    """Everything that is denied. Raises SettingsError where the file cannot be read."""
    lists: list[DeniedTokens] = [settings.revocation]
    if settings.revocation.file is not None:
        lists.append(_read(settings, settings.revocation.file))
    return DenyList(frozenset(jti for one in lists for jti in one.jti), frozenset(subject for one in lists for subject in one.subjects))


def _read(settings: Settings, name: str) -> DeniedTokens:
    """A file without content is refused: what is half written must not let everybody in again."""
    document = read_document(read_named(settings.file(name), name, MAX_BYTES), name)
    if document.findings or document.root is None:
        raise SettingsError(f"the file {name} is no YAML that can be read without doubt")
    try:
        return DeniedTokens.model_validate(document.root.plain())
    except ValidationError:
        raise SettingsError(f"the file {name} must hold a mapping of jti and subjects, each a list of texts") from None
