"""Where HL7's definitions are had: pinned jars from Maven Central, and how they are read.

A definition is a plain mapping with the member names of FHIR's JSON. What was XML has every member as a list, so
``one`` and ``many`` are the only ways to look into one.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

Definition = Mapping[str, Any]

ARTIFACT = "ca.uhn.hapi.fhir:hapi-fhir-validation-resources-{name}:8.8.1"
PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"
DIGESTS = {
    "r4": "801cb6de72b4a9bbbf6589dcf1327b4c9626564105233d9e213066f0183ea0b1",
    "r4b": "71c762afb81cc9be0abba8d08b8208bdd14196c284e3f0ec69802f40165af956",
    "r5": "913172549df8c02993c9ed8e009e4bc3917189490296b0cba5836844990e48b7",
}
VERSIONS = {"r4": "4.0.1", "r4b": "4.3.0", "r5": "5.0.0"}
KINDS = ("StructureDefinition", "SearchParameter", "CompartmentDefinition", "OperationDefinition")

# R5's package also holds examples, and parameters of extension profiles, which the Bundles of R4 and R4B leave out.
_NOT_CORE = re.compile(r"filter|example.*|.*-extensions-.*|.*-genetic-.*")


@dataclass(frozen=True)
class Definitions:
    """All definitions of one release: ``r4``, ``r4b`` or ``r5``."""

    name: str
    structures: list[Definition] = field(default_factory=list)
    parameters: list[Definition] = field(default_factory=list)
    compartments: list[Definition] = field(default_factory=list)
    operations: list[Definition] = field(default_factory=list)

    def add(self, definition: Definition, kind: str) -> None:
        """Sorts ``definition`` by its resource type; what is no part of the core is left out."""
        if kind != "StructureDefinition" and _NOT_CORE.fullmatch(one(definition, "id")):
            return
        if kind == "OperationDefinition" and one(definition, "kind") == "query":
            return
        places = (self.structures, self.parameters, self.compartments, self.operations)
        dict(zip(KINDS, places, strict=True))[kind].append(definition)


def many(definition: Definition, name: str) -> list[Any]:
    """All values of member ``name``."""
    value = definition.get(name, [])
    return value if isinstance(value, list) else [value]


def one(definition: Definition, name: str, default: Any = None) -> Any:
    """The only value of member ``name``, or ``default``."""
    values = many(definition, name)
    return values[0] if values else default


def flag(definition: Definition, name: str) -> bool:
    """A boolean member, which in XML is text; absent is false."""
    return one(definition, name) in {True, "true"}


def fetch(name: str, directory: Path) -> Path:
    """The jar of release ``name`` in ``directory``, copied there by Maven when absent; its sha256 must be the pinned one."""
    jar = directory / f"hapi-fhir-validation-resources-{name}-8.8.1.jar"
    if not jar.exists():
        artifact = f"-Dartifact={ARTIFACT.format(name=name)}"
        subprocess.run(["mvn", "-q", "-B", PLUGIN, artifact, f"-DoutputDirectory={directory}"], check=True)
    digest = hashlib.sha256(jar.read_bytes()).hexdigest()
    if digest != DIGESTS[name]:
        raise SystemExit(f"{jar}: sha256 {digest}, expected {DIGESTS[name]}")
    return jar


def read(name: str, jar: Path) -> Definitions:
    """The definitions of release ``name`` out of its jar."""
    result = Definitions(name)
    root = f"org/hl7/fhir/{name}"
    with zipfile.ZipFile(jar) as archive:
        if name == "r5":
            found = _package(archive.read(f"{root}/packages/hl7.fhir.r5.core-5.0.0.tgz"))
            for definition in sorted(found, key=lambda item: item["id"]):
                result.add(definition, definition["resourceType"])
            return result
        for file in ("model/profile/profiles-types.xml", "model/profile/profiles-resources.xml"):
            for kind, definition in _xml(archive.read(f"{root}/{file}")):
                result.add(definition, kind)
        for kind, definition in _search_parameters(archive, f"{root}/model/sp/search-parameters"):
            result.add(definition, kind)
    return result


def _search_parameters(archive: zipfile.ZipFile, stem: str) -> Iterator[tuple[str, Definition]]:
    if f"{stem}.json" not in archive.namelist():
        yield from _xml(archive.read(f"{stem}.xml"))
        return
    for entry in json.loads(archive.read(f"{stem}.json"))["entry"]:
        yield entry["resource"]["resourceType"], entry["resource"]


def _package(data: bytes) -> Iterator[Definition]:
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as package:
        for member in package:
            if re.fullmatch(rf"package/({'|'.join(KINDS)})-[^/]*\.json", member.name):
                content = package.extractfile(member)
                assert content is not None
                yield json.loads(content.read())


def _xml(data: bytes) -> Iterator[tuple[str, Definition]]:
    for wrapper in ET.fromstring(data).iterfind("{*}entry/{*}resource"):
        kind = _local(wrapper[0].tag)
        if kind in KINDS:
            yield kind, _members(wrapper[0])


def _members(node: ET.Element) -> Definition:
    result: dict[str, list[Any]] = {}
    for child in node:
        value = _members(child) if len(child) or child.get("value") is None else child.get("value")
        result.setdefault(_local(child.tag), []).append(value)
    for name in ("id", "url"):  # attributes: of elements, of extensions
        if name in node.attrib:
            result.setdefault(name, []).append(node.attrib[name])
    return result


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]
