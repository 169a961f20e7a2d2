"""The exception tree: what may be raised below the shell, each with a stable code and a status.

SmartGatewayError
├── RequestError                 400  the client's request cannot be parsed without doubt
│   ├── PageRefused              403  a paging link that is not ours, or not this token's
│   ├── PageExpired              404  a paging link of ours whose time is over
│   ├── UnknownPath              404
│   ├── UnknownType              404
│   ├── MethodNotAllowed         405  carries ``allow``
│   ├── NotAcceptable            406
│   ├── RequestTooSlow           408
│   ├── PreconditionFailed       412
│   ├── BodyTooLarge             413
│   ├── TargetTooLong            414
│   ├── UnsupportedMediaType     415
│   ├── Unprocessable            422
│   ├── TooManyRequests          429  carries ``retry_after``
│   └── HeadersTooLarge          431
├── TokenError                   401  the token is missing or not to be trusted
│   ├── TokenMissing             401
│   ├── PermissionWanted         401  carries the ticket with which a UMA client asks for what it lacks
│   └── ProofRefused             401  the token is bound by DPoP; carries ``algorithms`` of proofs
│       ├── ProofMissing         401
│       └── NonceWanted          401
├── HookRefused                  403  the operator's own hook refuses who comes
├── DependencyUnavailable        503  key set, introspection endpoint, audit sink, ...: fails closed
├── UpstreamError                502  the upstream's answer cannot be used
│   ├── UpstreamUnavailable      503
│   └── UpstreamTimeout          504
└── SettingsError                     the configuration is refused; carries every finding

A refusal by permission is the value ``Deny``, no exception. Messages are ours, never copied from a token, a body or an upstream answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class SmartGatewayError(Exception):
    """Base of everything that the gateway raises on purpose.

    ``code`` is the stable machine code of ``OperationOutcome.issue.details.coding``, ``issue_code`` one of FHIR's issue-type, ``status``
    the HTTP status, ``text`` one sentence for people.
    """

    code: ClassVar[str] = "internal-error"
    issue_code: ClassVar[str] = "exception"
    status: ClassVar[int] = 500

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class RequestError(SmartGatewayError):
    """The request cannot be parsed without doubt (semantics 1).

    ``expression`` names the place: a FHIRPath of the body (``Bundle.entry[3].request.url``), ``http.<Header>`` or ``http.<parameter>``
    (FHIR R4 OperationOutcome.issue.expression). ``reason`` is a finer stable machine code than ``code``, such as ``duplicate-header``.
    """

    code = "bad-request"
    issue_code = "invalid"
    status = 400

    def __init__(self, text: str, *, reason: str | None = None, expression: str | None = None) -> None:
        super().__init__(text)
        self.reason = reason or self.code
        self.expression = expression


class PageRefused(RequestError):
    """The paging link is not one that this gateway sealed for this token (semantics 4 and 10)."""

    code = "foreign-page"
    issue_code = "forbidden"
    status = 403


class PageExpired(RequestError):
    """The paging link was sealed for this token, and its time is over."""

    code = "page-expired"
    issue_code = "not-found"
    status = 404


class UnknownPath(RequestError):
    """The path is not one of FHIR's REST grammar."""

    code = "unknown-path"
    issue_code = "not-found"
    status = 404


class UnknownType(RequestError):
    """The path names a resource type that the release does not have."""

    code = "unknown-type"
    issue_code = "not-found"
    status = 404


class MethodNotAllowed(RequestError):
    """The path is known, the method is not of its grammar; ``allow`` goes into the header of that name."""

    code = "method-not-allowed"
    issue_code = "not-supported"
    status = 405

    def __init__(self, text: str, *, allow: Sequence[str]) -> None:
        super().__init__(text)
        self.allow = tuple(allow)


class NotAcceptable(RequestError):
    """No media type that the client accepts can be judged."""

    code = "not-acceptable"
    issue_code = "not-supported"
    status = 406


class RequestTooSlow(RequestError):
    """Headers or body did not arrive in time."""

    code = "too-slow"
    issue_code = "timeout"
    status = 408


class PreconditionFailed(RequestError):
    """A condition of the request (If-Match, criteria) does not hold."""

    code = "precondition-failed"
    issue_code = "conflict"
    status = 412


