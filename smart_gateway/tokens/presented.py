"""What a request presents for itself besides what it asks: token, proofs, certificate, address."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Scheme(Enum):
    """The authentication scheme that a token came with. Spec: RFC 6750 section 2.1, RFC 9449 section 7.1."""

    BEARER = "Bearer"
    DPOP = "DPoP"


@dataclass(frozen=True, slots=True)
class Presented:
    """What came with one request. Nothing of it is verified yet.

    ``method`` is the HTTP method as sent; ``url`` the address that the client used, by the public base, without query and fragment
    (what DPoP's ``htu`` names); ``proofs`` the values of its ``DPoP`` headers; ``certificate`` the client's certificate in DER, from
    the TLS connection or a trusted terminator; ``address`` the client's IP address, where it is known.
    """

    method: str
    url: str
    token: str | None = None
    scheme: Scheme = Scheme.BEARER
    proofs: tuple[bytes, ...] = ()
    certificate: bytes | None = None
    address: str | None = None
