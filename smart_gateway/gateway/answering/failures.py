"""What an upstream's status means to a client whose answer is checked: the class is kept, the words are ours. Spec: semantics 0.8."""

from __future__ import annotations

from smart_gateway.errors import (
    PreconditionFailed,
    RequestError,
    TooManyRequests,
    Unprocessable,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from smart_gateway.gateway.subrequest import Received
from smart_gateway.policy.absence import absent
from smart_gateway.policy.model import Policy
from smart_gateway.policy.plan import Deny

_RETRY_SECONDS = 5
_LONGEST_RETRY = 3600


def refusal_of(answer: Received, policy: Policy) -> Deny | None:
    """None where the status is a success to go on with (200, 201, 204); the face of absence for 404 and 410; else raises.

    Raises RequestError or UpstreamError, or a subclass.
    """
    match answer.status:
        case 200 | 201 | 204:
            return None
        case 404 | 410:
            return absent(policy)
        case 409 | 412:
            raise PreconditionFailed("The resource has changed, or a condition of the request does not hold.")
        case 422:
            raise Unprocessable("The FHIR server cannot process the resource.")
        case 429:
            raise TooManyRequests("The FHIR server asks to wait.", retry_after=_retry_after(answer))
        case status if 400 <= status < 500:
            raise RequestError("The FHIR server refused the request.", reason="upstream-refused")
        case 503:
            raise UpstreamUnavailable("The FHIR server is not available.")
        case 504:
            raise UpstreamTimeout("The FHIR server did not answer in time.")
        case _:
            raise UpstreamError("The FHIR server failed, or answered in a way that cannot be passed on.")


def _retry_after(answer: Received) -> int:
    text = answer.text(b"retry-after") or ""
    return min(int(text), _LONGEST_RETRY) if text.isascii() and text.isdigit() else _RETRY_SECONDS
