"""``policy.udap``: what certifiers say of clients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from smart_gateway.errors import SettingsError
from smart_gateway.policy.model import Certification
from smart_gateway.scopes.reading import read_scopes
from smart_gateway.settings.files import read_named
from smart_gateway.settings.findings import KeyPath
from smart_gateway.settings.problems import Problem, warning
from smart_gateway.settings.sections.section import Section, Text
from smart_gateway.tokens.udap import Anchors, CertifiedStatement, StatementRefused, read_anchors, verify_statement

if TYPE_CHECKING:
    from smart_gateway.settings.model import Settings

_PATH: KeyPath = ("policy", "udap")
_LARGEST = 64 * 1024  # bytes of a file


class UdapSettings(Section):
    """Certifications of clients (UDAP): signed JWTs whose `scope` is the most that a client gets, whatever its token says, and each scope
    of the token only within those of the same context. Certificates are not asked for revocation."""

    anchors: Annotated[list[Text], Field(min_length=1)]
    """PEM files with the certificates that a certifier's chain must lead to."""
    statements: dict[Text, Text] = Field(default={})
    """Clients by their id, and the file with the statement about each: the JWT as it was signed, `x5c` in its header. Once it, or a
    certificate of its chain, has expired, the client is refused (403)."""
    certifiers: Annotated[list[Text], Field(min_length=1)] | None = None
    """The `iss` of statements that count. Absent: everybody whom an anchor vouches for, a client's own word about itself too."""
    required: bool = False
    """Whether clients without a statement are refused."""


def check_udap(settings: Settings) -> Iterator[Problem]:
    """What is wrong with the certifications."""
    udap = settings.policy.udap
    if udap is None:
        return
    try:
        anchors = _anchors(settings)
    except StatementRefused as refusal:
        yield Problem((*_PATH, "anchors"), str(refusal))
        return
    if udap.required and not udap.statements:
        yield warning((*_PATH, "required"), "and there is no statement: every client is refused")
    for client, name in udap.statements.items():
        path = (*_PATH, "statements", client)
        try:
            statement = _statement(settings, name, anchors)
        except StatementRefused as refusal:
            yield Problem(path, str(refusal))
        else:
            if not read_scopes(statement.scope, replacement=None, v1_write="cud").resources:
                yield warning(path, f"the statement in {name} certifies no scope for resources: this client gets nothing at all")


def build_certifications(settings: Settings) -> Mapping[str, Certification]:
    """By client. Raises StatementRefused for what ``check_udap`` objects to."""
    if settings.policy.udap is None:
        return {}
    anchors = _anchors(settings)
    statements = {client: _statement(settings, name, anchors) for client, name in settings.policy.udap.statements.items()}
    return {client: _certification(said) for client, said in statements.items()}


def _certification(said: CertifiedStatement) -> Certification:
    scopes = read_scopes(said.scope, replacement=None, v1_write="cud")
    return Certification(scopes.resources, said.since, said.until, frozenset(scope.text for scope in scopes.plain))


def _anchors(settings: Settings) -> Anchors:
    udap = settings.policy.udap
    assert udap is not None  # INVARIANT: asked only where there is one
    found: Anchors = ()
    for name in udap.anchors:
        data = _read(settings, name)
        try:
            found = (*found, *read_anchors(data))
        except StatementRefused as refusal:
            raise StatementRefused(f"the file {name} {refusal}") from None
    return found


def _statement(settings: Settings, name: str, anchors: Anchors) -> CertifiedStatement:
    certifiers = settings.policy.udap.certifiers if settings.policy.udap is not None else None
    data = _read(settings, name)
    try:
        statement = verify_statement(data.decode("ascii", "replace"), anchors)
    except StatementRefused as refusal:
        raise StatementRefused(f"the statement in {name} {refusal}") from None
    if certifiers is not None and statement.certifier not in certifiers:
        raise StatementRefused(f"the statement in {name} is by none of certifiers")
    return statement


def _read(settings: Settings, name: str) -> bytes:
    try:
        return read_named(settings.file(name), name, _LARGEST)
    except SettingsError as error:
        raise StatementRefused(error.text) from None
