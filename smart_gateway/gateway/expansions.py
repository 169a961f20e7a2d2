"""Value sets that the FHIR server expands: asked for ahead of every request, kept, and given up where they grow old."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from smart_gateway.errors import SmartGatewayError, UpstreamError
from smart_gateway.fhir.strict_json import parse_json
from smart_gateway.fhir.value_sets import ValueSet, ValueSetError, ValueSets, codes_of
from smart_gateway.gateway.subrequest import Inner
from smart_gateway.policy.plan import UpstreamRequest

logger = logging.getLogger(__name__)

MOST_AGE = 24 * 3600.0  # seconds: what could not be had again for so long is not known any more


@dataclass(slots=True)
class Expansions:
    """The value sets ``given`` in files and those ``wanted`` of the FHIR server, by canonical: a closed list, whatever a token names.

    ``refresh``: seconds until they are asked for again. Only one task asks, so that there is one request for each at a time.
    """

    given: tuple[ValueSet, ...] = ()
    wanted: tuple[str, ...] = ()
    refresh: float = 3600.0
    _held: dict[str, tuple[ValueSet, float]] = field(default_factory=dict)

    async def ask(self, inner: Inner, version: str, now: float) -> bool:
        """Asks for each of the wanted; whether all were had. ``version`` is the FHIR version, ``now`` seconds of any clock that
        goes on steadily."""
        missed = False
        for canonical in self.wanted:
            try:
                self._held[canonical] = (await _expand(inner, canonical, version), now)
            except (SmartGatewayError, ValueError) as error:
                missed = True
                logger.warning("the value set %s cannot be had: %s", canonical, error)
        self._held = {name: held for name, held in self._held.items() if now - held[1] <= MOST_AGE}
        return not missed

    def sets(self) -> ValueSets:
        """What is known at this moment."""
        return ValueSets.of((*self.given, *(held for held, _ in self._held.values())), frozenset(self._held))

    def inherit(self, older: Expansions) -> None:
        """Takes over what the settings before these had of the same server."""
        self._held = {name: held for name, held in older._held.items() if name in self.wanted}


async def _expand(inner: Inner, canonical: str, version: str) -> ValueSet:
    """``ValueSet/$expand`` of one canonical. Raises UpstreamError, ValueSetError, JsonError."""
    url, _, wanted = canonical.partition("|")
    query = (("url", url), *((("valueSetVersion", wanted),) if wanted else ()))
    received = await inner.collect(UpstreamRequest("GET", ("ValueSet", "$expand"), query))
    if received.status != 200:
        raise UpstreamError(f"the FHIR server answered {received.status}")
    resource = parse_json(received.require_json(version))
    if not isinstance(resource, dict) or resource.get("resourceType") != "ValueSet" or "expansion" not in resource:
        raise ValueSetError("the FHIR server answered something else than an expansion")
    return _named(canonical, codes_of(resource))


def _named(canonical: str, codes: frozenset[tuple[str, str]]) -> ValueSet:
    url, _, version = canonical.partition("|")
    return ValueSet(url, version or None, codes)
