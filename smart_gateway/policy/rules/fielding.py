"""Which elements one principal neither sees nor changes. Spec: semantics 9."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from smart_gateway.boundary.labels import LabelLimit
from smart_gateway.boundary.model import Boundary, Region, everything
from smart_gateway.fhir.fields import FieldPath, parse_field
from smart_gateway.fhir.vocabulary import SearchParameter, Step
from smart_gateway.policy.grounds import Ground
from smart_gateway.policy.rules.whom import EVERYBODY, Whom, spelled
from smart_gateway.principal import Principal
from smart_gateway.scopes.permissions import Permission

READS = Permission.READ | Permission.SEARCH
_ANY = "*"
NARRATIVE = parse_field("text")  # it says in words what the elements say
_MEANT = Boundary.of([Region()])


@dataclass(frozen=True, slots=True)
class FieldRule:
    """For one type, or ``*``: what ``hide`` names is in no answer, of resources with one of ``labelled`` (``system|code``; None: of all).
    ``only``: nothing else may be written; ``keep``: this may not be changed. ``path`` is the rule's below the policy."""

    type: str
    permissions: Permission
    hide: tuple[FieldPath, ...] = ()
    only: tuple[FieldPath, ...] | None = None
    keep: tuple[FieldPath, ...] = ()
    labelled: tuple[str, ...] | None = None
    whom: Whom = EVERYBODY
    path: tuple[str | int, ...] = ("fields",)

    @property
    def name(self) -> str:
        """What grounds call it: ``fields[1]``."""
        return spelled(self.path)

    @property
    def bounds_writes(self) -> bool:
        return self.only is not None or bool(self.keep)

    @property
    def certain(self) -> tuple[FieldPath, ...]:
        """``only`` without what may be something else."""
        return tuple(path.certain for path in self.only or ())

    def is_of(self, type: str) -> bool:
        return self.type in (type, _ANY)

    def hides_in(self, resource: Mapping[str, Any]) -> bool:
        """Whether it hides anything in ``resource``: labels that cannot be read count as those."""
        return bool(self.hide) and (self.labelled is None or not LabelLimit(forbidden=self.labelled).admits(resource))

    def lets_write(self, names: Sequence[str]) -> bool:
        """Whether a change of what ``names`` lead to certainly stays within the rule."""
        if self.only is not None and not any(path.holds_names(names) for path in self.only if not path.is_conditional):
            return False
        return not any(path.meets_names(names) for path in self.keep)

    @property
    def text(self) -> str:
        """In words."""
        parts = [f"hides {', '.join(path.text for path in self.hide)}"] if self.hide else []
        parts += [f"writes only {', '.join(path.text for path in self.only) or 'nothing'}"] if self.only is not None else []
        parts += [f"keeps {', '.join(path.text for path in self.keep)}"] if self.keep else []
        return f"the policy, on {'every type' if self.type == _ANY else self.type}: {'; '.join(parts)}"


@dataclass(frozen=True, slots=True)
class FieldBounds:
    """The rules that are for one principal."""

    rules: tuple[FieldRule, ...] = ()

    @property
    def hides(self) -> bool:
        """Whether anything is hidden of any type: then every answer is looked at, for resources hold others."""
        return any(rule.hide for rule in self.rules)

    def bound(self, type: str, permission: Permission) -> Boundary:
        """All of ``type``, but judged, where a rule has a say; else everything."""
        if permission in READS:
            return _MEANT if self.hides else everything()
        # What is updated may hold resources of other types: of those nothing hidden is replaced either.
        hides = self.hides if permission is Permission.UPDATE else bool(self.hides_of(type))
        return _MEANT if hides or self.writing(type, permission) else everything()

    def leaves_all(self, permission: Permission) -> bool:
        """Whether they have no say on any type."""
        if permission in READS:
            return not self.hides
        return not any(rule.hide or (rule.bounds_writes and permission in rule.permissions) for rule in self.rules)

    def hides_of(self, type: str) -> tuple[FieldRule, ...]:
        """The rules that hide elements of ``type``."""
        return tuple(rule for rule in self.rules if rule.hide and rule.is_of(type))

    def writing(self, type: str, permission: Permission) -> tuple[FieldRule, ...]:
        """The rules on what a write may change."""
        return tuple(rule for rule in self.rules if rule.bounds_writes and rule.is_of(type) and permission in rule.permissions)

    def goes_by_labels(self, type: str) -> bool:
        """Whether labels decide what is hidden of ``type``: what came without them may have had them."""
        return any(rule.labelled is not None for rule in self.hides_of(type))

    @property
    def goes_by_some_labels(self) -> bool:
        """The same of any type, which may be contained."""
        return any(rule.hide and rule.labelled is not None for rule in self.rules)

    def hidden(self, type: str) -> tuple[FieldPath, ...]:
        """What is hidden of ``type``, of some of its resources at least."""
        paths = tuple(path for rule in self.hides_of(type) for path in rule.hide)
        return (*paths, NARRATIVE) if paths else ()

    def hidden_in(self, resource: Mapping[str, Any], type: str, *holders: Mapping[str, Any]) -> tuple[FieldPath, ...]:
        """What is hidden of ``resource``, decoded as far as its labels. What is contained has none of its own (FHIR R4 references.html
        2.3.0.4): those of its ``holders`` count for it."""
        paths = tuple(path for rule in self.hides_of(type) if any(map(rule.hides_in, (resource, *holders))) for path in rule.hide)
        return (*paths, NARRATIVE) if paths else ()

    def tells(self, type: str, parameter: SearchParameter | None) -> bool:
        """Whether a search of ``type`` by ``parameter`` (None: one that FHIR does not define) may tell of what is hidden."""
        read = _read_by(parameter) if parameter is not None else ()
        if not read:
            return self.hides  # as by ``_content``: of contained resources too
        return any(path.meets(steps) for path in self.hidden(type) for steps in read)

    def grounds(self, type: str, permission: Permission, place: Callable[..., str | None]) -> Iterator[Ground]:
        """What each rule does."""
        for rule in self.hides_of(type) if permission in READS else self.writing(type, permission):
            yield Ground("fields", rule.name, "limits", rule.text, place(*rule.path))


def field_bounds(rules: tuple[FieldRule, ...], principal: Principal) -> FieldBounds:
    """The rules for ``principal``."""
    return FieldBounds(tuple(rule for rule in rules if rule.whom.means(principal)))


def _read_by(parameter: SearchParameter) -> list[tuple[Step, ...]]:
    """Every way to what ``parameter`` looks at; none where that cannot be told. A composite looks at its parts."""
    wholes = [path.steps for path in parameter.paths]
    parts = [
        (*(() if component.of_resource else whole), *path.steps)
        for component in parameter.components
        for whole in (wholes or [()])
        for path in component.paths
    ]
    found = parts if parameter.components else wholes
    return found if all(found) else []
