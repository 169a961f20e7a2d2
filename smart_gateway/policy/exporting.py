"""The plans for Bulk Data export, its status, cancel and file URLs (semantics 8)."""

from __future__ import annotations

from smart_gateway.errors import NotSupported
from smart_gateway.policy.access import Access
from smart_gateway.policy.plan import Decision, Deny
from smart_gateway.request.model import FhirRequest

# The operations of ours that belong to an export; ``policy.operations`` hands them over.
EXPORT_OPERATIONS = frozenset({"$export"})


def authorize_export(request: FhirRequest, access: Access) -> Deny | None:  # noqa: ARG001
    """The permission on the types, before a body is read; None where the decision goes on."""
    return None


def plan_export(request: FhirRequest, access: Access) -> Decision:  # noqa: ARG001
    """Not judged by this version."""
    raise NotSupported("This interaction is not supported by this version of the gateway.")
