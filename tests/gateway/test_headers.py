"""Which headers pass, who the client is, and how requests are named."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest

from smart_gateway.gateway.edge.headers import RequestId, name_request, to_client, to_upstream
from tests.support.asgi import PUBLIC, UPSTREAM, snapshot
from tests.support.deciding import BASES

PROXIES = (ip_network("10.1.0.0/16"), ip_network("::1/128"))


def scope(peer: str | None, **headers: str) -> dict[str, Any]:
    named = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return {"client": None if peer is None else (peer, 1), "headers": named}


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.7", None, "192.0.2.7"),
        ("192.0.2.7", "203.0.113.9", "192.0.2.7"),
        ("10.1.0.5", "203.0.113.9", "203.0.113.9"),
        ("10.1.0.5", "198.51.100.1, 203.0.113.9", "203.0.113.9"),
        ("10.1.0.5", "203.0.113.9, 10.1.0.6", "203.0.113.9"),
        ("10.1.0.5", "10.1.0.7, 10.1.0.6", "10.1.0.7"),
        ("10.1.0.5", "203.0.113.9, nonsense", None),
        ("10.1.0.5", "203.0.113.9:4711", None),
        ("10.1.0.5", "unknown", None),
        ("10.1.0.5", ", 203.0.113.9", "203.0.113.9"),
        ("10.1.0.5", "203.0.113.9,", None),
        ("10.1.0.5", "", "10.1.0.5"),
        ("10.1.0.5", None, "10.1.0.5"),
        ("::1", "203.0.113.9", "203.0.113.9"),
        ("testclient", "203.0.113.9", None),
        (None, "203.0.113.9", None),
    ],
)
def test_the_clients_address_is_told_by_trusted_proxies_only(peer: str | None, forwarded: str | None, client: str | None) -> None:
    given = {} if forwarded is None else {"x_forwarded_for": forwarded}
    sent = dict(to_upstream(scope(peer, **given), snapshot(trusted_proxies=PROXIES), RequestId("7")))
    assert sent.get(b"x-forwarded-for") == (None if client is None else client.encode())


def test_the_clients_authorization_is_no_header_that_passes() -> None:
    assert b"authorization" not in dict(to_upstream(scope("192.0.2.7", authorization="Bearer secret"), snapshot(), RequestId("7")))


def test_headers_pass_by_allow_list_and_only_when_they_are_harmless() -> None:
    asked = scope("192.0.2.7", accept_language="de", user_agent="x\xe9", traceparent="00-1", tracestate="a\x7f", cookie="a=b", host="evil")
    sent = to_upstream(asked, snapshot(), RequestId("7"))
    assert dict(sent) == {
        b"host": b"fhir.example.org",
        b"x-request-id": b"7",
        b"accept-encoding": b"identity",
        b"x-forwarded-for": b"192.0.2.7",
        b"accept-language": b"de",
        b"traceparent": b"00-1",
    }
    assert len(sent) == len(dict(sent))


def test_a_name_comes_from_us_or_from_a_trusted_proxy() -> None:
    ours = snapshot(trusted_proxies=PROXIES)
    assert name_request(scope("10.1.0.5", x_request_id="proxy-1"), ours) == RequestId("proxy-1")
    assert name_request(scope("192.0.2.7", x_request_id="mine"), ours) == RequestId("0000000000000001", b"mine")
    assert name_request(scope("10.1.0.5", x_request_id="a" * 65), ours) == RequestId("0000000000000002")
    assert name_request(scope(None), ours) == RequestId("0000000000000003")


def test_answers_keep_what_is_listed_and_locations_in_the_public_base() -> None:
    headers = [
        (b"content-type", b"a/b"),
        (b"set-cookie", b"a=b"),
        (b"server", b"HAPI"),
        (b"www-authenticate", b"Basic"),
        (b"location", f"{UPSTREAM}/Patient/1/_history/2".encode()),
        (b"content-location", b"http://10.0.0.7/x"),
    ]
    assert to_client(headers, BASES) == [(b"content-type", b"a/b"), (b"location", f"{PUBLIC}/Patient/1/_history/2".encode())]
