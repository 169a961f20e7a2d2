"""The table interaction -> permission, and what is judged how."""

from __future__ import annotations

from collections.abc import Mapping

from smart_gateway.fhir.interactions import Interaction
from smart_gateway.policy.model import PublicInteraction
from smart_gateway.scopes.permissions import Permission

# The permission that an interaction needs on the type that its path names, or on some type where it names none.
# Spec: semantics 4 to 7.
REQUIRED: Mapping[Interaction, Permission] = {
    Interaction.READ: Permission.READ,
    Interaction.VREAD: Permission.READ,
    Interaction.HISTORY_INSTANCE: Permission.READ,
    Interaction.HISTORY_TYPE: Permission.SEARCH,
    Interaction.SEARCH_TYPE: Permission.SEARCH,
    Interaction.HISTORY_SYSTEM: Permission.SEARCH,
    Interaction.SEARCH_COMPARTMENT: Permission.SEARCH,
    Interaction.SEARCH_SYSTEM: Permission.SEARCH,
    Interaction.PAGE: Permission.SEARCH,
    Interaction.CREATE: Permission.CREATE,
    Interaction.UPDATE: Permission.UPDATE,
    Interaction.PATCH: Permission.UPDATE,
    Interaction.DELETE: Permission.DELETE,
}

# Discovery needs no token (semantics 11).
DISCOVERY = frozenset({Interaction.CAPABILITIES, Interaction.SMART_CONFIGURATION, Interaction.PROTECTED_RESOURCE})

# What comes in pages.
PAGED = frozenset(
    {
        Interaction.SEARCH_TYPE,
        Interaction.SEARCH_COMPARTMENT,
        Interaction.SEARCH_SYSTEM,
        Interaction.HISTORY_INSTANCE,
        Interaction.HISTORY_TYPE,
        Interaction.HISTORY_SYSTEM,
    }
)

# What the gateway serves where the upstream does, by the codes of a CapabilityStatement: on a type, and over all of them.
# Spec: https://hl7.org/fhir/R4/valueset-type-restful-interaction.html, valueset-system-restful-interaction.html.
_OVER_ALL = frozenset({Interaction.HISTORY_SYSTEM, Interaction.SEARCH_SYSTEM})
SERVED_ON_TYPES = frozenset(map(str, REQUIRED.keys() - _OVER_ALL - {Interaction.SEARCH_COMPARTMENT, Interaction.PAGE}))
SERVED_OVER_ALL = frozenset({*map(str, _OVER_ALL), "batch", "transaction"})


def public_permissions(rule: PublicInteraction) -> Permission:
    """What an interaction without a token may touch of its type: what it needs; an operation what it may answer."""
    if rule.interaction is Interaction.OPERATION:
        return Permission.READ | Permission.SEARCH
    return REQUIRED.get(rule.interaction, Permission(0))
