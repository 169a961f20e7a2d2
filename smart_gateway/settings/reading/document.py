"""YAML read strictly into a tree that knows where everything was written.

A subset of YAML 1.2's core schema: no tags, no merge keys, one document, keys once and as text. Words that YAML 1.1 reads as
booleans (``on``, ``off``, ``yes``, ``no``) are refused, for no two readers agree on them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml

from smart_gateway.settings.findings import Finding, KeyPath, Place, spell_key
from smart_gateway.settings.reading.tree import Entry, Node, Scalar

MAX_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 32
MAX_NODES = 200_000  # aliases count again wherever they are used, so that they cannot multiply without end

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_DOUBTFUL = frozenset({"on", "off", "yes", "no"})  # not N: it is a code of confidentiality, and read as a text everywhere
_SURROGATE = re.compile("[\ud800-\udfff]")
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})\.[0-9]{1,17}")


@dataclass(frozen=True, slots=True)
class Document:
    """What one text holds; ``root`` is None where nothing usable was found (``findings`` then says why)."""

    root: Node | None
    findings: tuple[Finding, ...]


def read_document(data: bytes, source: str) -> Document:
    """Reads one YAML text. Never raises; everything wrong is a finding."""
    if len(data) > MAX_BYTES:
        return Document(None, (Finding(Place(source), "", f"the file is larger than {MAX_BYTES // 1024 // 1024} MiB"),))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return Document(None, (Finding(_byte_place(data, error.start, source), "", "the file is not UTF-8"),))
    reader = _Reader(text, source)
    try:
        root = reader.document()
    except _Unusable as error:
        return Document(None, (*reader.findings, error.finding))
    except (yaml.YAMLError, ValueError) as error:  # ValueError: PyYAML's own, for an escape beyond Unicode
        return Document(None, (*reader.findings, _syntax_finding(error, text, source)))
    return Document(root, tuple(reader.findings))


def read_value(text: str, source: str) -> Document:
    """Reads the value of an environment variable: YAML in flow style, or a plain text that is none."""
    found = read_document(text.encode("utf-8", "surrogateescape"), source)
    place = Place(source)
    findings = tuple(Finding(place, finding.key, finding.text, finding.nearest) for finding in found.findings)
    for _, node in found.root.walk() if found.root else ():
        node.place = place
        for entry in node.content.values() if isinstance(node.content, dict) else ():
            entry.place = place
    if found.root is not None:
        found.root.raw = text
    return Document(found.root, findings)


class _Loader(yaml.SafeLoader):
    """PyYAML's scanner, with ``?`` allowed inside a word of a flow list as YAML 1.2 does: ``[patient/Patient.r?_id=1]``."""

    def scan_plain(self) -> yaml.ScalarToken:
        token: yaml.ScalarToken = super().scan_plain()
        while self.flow_level and self.peek() == "?" and self.index == token.end_mark.index and self.peek(1) != "#":
            self.forward()
            rest = super().scan_plain()
            token = yaml.ScalarToken(f"{token.value}?{rest.value}", True, token.start_mark, rest.end_mark)
        return token


