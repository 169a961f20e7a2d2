"""References between the entries of a transaction: what they name when the server has resolved them.

Only for judging: what is sent stays the client's. Spec: FHIR R4 http.html 3.1.0.11.2 (replacing hyperlinks), bundle.html 2.36.4.1;
semantics 6 and 7.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from smart_gateway.boundary.model import Boundary, Region
from smart_gateway.fhir.references import Bases, parse_reference
from smart_gateway.policy.access import Access
from smart_gateway.policy.plan import BodyCheck
from smart_gateway.request.model import BatchEntry, FhirRequest

# A resource that this transaction creates: of a known type, and nobody's compartment. The host is one that never exists (RFC 2606).
_NEW = "https://created.invalid/fhir/{type}/new"
_WRITERS = frozenset({"POST", "PUT"})
_DEPENDENT = frozenset({"Provenance", "AuditEvent", "Binary"})


@dataclass(frozen=True, slots=True)
class _Named:
    """What a reference to an entry means: ``text`` is the reference that it becomes, ``resource`` what is written, None where several
    entries have the name."""

    text: str
    resource: Mapping[str, Any] | None


class Links:
    """The references by which entries of one transaction can name each other; without entries, as for a batch, there are none.

    ``resolved``: the ids that conditional entries turned out to write, by their place in ``entries``.
    """

    __slots__ = ("_access", "_named")

    def __init__(self, entries: Iterable[BatchEntry], access: Access, resolved: Mapping[int, str] | None = None) -> None:
        self._access = access
        self._named: dict[str, _Named] = {}
        for number, entry in enumerate(entries):
            self._add(entry, (resolved or {}).get(number))

    def resolve(self, resource: Mapping[str, Any], check: BodyCheck) -> Mapping[str, Any]:
        """``resource`` as it is to be judged."""
        if not self._named:
            return resource
        judged: Mapping[str, Any] = self._replaced(resource)
        return self._with_targets(resource, judged, check) if check.type == "Provenance" else judged

    def _add(self, entry: BatchEntry, resolved: str | None) -> None:
        request, resource = entry.request, entry.resource
        if not isinstance(request, FhirRequest) or request.method not in _WRITERS or request.type is None or resource is None:
            return
        if request.operation is not None:
            return
        literal, new = request.id or resolved, _NEW.format(type=request.type)
        own = f"{request.type}/{literal}" if literal is not None else new
        names = {own: None} if literal is not None else {}
        if entry.full_url is not None:
            names |= dict.fromkeys(_names(entry.full_url))
        # Servers take the id of what is posted, which they do not keep, for a name of it too.
        if literal is None and isinstance(resource.get("id"), str):
            names[f"{request.type}/{resource['id']}"] = None
        for name in names:
            # A name that could mean two things, or what the server has already, is no literal any more.
            sure = own if name == own or name.casefold().startswith("urn:") or _tail(name) == own else new
            self._named[name] = _Named(sure, resource) if name not in self._named else _Named(new, None)

    def _found(self, text: str) -> _Named | None:
        found = self._named.get(text)
        if found is None and "/" in text and not text.startswith("urn:"):
            reference = parse_reference(text, self._access.policy.bases)
            found = self._named.get(str(reference)) if reference is not None else None
        return found

    def _replaced(self, value: Any) -> Any:
        if isinstance(value, dict):
            made = {name: self._replaced(inner) for name, inner in value.items()}
            found = self._found(made["reference"]) if isinstance(made.get("reference"), str) else None
            return made if found is None else {**made, "reference": found.text}
        return [self._replaced(inner) for inner in value] if isinstance(value, list) else value

    def _with_targets(self, resource: Mapping[str, Any], judged: Mapping[str, Any], check: BodyCheck) -> Mapping[str, Any]:
        """A Provenance of what the same transaction writes inside is inside: each such target or entity counts as the owner."""
        compartments = {region.compartments for region in check.boundary.regions}
        if len(compartments) != 1 or any(region.filters for region in check.boundary.regions):
            return judged
        (owners,) = compartments
        if len(owners) != 1:
            return judged
        inside = Boundary.of([Region(owners)])
        owner = {"reference": f"{owners[0].type}/{owners[0].ids[0]}"}

        def placed(asked: Any, kept: Any) -> Any:
            if isinstance(asked, list):
                return [placed(one, judged) for one, judged in zip(asked, kept, strict=True)]
            if isinstance(asked, dict) and "what" in asked:
                return {**kept, "what": placed(asked["what"], kept["what"])}
            return owner if self._is_written_inside(asked, inside) else kept

        return {**judged, **{name: placed(resource[name], judged[name]) for name in ("target", "entity") if name in judged}}

    def _is_written_inside(self, target: Any, inside: Boundary) -> bool:
        text = target.get("reference") if isinstance(target, dict) else None
        found = self._found(text) if isinstance(text, str) else None
        resource = found.resource if found is not None else None
        type = resource.get("resourceType") if resource is not None else None
        if resource is None or not isinstance(type, str) or type in _DEPENDENT or target.get("type") not in (None, type):
            return False
        return not self._access.matcher.objections_to_write(inside, self._replaced(resource), type)


def _names(full_url: str) -> list[str]:
    """Every reference that can mean the entry with this fullUrl: itself, and ``Type/id`` where it ends so."""
    tail = _tail(full_url)
    return [full_url] if tail is None else [full_url, tail]


def full_url_type(full_url: str) -> str | None:
    """The type that a RESTful fullUrl names."""
    tail = _tail(full_url)
    return tail.partition("/")[0] if tail is not None else None


def _tail(text: str) -> str | None:
    """``Type/id`` at the end of an absolute URL."""
    if text.casefold().startswith("urn:"):
        return None
    reference = parse_reference("/".join(text.rsplit("/", 2)[-2:]), Bases("", ""))
    return str(reference) if reference is not None else None
