"""The closed list of operations: where each may be called, what it needs, what it takes and how its answer is checked.

Spec: semantics 8; the OperationDefinitions of FHIR R4, R4B and R5 (parameters of all three, and those of HAPI that are plain values),
US Core for ``$docref``. What is not in the list is not opened, whoever asks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from smart_gateway.request.model import FhirRequest
from smart_gateway.scopes.permissions import Permission


class Level(Enum):
    """Where an operation is called: at the base, on a type, on an instance."""

    SYSTEM = auto()
    TYPE = auto()
    INSTANCE = auto()


class Reach(Enum):
    """What bounds an operation under a bounded token."""

    INSTANCE = auto()  # the stored instance must be inside
    CRITERIA = auto()  # its parameters say whose records: they must be inside
    BODY = auto()  # the resource given must be inside by the rule for writes
    WHOLE_TYPE = auto()  # the token must have the type whole
    UNBOUNDED_TYPE = auto()  # nothing, but each resource of the answer is judged by itself: only for tokens without bounds on the type
    UNBOUNDED = auto()  # nothing would: only for tokens without bounds


class Kind(Enum):
    """What a parameter holds, and so how it is judged."""

    PLAIN = auto()  # a primitive value that selects nobody's record
    DATE = auto()
    COUNT = auto()
    TYPES = auto()  # resource types of the answer: each must be readable
    PATIENT = auto()  # a patient, who must be the token's
    STRUCTURE = auto()  # a Coding, a CodeableConcept, parts: no resource in it
    RESOURCE = auto()  # a resource


class Answers(Enum):
    """What an operation answers, and so how it is checked."""

    RECORD = auto()  # a searchset of any types, each resource judged as one that may be read
    MATCHES = auto()  # a searchset of the type called
    META = auto()  # the meta of the instance
    OUTCOME = auto()  # an OperationOutcome
    TERMS = auto()  # a ValueSet or Parameters of terminology


@dataclass(frozen=True, slots=True)
class Opening:
    """What a call at one level needs: any of ``permissions`` on the type; ``methods`` it takes."""

    permissions: Permission
    reach: Reach
    methods: frozenset[str] = frozenset({"GET", "HEAD", "POST"})


@dataclass(frozen=True, slots=True)
class Parameter:
    """One input. ``types`` are those of a RESOURCE; empty: the type that is called."""

    kind: Kind = Kind.PLAIN
    repeats: bool = False
    required: bool = False
    types: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class OperationRule:
    """One operation. ``types`` None: any. ``bare`` is the parameter that a body other than Parameters stands for; ``criteria``: it takes
    every search parameter of the type too."""

    name: str
    types: frozenset[str] | None
    levels: Mapping[Level, Opening]
    answers: Answers
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    bare: str | None = None
    criteria: bool = False


_P = Permission
_READS = _P.READ | _P.SEARCH
_PLAIN, _PLAINS = Parameter(), Parameter(repeats=True)
_DATE, _COUNT, _STRUCTURE = Parameter(Kind.DATE), Parameter(Kind.COUNT), Parameter(Kind.STRUCTURE)
_POST = frozenset({"POST"})


def _plain(names: str) -> dict[str, Parameter]:
    return dict.fromkeys(names.split(), _PLAIN)


def _plains(names: str) -> dict[str, Parameter]:
    return dict.fromkeys(names.split(), _PLAINS)


def _resource(*types: str) -> Parameter:
    return Parameter(Kind.RESOURCE, types=frozenset(types))


_RECORD = {"_since": _DATE, "_count": _COUNT, "_type": Parameter(Kind.TYPES, repeats=True)}
_CODED = {**_plain("url code version display date abstract displayLanguage"), "coding": _STRUCTURE, "codeableConcept": _STRUCTURE}
_SUPPORT = {
    **_plains("useSupplement"),
    "tx-resource": Parameter(Kind.RESOURCE, repeats=True, types=frozenset({"CodeSystem", "ValueSet", "ConceptMap"})),
}
_TERMS_AT_TYPE = Opening(_READS, Reach.WHOLE_TYPE)
_TERMS_AT_INSTANCE = Opening(_READS, Reach.INSTANCE)
_TERMS = {Level.TYPE: _TERMS_AT_TYPE, Level.INSTANCE: _TERMS_AT_INSTANCE}


def _terms(name: str, type: str, parameters: Mapping[str, Parameter], bare: str | None = None) -> OperationRule:
    return OperationRule(name, frozenset({type}), _TERMS, Answers.TERMS, {**parameters, **_SUPPORT}, bare)


SHIPPED: tuple[OperationRule, ...] = (
    OperationRule(
        "$everything",
        frozenset({"Patient"}),
        {Level.INSTANCE: Opening(_P.READ, Reach.INSTANCE), Level.TYPE: Opening(_P.SEARCH, Reach.UNBOUNDED_TYPE)},
        Answers.RECORD,
        {"start": _DATE, "end": _DATE, **_RECORD},
    ),
    OperationRule("$everything", frozenset({"Encounter"}), {Level.INSTANCE: Opening(_P.READ, Reach.INSTANCE)}, Answers.RECORD, _RECORD),
    OperationRule(
        "$validate",
        None,
        {
            Level.TYPE: Opening(_P.CREATE | _P.UPDATE, Reach.BODY, _POST),
            Level.INSTANCE: Opening(_P.UPDATE, Reach.INSTANCE),
        },
        Answers.OUTCOME,
        {**_plain("mode profile"), "usageContext": Parameter(Kind.STRUCTURE, repeats=True), "resource": Parameter(Kind.RESOURCE)},
        bare="resource",
    ),
    OperationRule(
        "$docref",
        frozenset({"DocumentReference"}),
        {Level.TYPE: Opening(_P.SEARCH, Reach.CRITERIA)},
        Answers.MATCHES,
        {
            "patient": Parameter(Kind.PATIENT, required=True),
            "start": _DATE,
            "end": _DATE,
            "type": _STRUCTURE,
            "on-demand": _PLAIN,
            "profile": _PLAINS,
        },
    ),
    OperationRule(
        "$lastn",
        frozenset({"Observation"}),
        {Level.TYPE: Opening(_P.SEARCH, Reach.CRITERIA)},
        Answers.MATCHES,
        {"max": _COUNT},
        criteria=True,
    ),
    OperationRule(
        "$meta",
        None,
        {
            Level.INSTANCE: Opening(_P.READ, Reach.INSTANCE),
            Level.TYPE: Opening(_P.READ, Reach.UNBOUNDED),
            Level.SYSTEM: Opening(_P.READ, Reach.UNBOUNDED),
        },
        Answers.META,
    ),
    _terms(
        "$expand",
        "ValueSet",
        {
            **_plain("url valueSetVersion context contextDirection filter date offset count activeOnly includeDesignations"),
            **_plain("includeDefinition excludeNested excludeNotForUI excludePostCoordinated displayLanguage includeHierarchy"),
            **_plains("designation property exclude-system system-version check-system-version force-system-version"),
            "valueSet": _resource("ValueSet"),
        },
        bare="valueSet",
    ),
    _terms(
        "$validate-code",
        "ValueSet",
        {**_CODED, **_plain("context valueSetVersion system systemVersion"), "valueSet": _resource("ValueSet")},
    ),
    _terms("$validate-code", "CodeSystem", {**_CODED, "codeSystem": _resource("CodeSystem")}),
    _terms("$lookup", "CodeSystem", {**_plain("code system version date displayLanguage"), "coding": _STRUCTURE, **_plains("property")}),
    _terms("$subsumes", "CodeSystem", {**_plain("codeA codeB system version"), "codingA": _STRUCTURE, "codingB": _STRUCTURE}),
    _terms(
        "$translate",
        "ConceptMap",
        {
            **_plain("url conceptMapVersion code system version source target targetsystem targetSystem reverse"),
            **_plain("sourceCode sourceScope targetCode targetScope"),
            **dict.fromkeys(("coding", "codeableConcept", "sourceCoding", "sourceCodeableConcept"), _STRUCTURE),
            **dict.fromkeys(("targetCoding", "targetCodeableConcept"), _STRUCTURE),
            "dependency": Parameter(Kind.STRUCTURE, repeats=True),
            "conceptMap": _resource("ConceptMap"),
        },
    ),
)


def opened_on(type: str | None) -> frozenset[str]:
    """The operations of the list on ``type`` or its instances; at the base, where ``type`` is None."""
    if type is None:
        return frozenset(rule.name for rule in SHIPPED if Level.SYSTEM in rule.levels)
    return frozenset(rule.name for rule in SHIPPED if (rule.types is None or type in rule.types) and rule.levels.keys() - {Level.SYSTEM})


def level_of(request: FhirRequest) -> Level:
    """Where ``request``, an operation, calls it."""
    if request.type is None:
        return Level.SYSTEM
    return Level.TYPE if request.id is None else Level.INSTANCE


def rule_for(request: FhirRequest) -> OperationRule | None:
    """The rule for the operation that ``request`` calls, where one opens it on its type and at its level."""
    return next((rule for rule in _named(request.operation) if _fits(rule, request)), None)


def _named(name: str | None) -> Iterator[OperationRule]:
    return (rule for rule in SHIPPED if rule.name == name)


def _fits(rule: OperationRule, request: FhirRequest) -> bool:
    return level_of(request) in rule.levels and (rule.types is None or request.type is None or request.type in rule.types)
