"""Whose request it is: hosts and prefixes, and what attackers make of them."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any

import pytest

from smart_gateway.gateway.edge.tenancy import Address, Directory, Porch
from smart_gateway.request.limits import Limits
from tests.support.asgi import MemoryLog

PORCH = Porch(limits=Limits(), log=MemoryLog(), trusted_proxies=(ip_network("10.1.0.0/16"),))
CLIENT, PROXY = ("192.0.2.7", 1234), ("10.1.2.3", 1234)
BY_PATH = Directory([(Address(None, b"/fhir/t1"), "t1"), (Address(None, b"/fhir/t10"), "t10"), (Address(None, b"/t2"), "t2")])
MIXED = Directory(
    [
        (Address(b"south.example.org", b"/fhir"), "south"),
        (Address(b"east.example.org", b""), "east"),
        (Address(b"both.example.org", b"/fhir/a"), "a"),
        (Address(b"both.example.org", b"/fhir/b"), "b"),
        (Address(b"[2001:db8::1]", b"/fhir"), "six"),
        (Address(None, b"/fhir/north"), "north"),
    ]
)


def scope(path: str | bytes, *hosts: str | bytes, client: Any = CLIENT, forwarded: tuple[str, ...] = (), **more: Any) -> Mapping[str, Any]:
    raw = path if isinstance(path, bytes) else path.encode()
    headers = [(b"host", host if isinstance(host, bytes) else host.encode()) for host in hosts]
    headers += [(b"x-forwarded-host", host.encode()) for host in forwarded]
    return {"type": "http", "path": raw.decode("latin-1"), "raw_path": raw, "headers": headers, "client": client, **more}


@pytest.mark.parametrize(
    ("path", "whose"),
    [
        ("/fhir/t1", "t1"),
        ("/fhir/t1/", "t1"),
        ("/fhir/t1/Patient/1", "t1"),
        ("/fhir/t10", "t10"),
        ("/fhir/t10/Patient/1", "t10"),
        ("/fhir/t100/Patient/1", None),
        ("/t2/Patient", "t2"),
        # The tenant judges what follows its prefix: dots and encodings are refused there (400), and lead nowhere.
        ("/fhir/t1/../t10/Patient", "t1"),
        ("/fhir/t1/%2e%2e/t10/Patient", "t1"),
        ("/fhir/t1/..%2ft10/Patient", "t1"),
        ("/fhir/t1//t10", "t1"),
        ("/fhir/t1/%2F%2Ft10", "t1"),
        # A prefix that is spelled in another way is none.
        ("/fhir/T1/Patient", None),
        ("/FHIR/t1/Patient", None),
        ("/fhir/%741/Patient", None),
        ("/fhir/t1%2fPatient", None),
        ("/fhir/t1%2FPatient", None),
        ("/fhir%2ft1/Patient", None),
        ("/fhir/t1;/Patient", None),
        ("/fhir/t1;x=1/Patient", None),
        ("/fhir/t1%00/Patient", None),
        ("/fhir/t1 /Patient", None),
        ("/fhir/t1\\Patient", None),
        ("/fhir/t1.", None),
        ("//fhir/t1/Patient", None),
        ("/fhir//t1/Patient", None),
        ("/./fhir/t1/Patient", None),
        ("/x/../fhir/t1/Patient", None),
        ("/fhir/x/../t1/Patient", None),
        ("fhir/t1/Patient", None),
        (b"/fhir/t\xc4\xb1/Patient", None),
        (b"/fhir/t1\xff", None),
        ("http://x/fhir/t1/Patient", None),
        ("*", None),
        ("", None),
        ("/", None),
        ("/fhir", None),
        ("/fhir/", None),
        ("/metadata", None),
        # RFC 9728 metadata is asked for before the path of the resource.
        ("/.well-known/oauth-protected-resource/fhir/t1", "t1"),
        ("/.well-known/oauth-protected-resource/fhir/t10", "t10"),
        ("/.well-known/oauth-protected-resource/fhir/t3", None),
        ("/.well-known/oauth-protected-resource", None),
        ("/.well-known/oauth-protected-resourcefhir/t1", None),
        ("/.well-known/smart-configuration", None),
        ("/fhir/t1/.well-known/smart-configuration", "t1"),
    ],
)
@pytest.mark.parametrize("host", [(), ("gateway",), ("127.0.0.1:8080",)])
def test_prefixes(path: str | bytes, whose: str | None, host: tuple[str, ...]) -> None:
    assert BY_PATH.find(scope(path, *host), PORCH) == whose


@pytest.mark.parametrize(
    ("hosts", "path", "whose"),
    [
        (["south.example.org"], "/fhir/Patient", "south"),
        (["SOUTH.Example.org"], "/fhir/Patient", "south"),
        (["south.example.org:8443"], "/fhir/Patient", "south"),
        (["south.example.org."], "/fhir/Patient", "south"),
        (["south.example.org.:443"], "/fhir/Patient", "south"),
        (["[2001:db8::1]:8080"], "/fhir/Patient", "six"),
        (["[2001:DB8::1]"], "/fhir/Patient", "six"),
        (["both.example.org"], "/fhir/a/Patient", "a"),
        (["both.example.org"], "/fhir/b/Patient", "b"),
        (["both.example.org"], "/fhir/Patient", None),
        (["east.example.org"], "/Patient", "east"),
        (["east.example.org"], "/fhir/north/Patient", "east"),  # whose parser knows no such path
        (["elsewhere.example.org"], "/fhir/north/Patient", "north"),
        ([], "/fhir/north/Patient", "north"),
        # A host that is a tenant's is nobody else's.
        (["south.example.org"], "/fhir/north/Patient", "south"),
        (["both.example.org"], "/fhir/north/Patient", None),
        # Without a host of its own there is no way to a tenant that has one.
        ([], "/fhir/Patient", None),
        (["elsewhere.example.org"], "/fhir/Patient", None),
        (["south.example.org.evil.example"], "/fhir/Patient", None),
        (["evil-south.example.org"], "/fhir/Patient", None),
        (["xsouth.example.org"], "/fhir/Patient", None),
        (["example.org"], "/fhir/Patient", None),
        # What is no host, or several.
        (["south.example.org", "south.example.org"], "/fhir/Patient", None),
        (["south.example.org", "east.example.org"], "/fhir/Patient", None),
        (["east.example.org", "south.example.org"], "/Patient", None),
        (["south.example.org,east.example.org"], "/fhir/Patient", None),
        (["east.example.org@south.example.org"], "/fhir/Patient", None),
        (["south.example.org@east.example.org"], "/fhir/Patient", None),
        (["http://south.example.org"], "/fhir/Patient", None),
        (["south.example.org/"], "/fhir/Patient", None),
        (["south.example.org:"], "/fhir/Patient", None),
        (["south.example.org:80:80"], "/fhir/Patient", None),
        (["south.example.org:http"], "/fhir/Patient", None),
        (["south.example.org:123456"], "/fhir/Patient", None),
        (["south.example.org.."], "/fhir/Patient", None),
        ([".south.example.org"], "/fhir/Patient", None),
        ([" south.example.org"], "/fhir/Patient", None),
        (["south.example.org\t"], "/fhir/Patient", None),
        (["south.example.org\n"], "/fhir/Patient", None),
        (["south%2eexample.org"], "/fhir/Patient", None),
        (["south.example.org\x00"], "/fhir/Patient", None),
        (["[2001:db8::1"], "/fhir/Patient", None),
        (["[2001:db8:0::1]"], "/fhir/Patient", None),
        ([""], "/fhir/Patient", None),
        ([b"so\xc3\xbcth.example.org"], "/fhir/Patient", None),
        ([b"s\xd0\xbeuth.example.org"], "/fhir/Patient", None),  # a Cyrillic letter
        (["?"], "/fhir/north/Patient", None),  # what is no host is not every other host
        (["a", "b"], "/fhir/north/Patient", None),
    ],
)
def test_hosts(hosts: list[str | bytes], path: str, whose: str | None) -> None:
    assert MIXED.find(scope(path, *hosts), PORCH) == whose


@pytest.mark.parametrize(
    ("client", "hosts", "forwarded", "whose"),
    [
        (PROXY, ["inner"], ("south.example.org",), "south"),
        (PROXY, ["inner"], ("South.example.org:443",), "south"),
        (PROXY, ["east.example.org"], ("south.example.org",), "south"),
        (PROXY, ["south.example.org"], (), "south"),
        (PROXY, [], ("south.example.org",), "south"),
        (PROXY, ["south.example.org"], ("south.example.org", "south.example.org"), None),
        (PROXY, ["south.example.org"], ("east.example.org, south.example.org",), None),
        (PROXY, ["south.example.org"], ("",), None),
        (PROXY, ["south.example.org"], ("elsewhere.example.org",), None),
        # Nobody else's word counts.
        (CLIENT, ["inner"], ("south.example.org",), None),
        (CLIENT, ["south.example.org"], ("east.example.org",), "south"),
        (CLIENT, ["south.example.org"], ("x", "y"), "south"),
        (("::ffff:10.1.2.3", 1), ["inner"], ("south.example.org",), None),
        (None, ["inner"], ("south.example.org",), None),
        (("", 0), ["inner"], ("south.example.org",), None),
    ],
)
def test_forwarded_hosts(client: Any, hosts: list[str], forwarded: tuple[str, ...], whose: str | None) -> None:
    assert MIXED.find(scope("/fhir/Patient", *hosts, client=client, forwarded=forwarded), PORCH) == whose


@pytest.mark.parametrize("header", ["x-original-url", "x-rewrite-url", "x-forwarded-prefix", "x-forwarded-path", "forwarded", "x-host"])
def test_other_headers_say_nothing(header: str) -> None:
    asked = dict(scope("/fhir/Patient", "inner", client=PROXY))
    asked["headers"] = [*asked["headers"], (header.encode(), b"south.example.org"), (header.encode(), b"/fhir/north")]
    assert MIXED.find(asked, PORCH) is None


def test_a_server_without_raw_paths_and_a_mount() -> None:
    bare = dict(scope("/fhir/t1/Patient"))
    del bare["raw_path"]
    assert BY_PATH.find(bare, PORCH) == "t1"
    assert BY_PATH.find({**bare, "path": "/fhir/t1/a b"}, PORCH) is None
    mounted = {**scope("/t1/Patient"), "root_path": "/fhir"}
    assert BY_PATH.find(mounted, PORCH) == "t1"


def test_nobody_is_at_home_where_there_is_nobody() -> None:
    nobody: Directory[str] = Directory([])
    assert nobody.find(scope("/fhir/Patient", "x"), PORCH) is None
