"""FHIR's REST interactions, by the codes of FHIR's own value sets."""

from __future__ import annotations

from enum import StrEnum


class Interaction(StrEnum):
    """One FHIR REST interaction.

    Spec: https://hl7.org/fhir/R4/valueset-restful-interaction.html and type-restful-interaction; ``search-compartment``
    is the code of R5's value set; ``smart-configuration`` and ``protected-resource`` are the two discovery documents
    (SMART App Launch 2.2, RFC 9728); ``page`` opens a sealed paging link of ours.
    """

    READ = "read"
    VREAD = "vread"
    SEARCH_TYPE = "search-type"
    SEARCH_COMPARTMENT = "search-compartment"
    SEARCH_SYSTEM = "search-system"
    PAGE = "page"
    CREATE = "create"
    UPDATE = "update"
    PATCH = "patch"
    DELETE = "delete"
    HISTORY_INSTANCE = "history-instance"
    HISTORY_TYPE = "history-type"
    HISTORY_SYSTEM = "history-system"
    BATCH = "batch"  # a Bundle posted to the base: its type (batch or transaction) is in the body
    OPERATION = "operation"
    CAPABILITIES = "capabilities"
    SMART_CONFIGURATION = "smart-configuration"
    PROTECTED_RESOURCE = "protected-resource"
