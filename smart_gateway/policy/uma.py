"""Resources of a UMA authorization server as regions of this one: what its permissions open.

Spec: UMA 2.0 Federated Authorization sections 3 and 5; semantics 2, "UMA 2.0".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from smart_gateway.principal import PermittedRegion
from smart_gateway.scopes.parsing import parse_scope
from smart_gateway.scopes.scope import ResourceScope

PATIENT, INSTANCE = "{patient}", "{id}"
_ID = r"[A-Za-z0-9\-.]{1,64}"


@dataclass(frozen=True, slots=True)
class UmaResource:
    """One resource that the authorization server knows by ``id``, or all whose ids have its form: ``{patient}`` or ``{id}`` in it stands
    for a FHIR id. ``scopes`` are its scopes there, and what each opens here: scopes for resources, with ``patient``, or the patient
    of the id, in context; ``{id}`` in them is that of the id.
    """

    id: str
    scopes: tuple[tuple[str, tuple[str, ...]], ...]
    patient: str | None = None

    def named(self, id: str) -> tuple[str | None, str | None] | None:
        """The patient and the FHIR id of the resource ``id``; None where it is another resource."""
        match = _form(self.id).fullmatch(id)
        if match is None:
            return None
        found = match.groupdict()
        if any(value in {".", ".."} for value in found.values()):
            return None
        return found.get("patient") or self.patient, found.get("id")

    @property
    def is_one(self) -> bool:
        """Whether it is one resource and no form of several."""
        return PATIENT not in self.id and INSTANCE not in self.id

    def regions(self, id: str, names: Iterable[str]) -> tuple[PermittedRegion, ...]:
        """What the scopes ``names`` on the resource ``id`` open: nothing where it is another, or has no such scope."""
        found = self.named(id)
        if found is None:
            return ()
        patient, instance = found
        wanted = frozenset(names)
        opened = [(name, text) for name, texts in self.scopes for text in texts if name in wanted]
        return tuple([PermittedRegion(id, name, scope, patient, self.id) for name, text in opened for scope in _read(text, instance)])


def describing(id: str, resources: Sequence[UmaResource]) -> UmaResource | None:
    """What says of the resource ``id`` what it is: one that names it goes before forms, the first form before others."""
    fitting = [resource for resource in resources if resource.named(id) is not None]
    return next((resource for resource in fitting if resource.is_one), fitting[0] if fitting else None)


def permitted_regions(id: str, names: Iterable[str], resources: Sequence[UmaResource]) -> tuple[PermittedRegion, ...]:
    """What a permission on the resource ``id`` opens; nothing for one that is not known here."""
    resource = describing(id, resources)
    return () if resource is None else resource.regions(id, names)


def _read(text: str, instance: str | None) -> tuple[ResourceScope, ...]:
    """``text`` as a scope; none where it needs an id that the resource has not, for a missing bound is nothing."""
    if INSTANCE in text and instance is None:
        return ()
    scope = parse_scope(text.replace(INSTANCE, instance or ""))
    return (scope,) if isinstance(scope, ResourceScope) else ()


@cache
def _form(id: str) -> re.Pattern[str]:
    escaped = re.escape(id)
    for placeholder, group in ((PATIENT, "patient"), (INSTANCE, "id")):
        escaped = escaped.replace(re.escape(placeholder), f"(?P<{group}>{_ID})", 1)
    return re.compile(escaped)
