"""The gateway as middleware: the example as its README says, and mounted in an application around real HAPI."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.integration.app import App, MakeApp, ids, link, refused, required_scopes
from tests.integration.records import LABS, VITALS, told_by
from tests.integration.servers.gateway import Gateway
from tests.integration.servers.hapi import Hapi
from tests.integration.servers.keycloak import Keycloak
from tests.integration.servers.machine import Running, answers, free_port, start

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "middleware_starlette"


def uvicorn(app: str, port: int, work: Path, **env: str) -> Running:
    """``uvicorn`` with ``app``, in ``work``, as the example says."""
    command = [sys.executable, "-m", "uvicorn", app, "--port", str(port), "--no-proxy-headers", "--no-access-log"]
    return start(command, log=work / "uvicorn.log", cwd=work, env={**os.environ, **env})


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The example, copied and on a free port: its base URL and its folder."""
    work = tmp_path_factory.mktemp("example") / "app"
    shutil.copytree(EXAMPLE, work)
    port = free_port()
    for file in ("gateway.yaml", "make_token.py"):
        (work / file).write_text((work / file).read_text().replace("127.0.0.1:8000", f"127.0.0.1:{port}"))
    token(work)  # makes the keys that the settings name
    running = uvicorn("app:app", port, work)
    try:
        running.wait_until(lambda: answers(f"http://127.0.0.1:{port}/"), 60)
        yield f"http://127.0.0.1:{port}/fhir", work
    finally:
        running.stop()


def token(work: Path, *options: str) -> str:
    """What ``python make_token.py`` prints."""
    done = subprocess.run([sys.executable, "make_token.py", *options], cwd=work, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_example_does_what_its_readme_says(example: tuple[str, Path]) -> None:
    base, work = example
    with closing(App(base, token(work, "--scope", "patient/*.rs", "--patient", "amy"))) as amy:
        assert amy.get("/Patient/amy").status_code == 200
        refused(amy.get("/Patient/ben"), 404)
        assert ids(amy.get("/Observation")) == ["Observation/amy-pulse"]
        assert required_scopes(refused(amy("DELETE", "/Patient/amy"), 403)) == ["patient/Patient.d"]
    with closing(App(base, None)) as nobody:
        refused(nobody.get("/Patient/amy"), 401)
    beside = httpx.get(base.removesuffix("fhir"))
    assert (beside.status_code, beside.text) == (200, "The FHIR server is at /fhir.\n")


@pytest.fixture(scope="module")
def mounted(work: Path, hapi: Hapi, settings: dict[str, Any]) -> Iterator[Gateway]:
    """``mounted.py`` before real HAPI: under the path ``/ehr/api/fhir`` of an application."""
    port, home = free_port(), work / "mounted"
    home.mkdir()
    base = f"http://127.0.0.1:{port}/ehr/api/fhir"
    config = home / "gateway.yaml"
    config.write_text(yaml.safe_dump({**settings, "server": {"public_url": base}}))
    running = uvicorn("tests.integration.mounted:app", port, home, PYTHONPATH=str(ROOT), HAPI_BASE=hapi.base, GATEWAY_CONFIG=str(config))
    try:
        running.wait_until(lambda: answers(f"http://127.0.0.1:{port}/ehr"), 60)
        yield Gateway(base, "", config, running)
    finally:
        running.stop()
        assert not told_by(running.output())


@pytest.fixture
def amy(app: MakeApp, keycloak: Keycloak, mounted: Gateway) -> App:
    return app(keycloak.user_token("amy", "patient/*.rs"), sees="a", at=mounted)


def test_reads_and_searches_at_the_mount_path(amy: App, mounted: Gateway, hapi: Hapi) -> None:
    assert amy.get("/Patient/pat-a").status_code == 200
    refused(amy.get("/Patient/pat-b"), 404)
    refused(amy.get("/Observation/lab-0-chart-b"), 404)
    answer = amy.get("/Observation?_count=100")
    assert len(ids(answer)) == LABS + VITALS
    assert hapi.base not in answer.text
    assert all(entry["fullUrl"].startswith(f"{mounted.base}/") for entry in answer.json()["entry"])
    refused(amy.get("/Observation?patient=pat-b"), 403, "foreign-patient")


def test_pages_at_the_mount_path(amy: App) -> None:
    page = amy.get("/Observation?_count=4")
    found = ids(page)
    while (url := link(page, "next")) is not None:
        page = amy.follow(url)
        found += ids(page)
    assert len(set(found)) == len(found) == LABS + VITALS


def test_writes_at_the_mount_path(app: MakeApp, keycloak: Keycloak, mounted: Gateway, hapi: Hapi) -> None:
    wanda = app(keycloak.user_token("wanda", "patient/*.cruds"), sees="w", at=mounted)
    body = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "subject": {"reference": "Patient/pat-w"}}
    made = wanda.send("POST", "/Observation", body)
    assert made.status_code == 201
    assert made.headers["location"].startswith(f"{mounted.base}/Observation/")
    assert wanda("DELETE", wanda.follow(made.headers["location"]).url.path.split("/fhir")[1].split("/_history")[0]).status_code in {
        200,
        204,
    }
    refused(wanda.send("POST", "/Observation", {**body, "subject": {"reference": "Patient/pat-b"}}), 403)
    refused(wanda("DELETE", "/Observation/lab-0-chart-b"), 404)
    assert httpx.get(f"{hapi.base}/Observation/lab-0-chart-b").status_code == 200


def test_a_batch_at_the_mount_path(amy: App) -> None:
    entries = [{"request": {"method": "GET", "url": f"Patient/pat-{patient}"}} for patient in "ab"]
    answer = amy.send("POST", "/", {"resourceType": "Bundle", "type": "batch", "entry": entries})
    assert [entry["response"]["status"][:3] for entry in answer.json()["entry"]] == ["200", "404"], answer.text


def test_the_application_beside_it_is_as_it_was(mounted: Gateway, app: MakeApp) -> None:
    assert httpx.get(mounted.base.removesuffix("/api/fhir")).text == "beside"
    refused(app(None, at=mounted).get("/Patient/pat-a"), 401)
    assert httpx.get(mounted.base.removesuffix("/fhir") + "/Patient/pat-a").status_code == 404
