"""Requests that are refused by the request line, headers, media type or size: status, code, and nothing reaches HAPI (semantics 1, 10)."""

from __future__ import annotations

import socket
import uuid

import pytest

from tests.integration.app import FHIR_JSON, App, MakeApp, refused
from tests.integration.servers.gateway import Gateway
from tests.integration.servers.keycloak import Keycloak


@pytest.fixture
def amy(as_user: MakeApp) -> App:
    return as_user("amy", "patient/*.cruds", sees="a")


@pytest.fixture
def token(keycloak: Keycloak) -> str:
    return keycloak.user_token("amy", "patient/*.cruds")


def raw(gateway: Gateway, request: bytes) -> tuple[int, bytes]:
    """Writes bytes and reads until the gateway closes; the status of the first answer, and everything."""
    with socket.create_connection(gateway.address, timeout=30) as connection:
        connection.sendall(request)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    assert answer.startswith(b"HTTP/1.1 "), answer[:200]
    return int(answer[9:12]), answer


def get(target: str, token: str, *lines: str) -> bytes:
    """A GET of exactly this target, with further header lines."""
    head = [f"GET {target} HTTP/1.1", "Host: gateway", f"Authorization: Bearer {token}", "Connection: close", *lines]
    return "\r\n".join([*head, "", ""]).encode("latin-1")


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/fhir/Patient/pat-a", 200),
        ("/fhir/Patient/pat%2Da", 400),
        ("/fhir/Patient/pat-a?", 200),
        ("/fhir/Patient%2Fpat-a", 400),
        ("/fhir/Patient%2fpat-a", 400),
        ("/fhir/Patient%5Cpat-a", 400),
        ("/fhir/Patient\\pat-a", 400),
        ("/fhir/Patient//pat-a", 400),
        ("/fhir//Patient/pat-a", 400),
        ("/fhir/Patient/pat-a/", 400),
        ("/fhir/./Patient/pat-a", 400),
        ("/fhir/../fhir/Patient/pat-a", 400),
        ("/fhir/%2e%2e/fhir/Patient/pat-a", 400),
        ("/fhir/Patient/%2e%2e", 400),
        ("/fhir/Patient/pat-a;x=1", 400),
        ("/fhir/Patient/pat-a%00", 400),
        ("/fhir/Patient/pat-a%0d%0aX:y", 400),
        ("/fhir/Patient/pat-a%", 400),
        ("/fhir/Patient/pat-a%2", 400),
        ("/fhir/Patient/pat-a%zz", 400),
        ("/fhir/Patient/pat-a#x", 400),
        ("/fhir/Patient/pat-a?_format=json?x", 400),
        ("/fhir/Patient/pat_a", 400),
        ("/fhir/Patient/" + "a" * 65, 400),
        ("http://elsewhere.example/fhir/Patient/pat-a", 400),
        ("/fhir/Nonsense/1", 404),
        ("/fhir/patient/pat-a", 400),
        ("/fhir/PATIENT", 400),
        ("/fhir/Patient/pat-a/nonsense", 404),
        ("/fhir/Patient/pat-a/_history/1/2", 404),
        ("/fhir/Bundle/../Patient", 400),
        ("/fhirx/Patient/pat-a", 404),
        ("/Patient/pat-a", 404),
        ("/", 404),
        ("/livez", 404),
        ("/readyz", 404),
        ("/metrics", 404),
        ("/fhir/admin/reset", 404),
        ("/admin/reset", 404),
        ("/fhir/Patient/pat-a/$everything", 200),
        ("/fhir/Patient/pat-b/$everything", 404),
        ("/fhir/Patient/$nonsense", 403),
        ("/fhir/$export", 403),
        ("/fhir/Patient?_getpages=1", 403),
        ("/fhir/Observation?" + "&".join(["code=1"] * 1001), 400),
        ("/fhir/Observation?code=" + "x" * 8200, 414),
        ("/fhir/Patient/pat-a?access_token=x", 400),
        ("/fhir/Observation?access_token=x", 400),
        ("/fhir/Observation?_format=json&_format=json", 400),
    ],
)
def test_a_target_is_read_one_way_or_refused(gateway: Gateway, token: str, target: str, status: int) -> None:
    got, answer = raw(gateway, get(target, token))
    assert got == status, answer[:600]
    assert b"canary-" not in answer or status == 200
    assert b"Traceback" not in answer


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (("Accept: application/fhir+json",), 200),
        (("Accept: text/html",), 406),
        (("Accept: image/png",), 406),
        (("Accept: application/fhir+json;fhirVersion=5.0",), 406),
        (("Authorization: Bearer x",), 400),
        (("Host: other",), 400),
        (("Content-Type: a/b", "Content-Type: c/d"), 400),
        (("If-None-Exist: a", "If-None-Exist: b"), 400),
        (("X-HTTP-Method-Override: DELETE",), 200),
        (("X-HTTP-Method: DELETE",), 200),
        (("X-Forwarded-Host: evil.example", "X-Forwarded-Proto: https", "Forwarded: host=evil.example"), 200),
        (("X-Original-URI: /fhir/Patient/pat-b", "X-Rewrite-URL: /fhir/Patient/pat-b"), 200),
        (("X-Request-Partition-IDs: 1", "X-Cascade: delete", "X-Security-Context: x"), 200),
        (("Cookie: a=b", "X-FHIR-Patient: pat-b"), 200),
        (("X-Padding: " + "x" * 70_000,), 431),
        (("Prefer: respond-async",), 403),
    ],
)
def test_headers(gateway: Gateway, token: str, lines: tuple[str, ...], status: int) -> None:
    target = "/fhir/Patient?_id=pat-a" if "Prefer: respond-async" in lines else "/fhir/Patient/pat-a"
    got, answer = raw(gateway, get(target, token, *lines))
    assert got == status, answer[:600]
    assert b"evil.example" not in answer
    assert b"pat-b" not in answer


