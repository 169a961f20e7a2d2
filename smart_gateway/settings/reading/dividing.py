"""A configuration with tenants taken apart: one tree of settings for each, and one for what belongs to the process.

Every value keeps the path where it is written, so that what is wrong with it is said as of there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from smart_gateway.settings.findings import Finding, Place, spell_key
from smart_gateway.settings.reading.complaints import complaints, nearest
from smart_gateway.settings.reading.tree import Entry, Node
from smart_gateway.settings.sections.tenant_names import Tenant, TenantNaming, is_tenant_name
from smart_gateway.settings.sections.tenants import LISTENER_KEYS, OVERRIDES, TENANT_KEYS

TENANTS = "tenants"
_NAMING = frozenset(TenantNaming.model_fields)
_OWN = ("upstream", "issuers", "revocation", "policy", "hooks")
_STAND_INS: Mapping[str, Any] = {"upstream": {"fhir_version": "R4"}, "issuers": [{"issuer": "https://stand-in.invalid"}]}


@dataclass(frozen=True, slots=True)
class Part:
    """One tenant: ``root`` is its settings as those of a gateway by itself."""

    index: int
    tenant: Tenant
    public: str
    root: Node
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Division:
    """``process`` holds what belongs to none of the tenants; its upstream and issuers stand in for none."""

    process: Node
    parts: tuple[Part, ...]
    findings: tuple[Finding, ...]


def divide(root: Node) -> Division | None:
    """The parts of a numbered tree; None where it says nothing of tenants."""
    named = root.child(TENANTS)
    if named is None:
        return None
    findings = [*_misplaced(root), *_unlisted(named)]
    server = root.child("server") or Node(root.place, {})
    nodes = [node for node in named.content if not node.stand_in] if isinstance(named.content, list) else []
    parts: list[Part] = []
    for node in nodes:
        part = _part(node, server)
        parts.append(Part(part.index, part.tenant, part.public, part.root, (*part.findings, *_clashes(node, part, parts))))
    return Division(_process(root), tuple(parts), tuple(findings))


def named(node: Node) -> str:
    """What messages call a tenant: its name, or its number where it has none that is one."""
    given = node.child("name")
    if given is not None and is_tenant_name(given.content):
        return str(given.content)
    return f"number {int(node.path[-1]) + 1}" if node.path else ""


def _misplaced(root: Node) -> Iterator[Finding]:
    assert isinstance(root.content, dict)
    for key, entry in root.content.items():
        if key in _OWN:
            yield Finding(entry.place, spell_key(entry.node.path), "is each tenant's own: it has no place beside tenants")


def _unlisted(named: Node) -> Iterator[Finding]:
    if not isinstance(named.content, list):
        yield Finding(named.place, TENANTS, "must be a list of tenants")
    elif not named.content:
        yield Finding(named.place, TENANTS, "must not be empty")


def _process(root: Node) -> Node:
    assert isinstance(root.content, dict)
    kept = {key: Entry(entry.place, entry.node.copy()) for key, entry in root.content.items() if key not in {*_OWN, TENANTS}}
    return Node(root.place, {**kept, **{key: Entry(root.place, _stand_in(value, root.place)) for key, value in _STAND_INS.items()}})


def _stand_in(value: Any, place: Place) -> Node:
    content: Any = value
    if isinstance(value, dict):
        content = {key: Entry(place, _stand_in(item, place)) for key, item in value.items()}
    elif isinstance(value, list):
        content = [_stand_in(item, place) for item in value]
    return Node(place, content, stand_in=True)


def _part(node: Node, server: Node) -> Part:
    index = int(node.path[-1])
    if not isinstance(node.content, dict):
        finding = Finding(node.place, spell_key(node.path), "must be a mapping, or the path of a file that holds one")
        return Part(index, Tenant(named(node)), "", Node(node.place, {}, path=node.path), (finding,))
    naming, findings = _naming(node)
    own, told = _server(node, server)
    public = _public_url(server, naming)
    if public:
        where = node.content.get("path") or node.content.get("host") or node.content.get("name")
        assert where is not None  # INVARIANT: without any of these there is no naming
        assert isinstance(own.content, dict)
        own.content["public_url"] = Entry(where.place, Node(where.node.place, public, path=where.node.path))
    kept = {key: Entry(entry.place, entry.node.copy()) for key, entry in node.content.items() if key in _OWN}
    root = Node(node.place, {"server": Entry(node.place, own), **kept}, path=node.path)
    host = naming.host if naming is not None else None
    return Part(index, Tenant(named(node), host), public, root, (*findings, *told, *_unknown(node)))


def _naming(node: Node) -> tuple[TenantNaming | None, list[Finding]]:
    assert isinstance(node.content, dict)
    said = Node(node.place, {key: entry for key, entry in node.content.items() if key in _NAMING}, path=node.path)
    try:
        naming = TenantNaming.model_validate(said.plain())
    except ValidationError as error:
        return None, [complaint.finding for complaint in complaints(error, said, TenantNaming)]
    if naming.path is None and naming.host is None:
        return None, [Finding(node.place, spell_key(node.path), "needs a path or a host, by which requests come to it")]
    return naming, []


def _unknown(node: Node) -> Iterator[Finding]:
    assert isinstance(node.content, dict)
    for key, entry in node.content.items():
        if key == "server":
            yield Finding(
                entry.place, spell_key(entry.node.path), f"is the same for all tenants; each may have its own {', '.join(OVERRIDES)}"
            )
        elif key not in TENANT_KEYS:
            yield Finding(entry.place, spell_key(entry.node.path), "unknown key", nearest(key, TENANT_KEYS))


def _public_url(server: Node, naming: TenantNaming | None) -> str:
    """Where clients reach the tenant; empty where that cannot be said."""
    top = server.child("public_url")
    if naming is None or top is None or not isinstance(top.content, str):
        return ""
    try:
        parts = urlsplit(top.content)
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:
        return ""
    if not parts.scheme or not parts.netloc:
        return ""
    netloc = parts.netloc if naming.host is None else f"{naming.host}{port}"
    return f"{parts.scheme}://{netloc}{parts.path.rstrip('/')}{naming.path or ''}"


def _clashes(node: Node, part: Part, others: list[Part]) -> Iterator[Finding]:
    """Names and addresses are each tenant's own: neither the same nor one within another."""
    assert not others or node.path
    name = node.child("name")
    where = node.child("path") or node.child("host")
    for other in others:
        if name is not None and other.tenant.name.lower() == part.tenant.name.lower():
            yield Finding(name.place, spell_key(name.path), "is there already: each tenant has a name of its own")
        if where is not None and part.public and other.public and _meet(part.public, other.public):
            text = f"{part.public} is the address of the tenant {other.tenant.name}, or one lies within the other"
            yield Finding(where.place, spell_key(where.path), text)


