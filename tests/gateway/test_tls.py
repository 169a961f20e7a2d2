"""TLS that the gateway speaks itself, over real sockets: whose certificate a request comes with, and when there is none."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from smart_gateway.cli.serving import server
from smart_gateway.gateway.callers.identifying import present
from smart_gateway.gateway.edge.lookout import Lookout
from smart_gateway.gateway.edge.protocol import strict_protocol
from smart_gateway.gateway.edge.tls import ClientCertificates, ServedTls, TlsFiles, certificate_shown, tls_context
from smart_gateway.gateway.exchange import Exchange
from tests.support.asgi import Front, ScriptedUpstream, observation, snapshot
from tests.support.certificates import Certified, authority, self_signed, trusting

CA, OTHER_CA = authority(), authority("Other CA")
SERVER = CA.issue("gateway")
ANNE = CA.issue("anne")


def files(folder: Path, asked: str = "optional", *, ca: Certified = CA, serves: Certified = SERVER) -> TlsFiles:
    certificate, key = serves.write(folder, "server")
    (folder / "ca.pem").write_bytes(ca.pem)
    return TlsFiles(certificate, key, folder / "ca.pem", ClientCertificates(asked))


class Listening:
    """A gateway with TLS on loopback; ``shown`` are the certificates that its requests came with."""

    def __init__(self, port: int, folder: Path) -> None:
        self.port = port
        self.folder = folder
        self.shown: list[bytes | None] = []

    async def get(self, client: Certified | None, *, by: Certified = CA, times: int = 1) -> int:
        """The status of the last of ``times`` requests on one connection; raises httpx.TransportError where there is no connection."""
        context = trusting(by, client, self.folder)
        headers = {"authorization": "Bearer t", "host": "fhir.example.org"}
        async with httpx.AsyncClient(verify=context, trust_env=False) as http:
            answers = [await http.get(f"https://127.0.0.1:{self.port}/fhir/Observation/o1", headers=headers) for _ in range(times)]
        return answers[-1].status_code


@asynccontextmanager
async def listening(folder: Path, tls: ServedTls, **choices: Any) -> AsyncIterator[Listening]:
    front = Front(ScriptedUpstream(observation()), "patient/Observation.r", **choices)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        exchange = Exchange(scope, receive, send, front.snapshot, Lookout())
        found.shown.append(present(exchange, front.snapshot).certificate)
        await front.gateway(scope, receive, send)

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        found = Listening(listener.getsockname()[1], folder)
        serving = server(app, strict_protocol(lambda: front.snapshot), lifespan=False, tls=tls.context)
        serving.lifespan = serving.config.lifespan_class(serving.config)
        await serving.startup([listener])
        try:
            yield found
        finally:
            await serving.shutdown([listener])


async def test_the_certificate_that_a_client_shows_comes_with_each_of_its_requests(tmp_path: Path) -> None:
    async with listening(tmp_path, ServedTls(files(tmp_path))) as gateway:
        assert await gateway.get(ANNE, times=2) == 200
        assert await gateway.get(None) == 200
        assert gateway.shown == [ANNE.der, ANNE.der, None]


async def test_no_certificate_is_asked_for_unless_the_settings_say_so(tmp_path: Path) -> None:
    async with listening(tmp_path, ServedTls(files(tmp_path, "none"))) as gateway:
        assert await gateway.get(ANNE) == 200
        assert gateway.shown == [None]


async def test_a_client_without_a_certificate_is_not_let_in_where_one_is_required(tmp_path: Path) -> None:
    async with listening(tmp_path, ServedTls(files(tmp_path, "required"))) as gateway:
        assert await gateway.get(ANNE) == 200
        with pytest.raises(httpx.TransportError):
            await gateway.get(None)
        assert gateway.shown == [ANNE.der]


@pytest.mark.parametrize("asked", ["optional", "required"])
async def test_a_certificate_of_another_authority_ends_the_connection(tmp_path: Path, asked: str) -> None:
    async with listening(tmp_path, ServedTls(files(tmp_path, asked))) as gateway:
        for stranger in (OTHER_CA.issue("anne"), self_signed("anne"), CA.issue("anne", ended=True)):
            with pytest.raises(httpx.TransportError):
                await gateway.get(stranger)
        assert gateway.shown == []


async def test_a_self_signed_certificate_is_its_own_authority(tmp_path: Path) -> None:
    """RFC 8705 section 2.2, the self-signed certificate method: who is known is listed."""
    known, stranger = self_signed("robot"), self_signed("robot")
    async with listening(tmp_path, ServedTls(files(tmp_path, ca=known))) as gateway:
        assert await gateway.get(known) == 200
        with pytest.raises(httpx.TransportError):
            await gateway.get(stranger)
        assert gateway.shown == [known.der]


async def test_certificate_and_authorities_are_renewed_while_it_listens(tmp_path: Path) -> None:
    tls = ServedTls(files(tmp_path))
    async with listening(tmp_path, tls) as gateway:
        assert await gateway.get(ANNE) == 200
        tls.renew(tls_context(files(tmp_path, ca=OTHER_CA, serves=OTHER_CA.issue("gateway"))))
        assert await gateway.get(OTHER_CA.issue("ben"), by=OTHER_CA) == 200
        with pytest.raises(httpx.TransportError):
            await gateway.get(ANNE, by=OTHER_CA)
        with pytest.raises(httpx.TransportError):
            await gateway.get(None, by=CA)


async def test_files_that_do_not_fit_leave_the_old_ones_in_force(tmp_path: Path) -> None:
    tls = ServedTls(good := files(tmp_path))
    async with listening(tmp_path, tls) as gateway:
        good.key.write_bytes(OTHER_CA.key_pem)
        with pytest.raises(OSError, match="KEY_VALUES_MISMATCH"):
            tls.renew(tls_context(good))
        assert await gateway.get(ANNE) == 200


async def test_no_session_is_resumed(tmp_path: Path) -> None:
    async with listening(tmp_path, ServedTls(files(tmp_path))) as gateway:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = trusting(CA, ANNE, tmp_path)
            context.maximum_version = version
            first = await asyncio.to_thread(handshake, gateway.port, context, None)
            assert await asyncio.to_thread(handshake, gateway.port, context, first.session) is not first
            assert not first.session_reused


def handshake(port: int, context: ssl.SSLContext, session: ssl.SSLSession | None) -> ssl.SSLSocket:
    """A connection that has been used and closed, as it was."""
    with (
        socket.create_connection(("127.0.0.1", port)) as raw,
        context.wrap_socket(raw, server_hostname="127.0.0.1", session=session) as tls,
    ):
        tls.sendall(b"GET /fhir/metadata HTTP/1.0\r\n\r\n")
        while tls.recv(4096):
            pass
        assert not tls.session_reused
        return tls


async def test_tls_before_1_2_is_not_spoken(tmp_path: Path) -> None:
    assert tls_context(files(tmp_path)).minimum_version is ssl.TLSVersion.TLSv1_2


async def test_plain_http_is_not_spoken_where_tls_is(tmp_path: Path) -> None:
    async with listening(tmp_path, ServedTls(files(tmp_path))) as gateway, httpx.AsyncClient(trust_env=False) as http:
        with pytest.raises(httpx.TransportError):
            await http.get(f"http://127.0.0.1:{gateway.port}/fhir/metadata")


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_a_password(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

    made = files(tmp_path)
    made.key.write_bytes(SERVER.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    with pytest.raises(OSError, match="encrypted"):
        tls_context(made)


PEM = ANNE.pem.decode()


@pytest.mark.parametrize(
    ("extensions", "shown"),
    [
        (None, None),
        ({}, None),
        ({"tls": None}, None),
        ({"tls": {"client_cert_chain": None}}, None),
        ({"tls": {"client_cert_chain": []}}, None),
        ({"tls": {"client_cert_chain": [PEM, CA.pem.decode()], "client_cert_error": None}}, ANNE.der),
        ({"tls": {"client_cert_chain": (PEM,)}}, ANNE.der),
        ({"tls": {"client_cert_chain": [PEM], "client_cert_error": "self-signed certificate"}}, None),
    ],
)
def test_the_tls_extension_of_any_asgi_server_is_read(extensions: Any, shown: bytes | None) -> None:
    """Spec: ASGI TLS Extension."""
    assert certificate_shown(extensions) == shown


def test_the_context_does_without_authorities_only_where_nobody_is_asked(tmp_path: Path) -> None:
    certificate, key = SERVER.write(tmp_path, "server")
    assert tls_context(TlsFiles(certificate, key)).verify_mode is ssl.CERT_NONE
    with pytest.raises(OSError, match="client_ca"):
        tls_context(TlsFiles(certificate, key, None, ClientCertificates.OPTIONAL))


def test_the_snapshot_believes_no_header_unless_told_to() -> None:
    assert snapshot().certificate_header is None
