"""examples/middleware_starlette does what its README says."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import httpx
import pytest

EXAMPLE = Path(__file__).parents[1] / "examples" / "middleware_starlette"


def module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = made
    spec.loader.exec_module(made)
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    copy = tmp_path / "example"
    shutil.copytree(EXAMPLE, copy)
    yield copy
    for name in ("example_app", "example_make_token"):
        sys.modules.pop(name, None)


async def test_the_example(folder: Path) -> None:
    token = module(folder / "make_token.py").token("patient/*.rs", "amy", folder)
    example = module(folder / "app.py")
    headers = {"authorization": f"Bearer {token}"}
    transport = httpx.ASGITransport(app=example.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000", headers=headers) as http:
        assert (await http.get("/")).text == "The FHIR server is at /fhir.\n"
        assert (await http.get("/fhir/Patient/amy")).json()["id"] == "amy"
        assert (await http.get("/fhir/Patient/ben")).status_code == 404
        found = (await http.get("/fhir/Observation")).json()
        assert [entry["resource"]["id"] for entry in found["entry"]] == ["amy-pulse"]
        refused = await http.delete("/fhir/Patient/amy")
        assert (refused.status_code, "patient/Patient.d" in refused.headers["www-authenticate"]) == (403, True)
        assert (await http.get("/fhir/metadata")).json()["fhirVersion"] == "4.0.1"
    await example.guarded.aclose()