def _meet(one: str, other: str) -> bool:
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")


def _server(node: Node, server: Node) -> tuple[Node, list[Finding]]:
    """``server`` as it is for one tenant."""
    own = server.copy()
    if not isinstance(own.content, dict):
        return own, []
    assert isinstance(node.content, dict)
    for key in OVERRIDES:
        if key in node.content:
            own.content[key] = Entry(node.content[key].place, node.content[key].node.copy())
    chosen = node.child("listeners")
    if chosen is None:
        return own, []
    for key in ("listen", "tls"):  # no place of this tenant's
        own.content.pop(key, None)
    listed, findings = _listeners(chosen, server.child("listeners"))
    if findings:
        return own, findings
    own.content["listeners"] = Entry(node.content["listeners"].place, Node(chosen.place, listed, path=chosen.path))
    return own, findings


def _listeners(chosen: Node, places: Node | None) -> tuple[list[Node], list[Finding]]:
    """The listeners that the tenant names, with its own rules over theirs."""
    known = {
        str(name.content): place
        for place in (places.content if places is not None and isinstance(places.content, list) else [])
        if (name := place.child("name"))
    }
    made: list[Node] = []
    findings: list[Finding] = []
    for item in chosen.content if isinstance(chosen.content, list) else []:
        name = item.child("name")
        if not isinstance(item.content, dict) or name is None or str(name.content) not in known:
            at = name or item
            guess = nearest(str(name.content), known) if name is not None else None
            findings.append(Finding(at.place, spell_key(at.path), "must be the name of one of server.listeners", guess))
            continue
        findings += [
            Finding(entry.place, spell_key(entry.node.path), "is said in server.listeners, for all tenants")
            for key, entry in item.content.items()
            if key not in LISTENER_KEYS
        ]
        place = known[str(name.content)].copy()
        assert isinstance(place.content, dict)
        place.content |= {key: Entry(entry.place, entry.node.copy()) for key, entry in item.content.items() if key in LISTENER_KEYS}
        made.append(place)
    return made, findings
