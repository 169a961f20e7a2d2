"""The plan for a batch or transaction: every entry is an interaction of its own (semantics 7)."""

from __future__ import annotations

from collections.abc import Callable

from smart_gateway.errors import NotSupported
from smart_gateway.policy.access import Access
from smart_gateway.policy.plan import Decision
from smart_gateway.request.model import FhirRequest

Authorize = Callable[[FhirRequest, Access], Decision]


def plan_batch(request: FhirRequest, access: Access, authorize: Authorize) -> Decision:  # noqa: ARG001
    """Not judged by this version."""
    raise NotSupported("This interaction is not supported by this version of the gateway.")
