"""Formats and encodings in front of real HAPI: JSON is judged, all else passes only where nothing has to be."""

from __future__ import annotations

import gzip
import json
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.integration.app import FHIR_JSON, App, MakeApp, refused
from tests.integration.records import canary
from tests.integration.servers.gateway import StartGateway
from tests.integration.servers.hapi import Hapi

FHIR_XML, TURTLE = "application/fhir+xml", "application/fhir+turtle"
GZIP = {"content-encoding": "gzip"}


def content(patient: str) -> bytes:
    return f"<html><script>{canary(patient)}</script></html>".encode()


@pytest.fixture(scope="module")
def binaries(hapi: Hapi) -> Iterator[None]:
    """A web page in Anna's record by reference to her, one by reference to a result of hers, one in Bea's, and one in nobody's."""
    contexts = {"own": "Patient/pat-a", "result": "Observation/lab-0-chart-a", "other": "Observation/lab-0-chart-b", "none": None}
    for name, context in contexts.items():
        chart = "b" if name in ("other", "none") else "a"
        binary: dict[str, Any] = {"resourceType": "Binary", "id": f"page-{name}-chart-{chart}", "contentType": "text/html"}
        binary["data"] = b64encode(content(chart)).decode()
        if context is not None:
            binary["securityContext"] = {"reference": context}
        httpx.put(f"{hapi.base}/Binary/{binary['id']}", json=binary, headers={"content-type": FHIR_JSON}).raise_for_status()
    yield
    for name in contexts:
        httpx.delete(f"{hapi.base}/Binary/page-{name}-chart-{'b' if name in ('other', 'none') else 'a'}")


@pytest.fixture
def amy(as_user: MakeApp) -> App:
    return as_user("amy", "patient/*.cruds", sees="a")


@pytest.mark.parametrize("target", ["/Observation/lab-0-chart-a", "/Observation?_count=1", "/Patient/pat-a"])
@pytest.mark.parametrize(
    ("accept", "format"),
    [(FHIR_XML, None), (TURTLE, None), ("text/csv", None), ("image/png", None), (FHIR_JSON, "xml"), (FHIR_JSON, "x/y")],
)
def test_only_json_is_judged(amy: App, target: str, accept: str, format: str | None) -> None:
    """The refusal itself is made here, and speaks XML to those who ask for it."""
    wish = "" if format is None else f"{'&' if '?' in target else '?'}_format={format}"
    answer = amy.get(target + wish, headers={"accept": accept})
    assert answer.status_code == 406, answer.text
    in_xml = format == "xml" or (format is None and accept == FHIR_XML)
    assert answer.headers["content-type"].startswith(FHIR_XML if in_xml else FHIR_JSON)
    assert "application/fhir+json" in answer.text


@pytest.mark.parametrize(
    "accept", [FHIR_JSON, "application/json", "*/*", f"{FHIR_XML}, {FHIR_JSON};q=0.1", f"{FHIR_JSON}; fhirVersion=4.0"]
)
def test_who_takes_json_gets_it(amy: App, accept: str) -> None:
    answer = amy.get("/Observation/lab-0-chart-a", headers={"accept": accept})
    assert (answer.status_code, answer.json()["id"]) == (200, "lab-0-chart-a")
    assert amy.get("/Observation/lab-0-chart-a?_format=json", headers={"accept": FHIR_XML}).json()["id"] == "lab-0-chart-a"


@pytest.mark.parametrize(("accept", "format"), [(FHIR_XML, None), ("text/xml", None), (FHIR_JSON, "xml")])
def test_a_service_gets_xml(as_service: MakeApp, hapi: Hapi, accept: str, format: str | None) -> None:
    app = as_service("system/*.rs")
    wish = f"?_format={format}" if format else ""
    answer = app.get(f"/Observation/lab-0-chart-a{wish}", headers={"accept": accept})
    assert answer.headers["content-type"].startswith(FHIR_XML)
    assert '<id value="lab-0-chart-a"/>' in answer.text
    found = app.get("/Observation?_count=1", headers={"accept": FHIR_XML})
    assert found.text.startswith("<Bundle")
    assert hapi.base not in found.text
    refused(app.get("/Observation/lab-0-chart-a", headers={"accept": "image/png"}), 406)


