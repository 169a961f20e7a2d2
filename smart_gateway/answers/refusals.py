"""From a refusal to an answer: status, headers, OperationOutcome. Spec: semantics 10."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec

from smart_gateway.answers.answer import Answer
from smart_gateway.errors import (
    DependencyUnavailable,
    MethodNotAllowed,
    PageRefused,
    PermissionWanted,
    ProofRefused,
    RequestError,
    SmartGatewayError,
    TokenError,
    TooManyRequests,
    UpstreamUnavailable,
)
from smart_gateway.fhir.media import FHIR_JSON, FHIR_XML
from smart_gateway.fhir.outcomes import REQUIRED_SCOPE_URL, Issue, operation_outcome, to_xml
from smart_gateway.policy.emergencies import StepUpWanted
from smart_gateway.policy.plan import Deny

Headers = tuple[tuple[bytes, bytes], ...]

_METADATA_PATH = "/.well-known/oauth-protected-resource"
_RETRY_SECONDS = 5  # where nobody knows better
_ISSUE_TYPES = {400: "invalid", 403: "forbidden", 404: "not-found"}
# Spec: RFC 6750 section 3: what scope and error_description may hold. Both leave out the quote and the backslash.
_NO_DESCRIPTION = re.compile(r"[^\x20-\x21\x23-\x5b\x5d-\x7e]")
_LONGEST_SCOPE = 1024  # characters; nginx takes 4 KiB of headers by default, and DPoP says the scopes once more
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")

_NO_LOGIN: Mapping[str, str] = {}

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Facing:
    """Whom the refusal is for: what of the request and the settings shows in it.

    ``public_url`` is the FHIR base without a trailing slash, ``media`` that of ``Preferences`` (JSON unless it is ``xml``);
    ``dpop_algs`` are the signature algorithms accepted in DPoP proofs, empty where DPoP is not known.
    """

    request_id: str
    public_url: str
    media: str = "json"
    dpop_algs: tuple[str, ...] = ()
    required_scope_url: str = REQUIRED_SCOPE_URL


def refuse(reason: Deny | SmartGatewayError, facing: Facing) -> Answer:
    """The whole answer; the shell adds Content-Length, and leaves the body out for HEAD."""
    status = reason.status
    issues = _denials(reason) if isinstance(reason, Deny) else (_issue(reason),)
    outcome = operation_outcome(issues, f"request id {facing.request_id}", facing.required_scope_url)
    in_xml = facing.media == "xml"
    headers = (
        (b"content-type", f"{FHIR_XML if in_xml else FHIR_JSON}; charset=utf-8".encode()),
        (b"cache-control", b"private, no-store"),
        (b"x-content-type-options", b"nosniff"),
        *_own_headers(reason, facing),
    )
    return Answer(status, headers, to_xml(outcome) if in_xml else _encode(outcome))


def _denials(deny: Deny) -> tuple[Issue, ...]:
    """One issue per cause; the scopes that would help are said with the first."""
    type = _ISSUE_TYPES.get(deny.status, "forbidden")
    scopes = tuple(missing.scope for missing in deny.missing)
    issues = [Issue(type, cause.code, cause.text, cause.expression) for cause in deny.causes]
    if scopes:
        first = issues[0]
        issues[0] = Issue(type, first.code, f"{first.text} {_hint(scopes)}", first.expression, scopes)
    return tuple(issues)


def _hint(scopes: tuple[str, ...]) -> str:
    """It says "may", for it can still fail for other reasons."""
    return f"A token that has also {' and '.join(scopes)} may be permitted this."


def _issue(error: SmartGatewayError) -> Issue:
    match error:
        case RequestError():
            return Issue(error.issue_code, error.reason, error.text, error.expression)
        case TokenError():
            return Issue(error.issue_code, error.reason, error.text)
        case _:
            return Issue(error.issue_code, error.code, error.text)


def _own_headers(reason: Deny | SmartGatewayError, facing: Facing) -> Headers:
    """The headers that this one refusal has beside those of all."""
    match reason:
        case Deny(status=403):
            return _challenges(facing, "insufficient_scope", scope=_scope(reason))
        case PageRefused():
            return _challenges(facing, "insufficient_scope")
        case ProofRefused():
            return _proof_challenges(facing, reason)
        case StepUpWanted():
            return _challenges(facing, reason.error, description=reason.text, login=_login(reason))
        case PermissionWanted():
            return _permission_challenges(facing, reason)
        case TokenError():
            return _challenges(facing, reason.error, description=reason.text if reason.error is not None else None)
        case MethodNotAllowed():
            return ((b"allow", ", ".join(reason.allow).encode("ascii")),)
        case TooManyRequests() | DependencyUnavailable():
            return _retry(reason.retry_after)
        case UpstreamUnavailable():
            return _retry(None)
        case _:
            return ()


def _retry(seconds: int | None) -> Headers:
    return ((b"retry-after", str(_RETRY_SECONDS if seconds is None else seconds).encode("ascii")),)


def _scope(deny: Deny) -> str | None:
    """The missing scopes as one attribute value; one that RFC 6750 cannot spell (with ``\\,`` in a value) is left to the extension, and so
    are all of them where they are more than servers on the way take in a header."""
    scope = " ".join(missing.scope for missing in deny.missing if _SCOPE.fullmatch(missing.scope) is not None)
    return scope if 0 < len(scope) <= _LONGEST_SCOPE else None


def _login(wanted: StepUpWanted) -> Mapping[str, str]:
    """Which login is wanted. Spec: RFC 9470 section 3."""
    attributes = {"acr_values": " ".join(wanted.acr_values)} if wanted.acr_values else {}
    return attributes if wanted.max_age is None else {**attributes, "max_age": str(wanted.max_age)}


def _challenges(
    facing: Facing, error: str | None, *, scope: str | None = None, description: str | None = None, login: Mapping[str, str] = _NO_LOGIN
) -> Headers:
    """``WWW-Authenticate`` for Bearer, and for DPoP where it is known.

    Spec: RFC 6750 section 3 (no error where no token was sent), RFC 9728 section 5.1, RFC 9449 section 7.1.
    """
    attributes = {
        "realm": facing.public_url,
        "error": error,
        "error_description": description,
        "scope": scope,
        "resource_metadata": facing.public_url + _METADATA_PATH,
        **login,
    }
    given = [f'{name}="{_quotable(value)}"' for name, value in attributes.items() if value is not None]
    challenges = ["Bearer " + ", ".join(given)]
    if facing.dpop_algs:
        challenges.append("DPoP " + ", ".join([*given, f'algs="{_quotable(" ".join(facing.dpop_algs))}"']))
    return tuple((b"www-authenticate", challenge.encode("ascii")) for challenge in challenges)


def _proof_challenges(facing: Facing, refused: ProofRefused) -> Headers:
    """What is wrong is said of DPoP alone, the scheme that such a token comes with. Spec: RFC 9449 sections 7.1, 7.2 and 9."""
    proving = replace(facing, dpop_algs=refused.algorithms)
    _, dpop = _challenges(proving, refused.error, description=refused.text)
    bearer, _ = _challenges(proving, None)
    return dpop, bearer


def _permission_challenges(facing: Facing, wanted: PermissionWanted) -> Headers:
    """``UMA`` first, and Bearer, the scheme that its tokens come with. Spec: UMA 2.0 Grant section 3.2.1."""
    attributes = {"realm": facing.public_url, "as_uri": wanted.as_uri, "ticket": wanted.ticket}
    given = [f'{name}="{_quotable(value)}"' for name, value in attributes.items() if value is not None]
    refused = wanted.refused
    error, description = (None, None) if refused is None else (refused.error, refused.text)
    return ((b"www-authenticate", ("UMA " + ", ".join(given)).encode("ascii")), *_challenges(facing, error, description=description))


def _quotable(text: str) -> str:
    """``text`` without what could end or escape a quoted string, or a header line."""
    return _NO_DESCRIPTION.sub(" ", text)
