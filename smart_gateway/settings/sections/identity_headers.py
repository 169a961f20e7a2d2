"""``upstream.identity_headers``: who asks, told to a FHIR server that expects it in headers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from smart_gateway.errors import SettingsError
from smart_gateway.gateway.credentials import IdentityHeaders
from smart_gateway.settings.files import read_named
from smart_gateway.settings.findings import KeyPath
from smart_gateway.settings.problems import Problem, warning
from smart_gateway.settings.sections.quantities import Duration
from smart_gateway.settings.sections.secret import MAX_SECRET_BYTES, Secret
from smart_gateway.settings.sections.section import Section, Text
from smart_gateway.tokens.client_authentication import AssertionKey, read_assertion_key
from smart_gateway.tokens.identity_assertion import IdentitySigner, SharedSecret

if TYPE_CHECKING:
    from smart_gateway.settings.model import Settings

_NAME = re.compile(r"[Xx]-[A-Za-z0-9-]{1,62}")
# What the gateway itself sets, and what has power in a known server whoever sends it (semantics 1).
_RESERVED = re.compile(
    r"x-(forwarded-.*|request-id|correlation-id|real-ip|original-.*|http-method.*|method-override|request-partition-ids|cascade"
    r"|rewrite-history|security-context|upsert-.*|provenance|accel-.*)"
)
_LONGEST = 300.0


def _require_free_name(text: str) -> str:
    if _NAME.fullmatch(text) is None:
        raise PydanticCustomError("header", "must be a header name that begins with X-")
    if _RESERVED.fullmatch(text.lower()) is not None:
        raise PydanticCustomError("header", "is a header with a meaning of its own, which this would take over")
    return text


HeaderName = Annotated[str, AfterValidator(_require_free_name)]
Fact = Literal["issuer", "subject", "client_id", "fhir_user", "patient", "encounter", "tenant", "actor"]


class IdentityHeaderSettings(Section):
    """Headers that tell the FHIR server who asks. A client cannot set them: what clients send under these names never passes.

    A fact that the token does not have is an empty header. What is not visible ASCII is percent-encoded, `%` too."""

    headers: dict[HeaderName, Fact] = Field(default={})
    """Header names and what each tells: `X-Fhir-Patient: patient`."""
    assertion: HeaderName | None = None
    """A header with all facts as a JWT that the gateway signs: `iss` (public_url), `aud` (upstream.url), `exp`, `jti` (the request id),
    `token_issuer`, `sub`, `client_id`, `fhirUser`, `patient`, `encounter`, `tenant`, `act`."""
    secret: Secret | None = None
    """What signs the assertion by HS256: at least 32 bytes that the FHIR server knows too."""
    key_file: Text | None = None
    """The private key (PEM or JWK) that signs it, in place of a secret: RS384, ES256, ES384, ES512 or EdDSA by its kind."""
    key_id: Text | None = None
    """The `kid` of the key. Absent: that of the JWK, or none."""
    lifetime: Duration = Field(default="30s", validate_default=True)
    """How long an assertion counts; at most 5m."""


def check_identity(headers: IdentityHeaderSettings, file: Callable[[str], Path], path: KeyPath) -> Iterator[Problem]:
    """What is wrong with the headers that tell who asks."""
    signs = [key for key in ("secret", "key_file") if getattr(headers, key) is not None]
    if headers.assertion is None and not headers.headers:
        yield Problem(path, "tells nothing: it needs headers, assertion, or both")
    if headers.assertion is None and signs:
        yield Problem((*path, signs[0]), "has no effect without assertion")
    if headers.assertion is None and headers.headers:
        text = "nothing signs them: the FHIR server must take them from the gateway's address only"
        yield warning((*path, "headers"), text)
    if headers.assertion is not None and len(signs) != 1:
        yield Problem((*path, "assertion"), "needs secret or key_file, and not both")
    names = [name.lower() for name in (*headers.headers, *filter(None, [headers.assertion]))]
    if len(names) != len(set(names)):
        yield Problem((*path, "headers"), "names a header twice")
    if headers.lifetime > _LONGEST:
        yield Problem((*path, "lifetime"), "must be at most 5m")
    if len(signs) == 1:
        yield from _check_key(headers, signs[0], file, path)


def _check_key(headers: IdentityHeaderSettings, key: str, file: Callable[[str], Path], path: KeyPath) -> Iterator[Problem]:
    try:
        _key(headers, file)
    except SettingsError as error:
        yield Problem((*path, key), error.text)


def build_identity(headers: IdentityHeaderSettings, settings: Settings) -> IdentityHeaders:
    """The headers as the gateway makes them."""
    names = tuple((name.lower().encode("ascii"), fact) for name, fact in headers.headers.items())
    if headers.assertion is None:
        return IdentityHeaders(names)
    audience = settings.upstream.url or settings.server.public_url
    signer = IdentitySigner(_key(headers, settings.file), settings.server.public_url, audience, headers.lifetime)
    return IdentityHeaders(names, headers.assertion.lower().encode("ascii"), signer)


def _key(headers: IdentityHeaderSettings, file: Callable[[str], Path]) -> AssertionKey | SharedSecret:
    if headers.secret is not None:
        return SharedSecret(headers.secret.reveal().encode())
    name = str(headers.key_file)
    return read_assertion_key(read_named(file(name), name, MAX_SECRET_BYTES), headers.key_id)
