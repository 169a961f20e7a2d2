"""A real HAPI FHIR JPA server: our own wiring (``tests/integration/hapi``) over HAPI's published artefacts, in-memory H2, Jetty.

As started here it is a plain HAPI JPA server: no compartment search, no system-level search, no referential integrity (fixtures
refer to resources that are not there), client ids must hold a letter. ``compartments=True`` adds ``Patient/x/Observation``.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.integration.servers.machine import Running, cache, digest, only_one, run, start

SOURCE = Path(__file__).resolve().parent.parent / "hapi"
_READY = re.compile(r"^ready on port (\d+)", re.MULTILINE)
_FLAGS = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")  # C1 halves the processor time of a start


@dataclass(frozen=True, slots=True)
class Hapi:
    """A running server: ``base`` is its FHIR base URL."""

    base: str
    running: Running

    def put(self, transaction: dict[str, Any]) -> None:
        """Sends a transaction Bundle."""
        request = urllib.request.Request(
            self.base, json.dumps(transaction).encode(), {"Content-Type": "application/fhir+json"}, method="POST"
        )
        urllib.request.urlopen(request, timeout=120).close()


def build() -> Path:
    """The folder with the built jar and its libraries, in the cache under a name that changes with the sources."""
    sources = sorted(path for path in SOURCE.rglob("*") if path.is_file() and "target" not in path.parts)
    place = cache("hapi", digest(*(path.read_bytes() for path in sources)))
    with only_one(place):
        if not (place / ".built").exists():
            shutil.rmtree(place / "project", ignore_errors=True)
            shutil.copytree(SOURCE, place / "project", ignore=shutil.ignore_patterns("target"))
            run(["mvn", "-B", "-q", "package"], cwd=place / "project")
            (place / ".built").touch()
    return place / "project" / "target"


def start_hapi(log: Path, *, port: int = 0, release: str = "R4", compartments: bool = False) -> Hapi:
    """Builds where needed, starts on loopback (``port`` 0: a free one) and waits until ``metadata`` has been answered."""
    target = build()
    libraries = os.pathsep.join(map(str, [target / "hapi-test-server.jar", *sorted((target / "lib").glob("*.jar"))]))
    heap = "2g" if release == "R5" else "1g"
    options = [f"-Dport={port}", f"-Dfhir={release}", f"-Dcompartments={str(compartments).lower()}"]
    running = start(["java", f"-Xmx{heap}", *_FLAGS, *options, "-cp", libraries, "smartgateway.hapi.Main"], log=log)
    running.wait_until(lambda: _READY.search(running.output()) is not None)
    found = _READY.search(running.output())
    assert found is not None
    return Hapi(f"http://127.0.0.1:{found[1]}/fhir", running)
