"""How tenants are told apart: by name, and by the host or the path prefix that requests come to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from smart_gateway.settings.sections.section import Section, spelled

_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")
# No character that could be spelled in two ways, and no segment of dots: what is compared are the bytes of the request.
_PATH = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,63}){1,8}")
_HOST = re.compile(
    r"(?=.{1,253}$)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*|\[[0-9a-f:.]{2,45}\]"
)


@dataclass(frozen=True, slots=True)
class Tenant:
    """Who one tenant is: its name, and the host that it alone is reached by, if it has one."""

    name: str
    host: str | None = None


def is_tenant_name(text: object) -> bool:
    """Whether there could be a tenant of this name."""
    return isinstance(text, str) and _NAME.fullmatch(text) is not None


TenantName = Annotated[str, spelled(is_tenant_name, "name", "must be a name of letters, digits, hyphens and underscores, 32 at most")]
TenantPath = Annotated[
    str, spelled(_PATH.fullmatch, "path", "must be a path such as /north: plain segments of letters, digits, -, _, ~ and dots within")
]
TenantHost = Annotated[
    str, spelled(_HOST.fullmatch, "host", "must be a host name in lower case, without a port and without a dot at the end")
]


class TenantNaming(Section):
    """What tells one tenant from the others."""

    name: TenantName
    """Its name in messages, in the decision log (`instance`) and for `--tenant`: it stays the same when the address changes."""
    path: TenantPath | None = None
    """Its path below that of `server.public_url`, such as `/north`."""
    host: TenantHost | None = None
    """Its host, in place of that of `server.public_url`: requests to it, whatever their path, are for the tenants that name it."""
