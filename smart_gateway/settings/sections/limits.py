"""``policy.limits``: how large and how slow a request may be (semantics 1)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from smart_gateway.settings.sections.quantities import Duration, Size
from smart_gateway.settings.sections.section import Section

Count = Annotated[int, Field(ge=1, le=10_000_000)]


class LimitsSettings(Section):
    """How large and how slow requests may be. None of them can be switched off."""

    token: Size = Field(default="16KiB", validate_default=True)
    """The access token."""
    url: Size = Field(default="8KiB", validate_default=True)
    """The request target."""
    parameters: Count = 1000
    """Query and form parameters."""
    headers: Size = Field(default="64KiB", validate_default=True)
    """All headers together."""
    body: Size = Field(default="16MiB", validate_default=True)
    """The request body."""
    depth: Annotated[int, Field(ge=8, le=256)] = 64
    """Nesting of JSON."""
    entries: Count = 1000
    """Entries of a batch or transaction."""
    ratio: Annotated[int, Field(ge=1, le=10_000)] = 100
    """How much larger a compressed body may become."""
    header_time: Duration = Field(default="10s", validate_default=True)
    """Until all headers have arrived."""
    body_time: Duration = Field(default="30s", validate_default=True)
    """Until the whole body has arrived."""
    requests_per_minute: Count | None = None
    """Requests of each client, entries of a batch counted, in each process by itself; 429 with Retry-After beyond. Without a token the
    address counts. Absent: as many as come."""
