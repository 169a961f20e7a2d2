"""Files of policy tests: who asks for what, and what must come of it. Read as strictly as the settings are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, ValidationError

from smart_gateway.fhir.strict_json import parse_json
from smart_gateway.settings.findings import Finding, Place, spell_key
from smart_gateway.settings.reading.complaints import complaints, nearest
from smart_gateway.settings.reading.document import MAX_BYTES, read_document
from smart_gateway.settings.reading.tree import Node
from smart_gateway.settings.sections.quantities import Duration
from smart_gateway.settings.sections.section import Section, Text, shape, spelled

Resource = dict[str, Any]
_REQUEST = re.compile(r"[A-Z]+ +[/?]")

# A resource as it is, or the path of a JSON file that holds one, several in a list, or those of a Bundle.
Stored = Annotated[Annotated[dict[str, Any], Tag("mapping")] | Annotated[Text, Tag("word")], Discriminator(shape)]


class TokenSettings(Section):
    """Who asks, as a verified token says it."""

    issuer: Text | None = None
    """One of the settings' issuers; absent: the first."""
    client: Text | None = None
    """The client's id."""
    scope: str = ""
    """Scopes as SMART spells them, separated by spaces."""
    patient: Text | None = None
    """The patient in context, by id."""
    encounter: Text | None = None
    """The encounter in context, by id."""
    fhir_user: Text | None = None
    """The user, as `Type/id`."""
    subject: Text | None = None
    """The claim `sub`."""
    age: Duration = 1.0
    """How long ago the token was issued (`iat`)."""
    login_age: Duration | None = None
    """How long ago the user logged in (`auth_time`)."""
    claims: dict[Text, Any] = Field(default={})
    """Further claims of the token."""
    shown: list[Literal["dpop", "mtls"]] = Field(default=[])
    """The proofs of possession that came with it."""


class AnswerSettings(Section):
    """What the FHIR server answers, instead of what it would by its stored resources."""

    status: Annotated[int, Field(ge=100, le=599)] = 200
    """The status."""
    headers: dict[Text, Text] = Field(default={})
    """Headers besides the media type."""
    body: Any = None
    """JSON, or a text as it is."""


class ExpectSettings(Section):
    """What must come of a case: everything that is said here, and what is not said may be anything."""

    decision: Literal["permit", "deny"]
    """Whether it is let through."""
    status: int | None = None
    """The status of the answer."""
    code: Text | None = None
    """The machine code of the refusal."""
    required_scopes: list[Text] | None = None
    """The scopes that the refusal names; `[]`: it must name none."""
    upstream: list[Text] | None = None
    """Every request to the FHIR server, in order, as `METHOD /path?query`; the order of parameters does not count. `[]`: none."""
    entries: list[Text] | None = None
    """The resources in the answer, as `Type/id`, in any order; `[]`: none."""
    removed: int | None = None
    """How many entries the gateway took out of the answer."""
    statuses: list[int] | None = None
    """Of a batch: the status of each entry, in order."""
    rules: list[Text] | None = None
    """Rules that must be among those that decided."""
    body: Any = None
    """Members that the answer's JSON must have, with these values; `null`: must not have."""


class CaseSettings(Section):
    """One request, and what must come of it."""

    name: Text
    """What is shown."""
    principal: Annotated[Annotated[Text, Tag("word")] | Annotated[TokenSettings, Tag("mapping")], Discriminator(shape)] | None = None
    """One of `principals` by name, or one of its own; absent: nobody, without a token."""
    request: Annotated[str, spelled(_REQUEST.match, "request", "must be METHOD /target, such as GET /Patient/1")]
    """`METHOD /target`, relative to the FHIR base."""
    headers: dict[Text, Text] = Field(default={})
    """Headers of the request."""
    body: Any = None
    """JSON, or a text as it is: a form."""
    address: Text = "192.0.2.1"
    """The network address that it comes from."""
    stored: list[Stored] = Field(default=[])
    """Resources that the FHIR server holds besides those of the file."""
    answer: Annotated[
        Annotated[AnswerSettings, Tag("mapping")] | Annotated[list[Stored], Tag("list")], Discriminator(shape)
    ] | None = None  # fmt: skip
    """What the FHIR server answers: a status with a body, or a list of resources as a searchset, asked for or not. Reads of stored
    resources are answered as ever."""
    expect: ExpectSettings
    """What must come of it."""


