"""The documents that need no token: CapabilityStatement, smart-configuration, protected resource metadata. Spec: semantics 11."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from smart_gateway.answers.answer import Answer
from smart_gateway.answers.capability import capability_statement
from smart_gateway.answers.smart_configuration import described, protected_resource, smart_configuration
from smart_gateway.errors import DependencyUnavailable, UpstreamError
from smart_gateway.gateway.exchange import JSON_TYPE
from smart_gateway.gateway.snapshot import Snapshot
from smart_gateway.gateway.subrequest import Inner
from smart_gateway.policy.discovery import capability_request
from smart_gateway.request.model import FhirRequest

_PLAIN_JSON = (b"content-type", b"application/json")


async def capabilities(request: FhirRequest, snapshot: Snapshot, inner: Inner) -> Answer:
    """The upstream's CapabilityStatement as this gateway serves it. Raises RequestError, UpstreamError."""
    received = await inner.collect(capability_request(request))
    if received.status != 200:
        raise UpstreamError("The FHIR server did not give its CapabilityStatement.")
    raw = received.require_json(snapshot.policy.vocabulary.release.version)
    description, cors = await _known_description(snapshot), bool(snapshot.cors_origins)
    policy = snapshot.policy
    return Answer(200, (JSON_TYPE,), capability_statement(raw, policy.bases, description, cors=cors, opened=policy.operations))


async def smart(snapshot: Snapshot) -> Answer:
    """``.well-known/smart-configuration``. Raises DependencyUnavailable while too little is known of the authorization server."""
    body = smart_configuration(await _description(snapshot), snapshot.declared)
    if body is None:
        raise DependencyUnavailable("The authorization server does not say where tokens are to be had.")
    return Answer(200, (_PLAIN_JSON,), body)


async def protected(snapshot: Snapshot) -> Answer:
    """RFC 9728 metadata."""
    description = await _known_description(snapshot)
    body = protected_resource(snapshot.policy.bases.public, snapshot.issuers, description, snapshot.bindings)
    return Answer(200, (_PLAIN_JSON,), body)


async def _description(snapshot: Snapshot) -> Mapping[str, Any]:
    """The description of the authorization server: where it cannot be asked, as far as it is declared."""
    discovery: Mapping[str, Any] | None = None
    try:
        discovery = await snapshot.discovery.document(snapshot.described_issuer or snapshot.issuers[0])
    except DependencyUnavailable:
        if not snapshot.declared.members:
            raise
    return described(discovery, snapshot.declared)


async def _known_description(snapshot: Snapshot) -> Mapping[str, Any] | None:
    """The same, where anything is known: these answers are of use without it."""
    try:
        return await _description(snapshot)
    except DependencyUnavailable:
        return None