@pytest.mark.parametrize("name", ["own", "result"])
def test_ones_own_content_is_served_raw(amy: App, binaries: None, name: str) -> None:
    target = f"/Binary/page-{name}-chart-a"
    answer = amy.get(target, headers={"accept": "text/html"})
    assert (answer.status_code, answer.content) == (200, content("a"))
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["content-security-policy"] == "sandbox"
    assert answer.headers["x-content-type-options"] == "nosniff"
    head = amy("HEAD", target, headers={"accept": "text/html"})
    assert (head.content, head.headers["content-length"]) == (b"", str(len(content("a"))))
    same = amy.get(target, headers={"accept": "text/html", "if-none-match": answer.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")
    assert amy.get(target).json()["contentType"] == "text/html"


@pytest.mark.parametrize("name", ["other", "none"])
@pytest.mark.parametrize("accept", ["text/html", FHIR_JSON])
def test_others_content_looks_absent(amy: App, binaries: None, name: str, accept: str) -> None:
    refused(amy.get(f"/Binary/page-{name}-chart-b", headers={"accept": accept}), 404)
    refused(amy.get("/Binary/never-was", headers={"accept": accept}), 404)


def test_a_service_gets_content_as_hapi_gives_it(as_service: MakeApp, binaries: None) -> None:
    answer = as_service("system/*.rs").get("/Binary/page-other-chart-b", headers={"accept": "text/html"})
    assert (answer.status_code, answer.content) == (200, content("b"))
    assert answer.headers["content-security-policy"] == "sandbox"


@pytest.mark.parametrize("packed", [True, False])
def test_a_service_writes_content_raw_also_compressed(as_service: MakeApp, hapi: Hapi, packed: bool) -> None:
    app, page = as_service("system/*.cruds"), content("a") * 3
    body = gzip.compress(page) if packed else page
    made = app("POST", "/Binary", content=body, headers={"content-type": "text/html", **(GZIP if packed else {})})
    assert made.status_code == 201, made.text
    id = made.headers["location"].split("/Binary/")[1].split("/")[0]
    assert httpx.get(f"{hapi.base}/Binary/{id}", headers={"accept": "text/html"}).content == page
    httpx.delete(f"{hapi.base}/Binary/{id}").raise_for_status()


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (gzip.compress(b"\x00" * 2_000_000), "gzip", 413),
        (gzip.compress(b"page" * 100)[:-1], "gzip", 400),
        (gzip.compress(b"page" * 100) + b"x", "gzip", 400),
        (gzip.compress(gzip.compress(b"page")), "gzip, gzip", 415),
        (b"page", "br", 415),
    ],
    ids="bomb truncated trailing twice brotli".split(),
)
def test_a_stream_that_is_no_gzip_is_broken_off(as_service: MakeApp, hapi: Hapi, body: bytes, encoding: str, status: int) -> None:
    count = f"{hapi.base}/Binary?_summary=count"
    before = httpx.get(count, headers={"cache-control": "no-cache"}).json()["total"]
    headers = {"content-type": "text/html", "content-encoding": encoding}
    refused(as_service("system/*.cruds")("POST", "/Binary", content=body, headers=headers), status)
    assert httpx.get(count, headers={"cache-control": "no-cache"}).json()["total"] == before


@pytest.mark.parametrize("type", [FHIR_XML, "application/xml", TURTLE, f"{FHIR_JSON}; charset=utf-16"])
def test_other_bodies_are_415_for_everybody(as_user: MakeApp, as_service: MakeApp, type: str) -> None:
    xml = '<Observation xmlns="http://hl7.org/fhir"><status value="final"/></Observation>'
    for app in (as_user("wanda", "patient/*.cruds", sees="w"), as_service("system/*.cruds")):
        refused(app("POST", "/Observation", content=xml, headers={"content-type": type}), 415)


def test_forms_and_resources_may_come_compressed(as_user: MakeApp, amy: App, hapi: Hapi) -> None:
    form = {"content-type": "application/x-www-form-urlencoded", **GZIP}
    found = amy("POST", "/Observation/_search", content=gzip.compress(b"code=2339-0&_count=1"), headers=form)
    assert found.json()["entry"][0]["resource"]["subject"] == {"reference": "Patient/pat-a"}
    code = {"coding": [{"system": "http://loinc.org", "code": "8867-4"}], "text": canary("w")}
    body = {"resourceType": "Observation", "status": "final", "code": code, "subject": {"reference": "Patient/pat-w"}}
    wanda = as_user("wanda", "patient/*.cruds", sees="w")
    made = wanda("POST", "/Observation", content=gzip.compress(json.dumps(body).encode()), headers={"content-type": FHIR_JSON, **GZIP})
    assert made.status_code == 201, made.text
    httpx.delete(f"{hapi.base}/Observation/{made.json()['id']}").raise_for_status()


def test_answers_are_compressed_where_the_settings_say_so(
    gateways: StartGateway, settings: dict[str, Any], as_user: MakeApp, as_service: MakeApp
) -> None:
    at = gateways({**settings, "server": {"compression": "gzip"}})
    for app in (as_user("amy", "patient/*.cruds", sees="a", at=at), as_service("system/*.rs", at=at)):
        for target in ("/Observation?_count=9&subject=Patient/pat-a", "/Patient/pat-a"):
            plain = app.get(target, headers={"accept-encoding": "identity"})
            packed = app.get(target, headers={"accept-encoding": "gzip"})
            assert "content-encoding" not in plain.headers
            assert packed.headers.get("content-encoding") == "gzip" or len(plain.content) < 1024
            assert packed.headers.get("vary") == "Accept-Encoding" or len(plain.content) < 1024
            told = [{**one.json(), "id": None, "meta": None, "link": None} for one in (plain, packed)]
            assert told[0] == told[1]
    refused(as_user("amy", "patient/*.cruds", sees="a", at=at).get("/Patient/pat-b", headers={"accept-encoding": "gzip"}), 404)


def test_without_the_setting_nothing_is_compressed(amy: App) -> None:
    answer = amy.get("/Observation?_count=10", headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in answer.headers
    assert len(answer.content) > 1024