class BodyTooLarge(RequestError):
    """The body, as sent or as decompressed, is over its limit."""

    code = "body-too-large"
    issue_code = "too-long"
    status = 413


class TargetTooLong(RequestError):
    """The request target is over its limit."""

    code = "target-too-long"
    issue_code = "too-long"
    status = 414


class UnsupportedMediaType(RequestError):
    """The body's media type, charset or encoding cannot be judged."""

    code = "unsupported-media-type"
    issue_code = "not-supported"
    status = 415


class Unprocessable(RequestError):
    """The body is well-formed but cannot be what the interaction asks for."""

    code = "unprocessable"
    issue_code = "invariant"
    status = 422


class TooManyRequests(RequestError):
    """A rate is exceeded; ``retry_after`` is in seconds."""

    code = "too-many-requests"
    issue_code = "throttled"
    status = 429

    def __init__(self, text: str, *, retry_after: int) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class HeadersTooLarge(RequestError):
    """The token or another header is over its limit."""

    code = "headers-too-large"
    issue_code = "too-long"
    status = 431


class TokenError(SmartGatewayError):
    """The token is not to be trusted (semantics 2). ``error`` is the code of RFC 6750 section 3.1 (or RFC 9449 section 7.1)."""

    code = "invalid-token"
    issue_code = "login"
    status = 401
    error: ClassVar[str | None] = "invalid_token"

    def __init__(self, text: str, *, reason: str | None = None) -> None:
        super().__init__(text)
        self.reason = reason or self.code


class TokenMissing(TokenError):
    """No token was sent (RFC 6750 section 3.1: then no error code)."""

    code = "token-missing"
    error = None


class PermissionWanted(TokenError):
    """The server at ``as_uri`` can be asked to permit this by ``ticket`` (UMA 2.0 Grant section 3.2), after a token that is ``refused``."""

    code = "permission-wanted"
    error = None

    def __init__(self, text: str, *, as_uri: str, ticket: str | None = None, refused: TokenError | None = None) -> None:
        super().__init__(text, reason=None if refused is None else refused.reason)
        self.as_uri, self.ticket, self.refused = as_uri, ticket, refused


class ProofRefused(TokenError):
    """The DPoP proof is not that of the token's owner for this request (RFC 9449 section 7.1). Proofs are signed by ``algorithms``."""

    code = "invalid-proof"
    error = "invalid_dpop_proof"

    def __init__(self, text: str, *, algorithms: Sequence[str], reason: str | None = None) -> None:
        super().__init__(text, reason=reason)
        self.algorithms = tuple(algorithms)


class ProofMissing(ProofRefused):
    """The token is bound by DPoP, or must be, and is sent like one that is not (RFC 9449 section 7.2)."""

    code = "proof-missing"
    error = "invalid_token"


class NonceWanted(ProofRefused):
    """The proof has no nonce of this server's, or one whose time is over; the answer carries a new one (RFC 9449 section 9)."""

    code = "nonce-wanted"
    error = "use_dpop_nonce"


class HookRefused(SmartGatewayError):
    """The hook of the operator refuses the principal; ``text`` is the hook's own, written for who asks."""

    code = "refused-by-hook"
    issue_code = "forbidden"
    status = 403


class DependencyUnavailable(SmartGatewayError):
    """A network dependency failed: no access, 503, ``retry_after`` in seconds where known."""

    code = "dependency-unavailable"
    issue_code = "transient"
    status = 503

    def __init__(self, text: str, *, retry_after: int | None = None) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class UpstreamError(SmartGatewayError):
    """The upstream's answer cannot be used: unreadable, disobedient, a redirect, doubled framing."""

    code = "upstream-error"
    issue_code = "transient"
    status = 502


class UpstreamUnavailable(UpstreamError):
    """The upstream cannot be reached."""

    code = "upstream-unavailable"
    status = 503


class UpstreamTimeout(UpstreamError):
    """The upstream did not answer in time."""

    code = "upstream-timeout"
    issue_code = "timeout"
    status = 504


class SettingsError(SmartGatewayError):
    """The configuration is refused; ``findings`` holds all of them (``settings.findings.Finding``)."""

    code = "invalid-settings"

    def __init__(self, text: str, findings: Sequence[object] = ()) -> None:
        super().__init__(text)
        self.findings = tuple(findings)