def test_the_upstream_still_has_what_an_override_asked_to_delete(gateway: Gateway, token: str, as_service: MakeApp) -> None:
    raw(gateway, get("/fhir/Observation/lab-0-chart-a", token, "X-HTTP-Method-Override: DELETE", "X-HTTP-Method: DELETE"))
    assert as_service("system/*.rs").get("/Observation/lab-0-chart-a").status_code == 200


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("TRACE", "/Patient/pat-a", 405),
        ("CONNECT", "/Patient/pat-a", 405),
        ("PROPFIND", "/Patient/pat-a", 405),
        ("MKCOL", "/Patient/pat-a", 405),
        ("NONSENSE", "/Patient/pat-a", 405),
        ("PUT", "/metadata", 405),
        ("DELETE", "/metadata", 405),
        ("POST", "/Patient/pat-a", 405),
        ("DELETE", "/Patient/_search", 405),
        ("PUT", "/Patient/pat-a/_history/1", 405),
    ],
)
def test_a_method_outside_the_grammar_is_405_with_allow(amy: App, method: str, target: str, status: int) -> None:
    answer = amy(method, target)
    refused(answer, status)
    assert "GET" in answer.headers["allow"] or "POST" in answer.headers["allow"]
    assert method not in answer.headers["allow"].split(", ")


@pytest.mark.parametrize(
    ("authorization", "status", "error"),
    [
        (None, 401, None),
        ("Basic eDp5", 401, None),
        ("Bearer", 401, "invalid_"),
        ("Bearer nonsense", 401, "invalid_token"),
        ("Bearer a.b.c", 401, "invalid_token"),
        ("Bearer a b", 401, "invalid_"),
    ],
)
def test_without_a_good_token_there_is_a_challenge(
    gateway: Gateway, app: MakeApp, authorization: str | None, status: int, error: str | None
) -> None:
    answer = app(None).get("/Patient/pat-a", headers={"authorization": authorization} if authorization else {})
    outcome = refused(answer, status)
    challenge = answer.headers["www-authenticate"]
    assert challenge.startswith("Bearer ")
    assert "resource_metadata=" in challenge
    assert ("error=" in challenge) == (error is not None), challenge
    assert error is None or error in challenge
    assert outcome["issue"][0]["code"] == "login"


def test_no_token_is_asked_for_before_the_path_is_known(app: MakeApp) -> None:
    """Order of judgement: request line, path and headers; then the token."""
    refused(app(None).get("/Nonsense"), 404)
    refused(app(None)("TRACE", "/Patient/1"), 405)
    refused(app(None).get("/Patient/1"), 401)


def test_a_token_that_is_too_long_is_431(gateway: Gateway) -> None:
    got, answer = raw(gateway, get("/fhir/Patient/pat-a", "x" * 17_000))
    assert got == 431, answer[:300]


def test_a_body_that_says_it_is_too_large_is_413_before_it_is_read(gateway: Gateway, token: str) -> None:
    head = (
        f"POST /fhir/Observation HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {token}\r\nContent-Type: {FHIR_JSON}\r\nConnection: close\r\n"
    )
    got, answer = raw(gateway, f"{head}Content-Length: {17 * 1024 * 1024}\r\n\r\n".encode() + b"{")
    assert got == 413, answer[:300]


@pytest.mark.parametrize(
    "framing",
    [
        "Content-Length: 2\r\nContent-Length: 3\r\n",
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: +2\r\n",
    ],
)
def test_framing_in_doubt_is_refused(gateway: Gateway, token: str, framing: str) -> None:
    head = (
        f"POST /fhir/Observation HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {token}\r\nContent-Type: {FHIR_JSON}\r\nConnection: close\r\n"
    )
    got, _ = raw(gateway, f"{head}{framing}\r\n{{}}".encode())
    assert got == 400


@pytest.mark.parametrize(
    "request_line", [b"GET /fhir/metadata HTTP/1.1", b"\x16\x03\x01\x02\x00", b"GET", b"\r\n\r\n\r\n", b"GET  HTTP/9.9"]
)
def test_any_bytes_get_an_answer_or_a_closed_door(gateway: Gateway, request_line: bytes) -> None:
    with socket.create_connection(gateway.address, timeout=30) as connection:
        connection.sendall(request_line + b"\r\nHost: g\r\nConnection: close\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    assert not answer or answer.startswith(b"HTTP/1.1 ")
    assert b"Traceback" not in answer
    assert b" 500 " not in answer.split(b"\r\n", 1)[0]


def test_a_refusal_never_says_what_was_asked(amy: App) -> None:
    secret = f"secret-{uuid.uuid4()}"
    for target in (f"/Observation?code={secret}&nonsense={secret}", f"/Patient/{secret}", f"/{secret}", f"/Patient?name:exact={secret}"):
        answer = amy.get(target)
        if answer.status_code != 200:
            assert secret not in answer.text, target


def test_every_refusal_has_a_request_id(amy: App, gateway: Gateway) -> None:
    answer = amy.get("/Patient/pat-b")
    request_id = answer.headers["x-request-id"]
    assert request_id in answer.text
    assert len(gateway.events_of(request_id)) == 1
