"""The plans for instance, type and system history (semantics 5)."""

from __future__ import annotations

from smart_gateway.errors import NotSupported
from smart_gateway.policy.access import Access
from smart_gateway.policy.plan import Decision
from smart_gateway.request.model import FhirRequest


def plan_history(request: FhirRequest, access: Access) -> Decision:  # noqa: ARG001
    """Not judged by this version."""
    raise NotSupported("This interaction is not supported by this version of the gateway.")
