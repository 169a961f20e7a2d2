"""Versioned resources in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

Resource = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a resource; ``resource`` None is a deletion. ``number`` counts from 1, ``updated`` is in seconds since the epoch."""

    number: int
    updated: float
    resource: Resource | None

    @property
    def etag(self) -> str:
        """The weak entity tag of FHIR R4 http.html 3.1.0.7."""
        return f'W/"{self.number}"'


class Store:
    """Resources by type and id, every version kept."""

    def __init__(self) -> None:
        self._versions: dict[tuple[str, str], list[Version]] = {}
        self._created = 0

    def current(self, type: str, id: str) -> Version | None:
        """The last version; None where there never was one."""
        versions = self._versions.get((type, id))
        return versions[-1] if versions else None

    def version(self, type: str, id: str, number: str) -> Version | None:
        """The version with that number, written without leading zeros."""
        return next((v for v in self._versions.get((type, id), ()) if str(v.number) == number), None)

    def all(self, type: str) -> Iterator[Resource]:
        """Every resource of ``type`` as it is now, in the order of creation."""
        for (found, _), versions in list(self._versions.items()):
            if found == type and versions[-1].resource is not None:
                yield versions[-1].resource

    def put(self, resource: Resource, now: float) -> Version:
        """Stores the next version of ``resource``, which has an id; ``meta`` gets version and time."""
        versions = self._versions.setdefault((resource["resourceType"], resource["id"]), [])
        number = len(versions) + 1
        updated = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")
        stored = {
            "resourceType": resource["resourceType"],
            "id": resource["id"],
            "meta": {**resource.get("meta", {}), "versionId": str(number), "lastUpdated": updated},
        }
        versions.append(Version(number, now, {**resource, **stored}))
        return versions[-1]

    def put_all(self, resources: Iterable[Resource], now: float) -> None:
        """Stores the next version of each."""
        for resource in resources:
            self.put(resource, now)

    def delete(self, type: str, id: str, now: float) -> None:
        """Stores a deletion."""
        versions = self._versions[type, id]
        versions.append(Version(len(versions) + 1, now, None))

    def free_id(self, type: str) -> str:
        """An id that no resource of ``type`` ever had."""
        while True:
            self._created += 1
            if (type, f"new-{self._created}") not in self._versions:
                return f"new-{self._created}"
