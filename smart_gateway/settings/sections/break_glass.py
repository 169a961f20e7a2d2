"""``policy.break_glass``: emergencies that a user calls for a request, and what they lift."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from smart_gateway.policy.emergencies import BreakGlass, Lift
from smart_gateway.scopes.parsing import parse_scope
from smart_gateway.scopes.permissions import Permission
from smart_gateway.scopes.scope import PlainScope, ScopeKind
from smart_gateway.settings.findings import KeyPath
from smart_gateway.settings.problems import Problem, warning
from smart_gateway.settings.sections.addresses import HeaderName
from smart_gateway.settings.sections.quantities import Duration
from smart_gateway.settings.sections.section import Section, spelled
from smart_gateway.settings.sections.users import UserKind
from smart_gateway.settings.sections.whom import Letters

if TYPE_CHECKING:
    from smart_gateway.settings.model import Settings

_PATH: KeyPath = ("policy", "break_glass")
_SCOPE = re.compile(r"[!#-\[\]-~]+")  # RFC 6749 section 3.3
_PURPOSE = re.compile(r"[A-Za-z0-9._-]{1,64}")
_ACR = re.compile(r"[!#-\[\]-~]{1,200}")  # what one of acr_values can be in a challenge: no space, quote or backslash
_LONG = 24 * 3600.0
_SENT = frozenset(
    "accept accept-encoding accept-language connection content-encoding expect forwarded from if-match if-modified-since if-none-exist "
    "if-none-match origin prefer range referer te transfer-encoding upgrade user-agent via x-real-ip".split()
)


def _require_plain(text: str) -> str:
    scope = parse_scope(text)
    if _SCOPE.fullmatch(text) is None or not isinstance(scope, PlainScope) or scope.kind is not ScopeKind.EXTENSION:
        raise PydanticCustomError("scope", "must be a scope of its own that opens no resource, such as __break-glass")
    return text


Purpose = Annotated[str, spelled(_PURPOSE.fullmatch, "purpose", "must be a code of v3-ActReason, such as BTG or ETREAT")]
Acr = Annotated[str, spelled(_ACR.fullmatch, "acr", "must be a text without spaces, quotes and backslashes")]
CallingHeader = Annotated[HeaderName, spelled(lambda text: text.lower() not in _SENT, "address", "is a header that says something else")]


class BreakGlassSettings(Section):
    """An emergency lifts limits of this policy for one request, which calls it by its headers; what the token's own scopes leave out stays
    closed. It is always recorded before it is granted, and refused where it cannot be."""

    scope: Annotated[str, AfterValidator(_require_plain)]
    """The plain scope (`__break-glass`) that the token must have. It is limited as other scopes are: where a client has
    `registered_scopes`, `limit` or `pin`, it must be in them, and so it must in every other list of scopes that bounds the token."""
    lifts: Annotated[list[Literal["users", "patients", "limit", "labels", "fields"]], Field(min_length=1)]
    """The limits that it lifts: sections of this policy, and the client's own `limit`."""
    permissions: Letters = "rs"
    """The permissions (of `cruds`) that it lifts them for."""
    reason_header: CallingHeader = "X-Break-Glass-Reason"
    """The header with the user's reason: UTF-8, 512 characters at most."""
    purpose_header: CallingHeader = "X-Purpose-Of-Use"
    """The header with the purpose of use."""
    purposes: Annotated[list[Purpose], Field(min_length=1)] = Field(default=["BTG", "ETREAT"])
    """The purposes (HL7 v3-ActReason) of which it must be one. A request with one of them, or with a reason, calls an emergency."""
    max_duration: Duration = Field(default="1h", validate_default=True)
    """How long after its `iat` a token calls emergencies. An issuer that renews tokens by itself begins it anew: see `max_auth_age`."""
    fhir_user: Annotated[list[UserKind], Field(min_length=1)] = Field(default=["Practitioner", "PractitionerRole", "none"])
    """The kinds of fhirUser that may call one. For `none`, tokens without a usable fhirUser, `users` and `patients` are never lifted."""
    max_auth_age: Duration | None = None
    """How long ago the user may have logged in (`auth_time`); else 401 asks for another login (RFC 9470). Absent: any time."""
    acr_values: Annotated[list[Acr], Field(min_length=1)] | None = None
    """Classes of login (`acr`) of which it must be one; else 401 asks for it (RFC 9470). Absent: any."""


def build_break_glass(settings: BreakGlassSettings | None) -> BreakGlass | None:
    """The rule; None where no emergency can be called."""
    if settings is None:
        return None
    return BreakGlass(
        scope=settings.scope,
        lifts=frozenset(Lift(name) for name in settings.lifts),
        reason_header=settings.reason_header,
        purpose_header=settings.purpose_header,
        purposes=frozenset(settings.purposes),
        max_duration=settings.max_duration,
        permissions=Permission.of(settings.permissions) or Permission(0),
        kinds=frozenset(settings.fhir_user),
        acr_values=tuple(settings.acr_values or ()),
        max_auth_age=settings.max_auth_age,
    )


def check_break_glass(settings: Settings) -> Iterator[Problem]:
    """What cannot be meant, or opens more than it seems to."""
    rule = settings.policy.break_glass
    if rule is None:
        return
    if rule.reason_header.lower() == rule.purpose_header.lower():
        yield Problem((*_PATH, "reason_header"), "is the purpose_header too: they are two headers")
    if rule.max_duration > _LONG:
        yield warning((*_PATH, "max_duration"), "is more than a day: an emergency that does not end is none")
    for index, kind in enumerate(rule.fhir_user):
        if kind in {"Patient", "RelatedPerson", "Person"}:
            yield warning((*_PATH, "fhir_user", index), "patients and those related to them can lift limits for themselves")
    yield from _pointless(settings)
    if rule.acr_values is None and rule.max_auth_age is None:
        yield warning(_PATH, "asks for no fresh login: set max_auth_age, or a token that was renewed calls emergencies on and on")


def _pointless(settings: Settings) -> Iterator[Problem]:
    """What is lifted, and is not there."""
    policy = settings.policy
    rule = policy.break_glass
    there = {
        "labels": policy.labels is not None,
        "fields": any(rule.hide for rule in policy.fields),
        "patients": policy.patients is not None,
    }
    there |= {"limit": any(client.limit is not None for client in (policy.clients or {}).values())}
    for index, name in enumerate(rule.lifts if rule is not None else ()):
        if not there.get(name, True):
            yield warning((*_PATH, "lifts", index), f"lifts nothing: there is no {'limit of a client' if name == 'limit' else name}")
