"""What can be said of one parameter of a bounded search, and what its judges know of the search."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from smart_gateway.boundary.model import Boundary
from smart_gateway.errors import RequestError
from smart_gateway.fhir.vocabulary import Vocabulary
from smart_gateway.policy.access import Access
from smart_gateway.policy.causes import Denial, Missing
from smart_gateway.policy.hints import missing_scopes
from smart_gateway.policy.model import Policy
from smart_gateway.policy.parameters.modifiers import is_judged
from smart_gateway.request.model import FhirRequest, QueryParameter
from smart_gateway.scopes.permissions import Permission


@dataclass(frozen=True, slots=True)
class Keep:
    """Goes upstream as this pair; ``note`` says in ``explain`` by which rule, where that is not FHIR's own."""

    key: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Drop:
    """Does not go upstream; ``note`` says so in ``explain``, empty where nothing is lost."""

    note: str = ""


@dataclass(frozen=True, slots=True)
class Refuse:
    """The search is refused for this."""

    denial: Denial
    missing: tuple[Missing, ...] = ()


@dataclass(frozen=True, slots=True)
class Foreign:
    """Nobody but others is asked for; ``place`` is the expression of what does, None where the path does."""

    place: str | None = None


Verdict = Keep | Drop | Refuse | Foreign


@dataclass(frozen=True, slots=True)
class Search:
    """One bounded search: what every judge of a parameter may look at. ``exact``: the narrowed query returns nothing outside, and all of
    it is understood."""

    request: FhirRequest
    access: Access
    boundary: Boundary
    exact: bool

    @property
    def type(self) -> str:
        assert self.request.type is not None
        return self.request.type

    @property
    def vocabulary(self) -> Vocabulary:
        return self.access.policy.vocabulary

    def supports(self, code: str) -> bool:
        """Whether the upstream's CapabilityStatement has ``code`` on the searched type."""
        return self.access.policy.capabilities.supports(self.type, code, self.vocabulary)

    def members_read(self) -> frozenset[str] | None:
        """The top-level members that the check of a match looks at; None: all."""
        return self.access.matcher.members_read(self.boundary, self.type)

    def missing(self, types: Iterable[str]) -> tuple[Missing, ...]:
        """The scopes that would let this token search all of ``types``, where some would."""
        return missing_scopes(self.request, self.access, types, Permission.SEARCH, whole=True)


def let_through(parameter: QueryParameter, type: str, policy: Policy) -> str | None:
    """The entry of ``policy.search.parameters`` that lets ``parameter`` through on ``type``: as it is named there, modifier and all, and
    never what FHIR defines and is judged by that."""
    if not policy.search_parameters or parameter.chain:
        return None
    known = policy.vocabulary.parameter(type, parameter.name)
    if known is not None and is_judged(parameter.modifier, known, policy.vocabulary.release):
        return None
    return policy.lets_through(type, parameter.name if parameter.modifier is None else f"{parameter.name}:{parameter.modifier}")


def unknown_parameter(parameter: QueryParameter, type: str) -> RequestError:
    """The 400 for a parameter that neither FHIR nor the upstream knows."""
    return RequestError(
        f"Not a search parameter that is known for {type}: refused under a bounded token.",
        reason="unknown-parameter",
        expression=f"http.{parameter.key}",
    )


def malformed_parameter(parameter: QueryParameter, what: str) -> RequestError:
    """The 400 for a parameter whose value cannot be read."""
    return RequestError(what, reason="malformed-parameter", expression=f"http.{parameter.key}")
