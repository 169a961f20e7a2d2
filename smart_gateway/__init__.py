"""SMART on FHIR enforcement for any FHIR server: ASGI middleware and reverse proxy.

from smart_gateway import SmartGateway, load_settings
app = SmartGateway(app, settings=load_settings("gateway.yaml"))
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smart_gateway.app import SmartGateway
    from smart_gateway.errors import SettingsError, SmartGatewayError
    from smart_gateway.gateway.callers.hooks import Amendment, PrincipalHook, Refusal
    from smart_gateway.policy.model import Policy
    from smart_gateway.policy.plan import Decision, Deny, Permit
    from smart_gateway.principal import Principal
    from smart_gateway.request.model import FhirRequest
    from smart_gateway.settings.loading import load_settings
    from smart_gateway.settings.model import Settings
    from smart_gateway.tenants import Tenants, create_app

__version__ = "0.1.0"

__all__ = [
    "Amendment",
    "Decision",
    "Deny",
    "FhirRequest",
    "Permit",
    "Policy",
    "Principal",
    "PrincipalHook",
    "Refusal",
    "Settings",
    "SettingsError",
    "SmartGateway",
    "SmartGatewayError",
    "Tenants",
    "authorize",
    "create_app",
    "load_settings",
]

# Loaded when first asked for: the commands that need no server start without one.
_HOMES = {
    "Amendment": "gateway.callers.hooks",
    "Decision": "policy.plan",
    "Deny": "policy.plan",
    "FhirRequest": "request.model",
    "Permit": "policy.plan",
    "Policy": "policy.model",
    "Principal": "principal",
    "PrincipalHook": "gateway.callers.hooks",
    "Refusal": "gateway.callers.hooks",
    "Settings": "settings.model",
    "SettingsError": "errors",
    "SmartGateway": "app",
    "SmartGatewayError": "errors",
    "Tenants": "tenants",
    "create_app": "tenants",
    "load_settings": "settings.loading",
}


def authorize(request: FhirRequest, principal: Principal, policy: Policy) -> Decision:
    """Whether ``principal`` may do what ``request`` asks under ``policy``: ``Permit`` with a plan, or ``Deny``. Does no I/O.

    Raises RequestError and its subclasses for parameters that cannot be judged.
    """
    access: Any = import_module(f"{__name__}.policy.access")
    decision: Decision = import_module(f"{__name__}.policy.authorize").authorize(request, access.Access(principal, policy))
    return decision


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