class CaseFileSettings(Section):
    """One file of policy tests."""

    config: Text | None = None
    """Settings, or a policy alone, relative to this file; `--config` comes before it."""
    principals: dict[Text, TokenSettings] = Field(default={})
    """Those who ask, by name."""
    stored: list[Stored] = Field(default=[])
    """Resources that the FHIR server holds in every case."""
    cases: Annotated[list[CaseSettings], Field(min_length=1)]
    """The cases."""


@dataclass(frozen=True, slots=True)
class Case:
    """One case as it is run; ``place`` is where it was written. ``principal`` None: nobody."""

    settings: CaseSettings
    principal: TokenSettings | None
    stored: tuple[Resource, ...]
    answer: AnswerSettings | tuple[Resource, ...] | None
    place: Place

    @property
    def name(self) -> str:
        return self.settings.name


@dataclass(frozen=True, slots=True)
class CaseFile:
    """A file of cases; ``config`` is where its settings are, None where it names none."""

    path: Path
    config: Path | None = None
    cases: tuple[Case, ...] = ()
    findings: tuple[Finding, ...] = ()


class _Unreadable(Exception):
    """A file of records cannot be used; the argument says why."""


def read_cases(path: Path) -> CaseFile:
    """The cases of one YAML file. Never raises; a file that cannot be used has findings, and no cases."""
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        return CaseFile(path, findings=(Finding(Place(str(path)), "", f"the file cannot be read: {error.strerror}"),))
    document = read_document(data, str(path))
    root = document.root
    if root is None or document.findings or not isinstance(root.content, dict):
        return CaseFile(path, findings=document.findings or (Finding(Place(str(path), 1, 1), "", "the file must hold a mapping of keys"),))
    root.number()
    try:
        settings = CaseFileSettings.model_validate(root.plain())
    except ValidationError as error:
        return CaseFile(path, findings=tuple(complaint.finding for complaint in complaints(error, root, CaseFileSettings)))
    reader = _Reader(path, settings, root)
    cases = tuple(reader.cases())
    config = path.parent / settings.config if settings.config is not None else None
    return CaseFile(path, config, () if reader.findings else cases, tuple(reader.findings))


class _Reader:
    """From the settings of a file to its cases, with what they refer to."""

    def __init__(self, path: Path, settings: CaseFileSettings, root: Node) -> None:
        self.findings: list[Finding] = []
        self._folder = path.parent
        self._settings = settings
        self._root = root

    def cases(self) -> Iterator[Case]:
        """Every case; findings where one refers to what is not there."""
        shared = tuple(self._resources(self._settings.stored, ("stored",)))
        for index, case in enumerate(self._settings.cases):
            path = ("cases", index)
            stored = (*shared, *self._resources(case.stored, (*path, "stored")))
            yield Case(case, self._principal(case, index), stored, self._answer(case.answer, path), self._place(path))

    def _answer(
        self, given: AnswerSettings | list[Any] | None, path: tuple[str | int, ...]
    ) -> AnswerSettings | tuple[Resource, ...] | None:
        return tuple(self._resources(given, (*path, "answer"))) if isinstance(given, list) else given

    def _principal(self, case: CaseSettings, index: int) -> TokenSettings | None:
        if not isinstance(case.principal, str):
            return case.principal
        found = self._settings.principals.get(case.principal)
        if found is None:
            path = ("cases", index, "principal")
            guess = nearest(case.principal, self._settings.principals)
            self.findings.append(Finding(self._place(path), spell_key(path), f"no principal is named {case.principal}", guess))
        return found

    def _resources(self, given: Iterable[Any], path: tuple[str | int, ...]) -> Iterator[Resource]:
        for index, item in enumerate(given):
            try:
                found = [item] if isinstance(item, dict) else list(_records(self._folder / item))
                yield from (_resource(one) for one in found)
            except _Unreadable as error:
                at = (*path, index)
                self.findings.append(Finding(self._place(at), spell_key(at), str(error)))

    def _place(self, path: tuple[str | int, ...]) -> Place:
        node = self._root
        for part in path:
            node = node.child(part) or node
        return node.place


def _records(path: Path) -> Iterator[Any]:
    """The resources of a JSON file."""
    try:
        found = parse_json(path.read_bytes())
    except OSError as error:
        raise _Unreadable(f"the file {path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise _Unreadable(f"the file {path} is not JSON") from None
    if isinstance(found, dict) and found.get("resourceType") == "Bundle":
        yield from (entry.get("resource") for entry in found.get("entry", ()))
    else:
        yield from found if isinstance(found, list) else [found]


def _resource(value: Any) -> Resource:
    if not isinstance(value, dict) or not all(isinstance(value.get(member), str) for member in ("resourceType", "id")):
        raise _Unreadable("a stored resource has a resourceType and an id")
    return value
