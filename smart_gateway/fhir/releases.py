"""The FHIR releases that the gateway knows."""

from __future__ import annotations

from enum import StrEnum


class Release(StrEnum):
    """A FHIR release; the value is the name that settings use."""

    R4 = "R4"
    R4B = "R4B"
    R5 = "R5"

    @property
    def version(self) -> str:
        """The version as in ``CapabilityStatement.fhirVersion``."""
        return _VERSIONS[self]


_VERSIONS = {Release.R4: "4.0.1", Release.R4B: "4.3.0", Release.R5: "5.0.0"}