class _Unusable(Exception):
    """Reading cannot go on."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.text)
        self.finding = finding


class _Reader:
    """Builds the tree from PyYAML's events, which need no recursion of its own and carry marks."""

    def __init__(self, text: str, source: str) -> None:
        self.findings: list[Finding] = []
        self._source = source
        self._events = yaml.parse(text, Loader=_Loader)  # a generator: what it raises, it raises while read
        self._anchors: dict[str, Node] = {}
        self._count = 0

    def document(self) -> Node | None:
        """The one document of the text."""
        root: Node | None = None
        seen = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                seen += 1
                if seen > 1:
                    raise self._unusable(event, (), "a second document begins here: a file holds one")
                root = self._node(next(self._events), ())
        return root

    def _node(self, event: yaml.Event, path: KeyPath) -> Node:
        self._count += 1
        if self._count > MAX_NODES:
            raise self._unusable(event, path, f"more than {MAX_NODES} values")
        if len(path) > MAX_DEPTH:
            raise self._unusable(event, path, f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, path)
        assert isinstance(event, (yaml.ScalarEvent, yaml.CollectionStartEvent))
        if event.tag is not None:
            self._report(event, path, "tags are not used here: write the value without one")
        node = self._scalar(event, path) if isinstance(event, yaml.ScalarEvent) else self._collection(event, path)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _collection(self, event: yaml.CollectionStartEvent, path: KeyPath) -> Node:
        return Node(self._place(event), self._mapping(path) if isinstance(event, yaml.MappingStartEvent) else self._sequence(path))

    def _scalar(self, event: yaml.ScalarEvent, path: KeyPath) -> Node:
        place = self._place(event)
        if event.style is None:
            return Node(place, self._plain(event, path), event.value)
        if not event.value.isascii() and _SURROGATE.search(event.value):
            self._report(event, path, "an escape that is half a character")
        return Node(place, event.value)

    def _alias(self, event: yaml.AliasEvent, path: KeyPath) -> Node:
        node = self._anchors.get(event.anchor or "")  # known only once complete, so that no alias can lie in its own value
        if node is None:
            raise self._unusable(event, path, "an alias without an anchor before it")
        for below, _ in node.walk():
            self._count += 1
            if len(path) + len(below) > MAX_DEPTH or self._count > MAX_NODES:
                raise self._unusable(event, path, "this alias makes the file too deep or too large")
        return node.copy()

    def _mapping(self, path: KeyPath) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        for event in iter(lambda: next(self._events), None):
            if isinstance(event, yaml.MappingEndEvent):
                break
            key = self._key(event, path)
            node = self._node(next(self._events), (*path, key))
            if key in entries:
                first = entries[key].place.line
                self._report(event, (*path, key), f"this key is already there (line {first}); each counts once")
            elif key:
                entries[key] = Entry(self._place(event), node)
        return entries

    def _key(self, event: yaml.Event, path: KeyPath) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            raise self._unusable(event, path, "a key is a text, not a list, mapping or alias")
        if event.tag is not None:
            self._report(event, path, "tags are not used here: write the key without one")
        if event.value == "<<" and event.style is None:
            self._report(event, path, "merge keys are not used here: write the keys out")
            return ""
        if not event.value:
            self._report(event, path, "an empty key")
        return str(event.value)

    def _sequence(self, path: KeyPath) -> list[Node]:
        nodes: list[Node] = []
        for event in iter(lambda: next(self._events), None):
            if isinstance(event, yaml.SequenceEndEvent):
                break
            nodes.append(self._node(event, (*path, len(nodes))))
        return nodes

    def _plain(self, event: yaml.ScalarEvent, path: KeyPath) -> Scalar:
        text: str = event.value
        if text in _NULLS:
            return None
        if text in _BOOLEANS:
            return _BOOLEANS[text]
        if text.lower() in _DOUBTFUL:
            self._report(event, path, f'"{text}" is a boolean to some YAML readers and a text to others: write true, false or quote it')
        if _INTEGER.fullmatch(text):
            return int(text)
        if _DECIMAL.fullmatch(text):
            return float(text)
        return text

    def _place(self, event: yaml.Event) -> Place:
        return _mark_place(event.start_mark, self._source)

    def _report(self, event: yaml.Event, path: KeyPath, text: str) -> None:
        self.findings.append(Finding(self._place(event), spell_key(path), text))

    def _unusable(self, event: yaml.Event, path: KeyPath, text: str) -> _Unusable:
        return _Unusable(Finding(self._place(event), spell_key(path), text))


def _mark_place(mark: Any, source: str) -> Place:
    """PyYAML counts from 0, people from 1."""
    return Place(source, mark.line + 1, mark.column + 1)


def _byte_place(data: bytes, offset: int, source: str) -> Place:
    before = data[:offset]
    return Place(source, before.count(b"\n") + 1, offset - before.rfind(b"\n"))


def _syntax_finding(error: Exception, text: str, source: str) -> Finding:
    """PyYAML's own words for what it could not read; they quote single characters at most."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return Finding(_mark_place(error.problem_mark, source), "", f"not YAML: {error.problem or error.context}")
    position = getattr(error, "position", 0)
    before = text[:position]
    place = Place(source, before.count("\n") + 1, position - before.rfind("\n"))
    return Finding(place, "", "not YAML: a character that no text may hold")
