"""Certificates in headers, as Envoy, nginx and Traefik document them; and whatever else could stand there."""

from __future__ import annotations

import base64
import hashlib
from contextlib import suppress
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smart_gateway.tokens.terminators import MalformedCertificate, Terminator, read_forwarded
from tests.support.certificates import authority

CA = authority()
ROBOT, EVE = CA.issue("robot"), CA.issue("eve")
PEM = ROBOT.pem.decode()
ESCAPED = quote(PEM, safe="")  # as nginx and Envoy write it: everything but letters, digits and -._~
EVES = quote(EVE.pem.decode(), safe="")
HASH = hashlib.sha256(ROBOT.der).hexdigest()
BARE = base64.b64encode(ROBOT.der).decode()
BY = "By=spiffe://cluster.example/ns/x/sa/gateway"
CERT = f'Cert="{ESCAPED}"'


def read(value: str, terminator: Terminator) -> bytes | None:
    return read_forwarded(value.encode("latin-1"), terminator)


GOOD = [
    # The examples of Envoy's page, with a certificate of ours.
    (Terminator.ENVOY, f'{BY};Hash={HASH};Cert="{ESCAPED}";Subject="CN=robot,O=smart-test";URI=spiffe://x/y;DNS=a.example;DNS=b.example'),
    (Terminator.ENVOY, f"Hash={HASH};{CERT}"),
    (Terminator.ENVOY, CERT),
    (Terminator.ENVOY, f"cert={ESCAPED}"),
    (Terminator.ENVOY, f"HASH={HASH.upper()};CERT={ESCAPED}"),
    (Terminator.ENVOY, f'Subject="CN=\\"a\\";Cert=x,O=y";{CERT}'),
    (Terminator.ENVOY, f'Hash={HASH};{CERT};Chain="{ESCAPED}{quote(CA.pem.decode(), safe="")}"'),
    (Terminator.ENVOY, f'By=a;By=b;{CERT};URI="";DNS='),
    (Terminator.NGINX, ESCAPED),
    (Terminator.NGINX, quote(PEM.replace("\n", "\r\n"), safe="")),
    (Terminator.NGINX, quote(PEM.rstrip("\n"), safe="/")),
    (Terminator.TRAEFIK, BARE),
    (Terminator.TRAEFIK, f"{BARE},{base64.b64encode(CA.der).decode()}"),
    (Terminator.TRAEFIK, quote_plus(BARE)),  # before 2.9 or so: "escaped"
]


@pytest.mark.parametrize(("terminator", "value"), GOOD, ids=[f"{n}-{case[0].value}" for n, case in enumerate(GOOD)])
def test_the_certificate_is_read(terminator: Terminator, value: str) -> None:
    assert read(value, terminator) == ROBOT.der


NONE = [(Terminator.ENVOY, ""), (Terminator.NGINX, ""), (Terminator.TRAEFIK, ""), (Terminator.ENVOY, BY), (Terminator.ENVOY, f"{BY};DNS=x")]


@pytest.mark.parametrize(("terminator", "value"), NONE)
def test_no_certificate_was_shown(terminator: Terminator, value: str) -> None:
    assert read(value, terminator) is None


BAD = {
    "two elements": (Terminator.ENVOY, f"{CERT},{CERT}"),
    "the client's own element before the proxy's": (
        Terminator.ENVOY,
        f'Hash=x;Cert="{EVES}",{BY};Hash={HASH};{CERT}',
    ),
    "an element and a comma": (Terminator.ENVOY, f"{CERT},"),
    "a comma in front": (Terminator.ENVOY, f",{CERT}"),
    "a semicolon at the end": (Terminator.ENVOY, f"{CERT};"),
    "two certificates": (Terminator.ENVOY, f"{CERT};{CERT}"),
    "two certificates in other case": (Terminator.ENVOY, f"{CERT};cert={ESCAPED}"),
    "a certificate smuggled in by a name": (Terminator.ENVOY, f'Hash={HASH};URI=x;Cert="{EVES}"'),
    "two hashes": (Terminator.ENVOY, f"Hash={HASH};{CERT};Hash={HASH}"),
    "another hash": (Terminator.ENVOY, f"Hash={'0' * 64};{CERT}"),
    "an empty hash": (Terminator.ENVOY, f"Hash=;{CERT}"),
    "a hash without the certificate": (Terminator.ENVOY, f"{BY};Hash={HASH}"),
    "a subject without the certificate": (Terminator.ENVOY, f'{BY};Subject="CN=robot"'),
    "a chain without the certificate": (Terminator.ENVOY, f'Chain="{ESCAPED}"'),
    "an open quote": (Terminator.ENVOY, f'Cert="{ESCAPED}'),
    "a quote in the middle": (Terminator.ENVOY, f'Cert={ESCAPED}"'),
    "words behind a quote": (Terminator.ENVOY, f'Cert="{ESCAPED}"x'),
    "no equals sign": (Terminator.ENVOY, "Cert"),
    "a space before the name": (Terminator.ENVOY, f"Hash={HASH}; {CERT}"),
    "an empty certificate": (Terminator.ENVOY, 'Cert=""'),
    "a bare certificate from Envoy": (Terminator.ENVOY, f"Cert={BARE}"),
    "the same as nginx": (Terminator.ENVOY, ESCAPED),
    "unescaped": (Terminator.NGINX, PEM.replace("\n", " ")),
    "tabs, as $ssl_client_cert has them": (Terminator.NGINX, PEM.replace("\n", "\n\t")),
    "without its delimiters": (Terminator.NGINX, BARE),
    "escaped twice": (Terminator.NGINX, quote(ESCAPED, safe="")),
    "a broken escape": (Terminator.NGINX, ESCAPED + "%0"),
    "another broken escape": (Terminator.NGINX, ESCAPED.replace("%0A", "%0G", 1)),
    "two PEM certificates": (Terminator.NGINX, ESCAPED * 2),
    "text before": (Terminator.NGINX, "x" + ESCAPED),
    "text after": (Terminator.NGINX, ESCAPED + "x"),
    "a key": (Terminator.NGINX, quote(ROBOT.key_pem.decode(), safe="")),
    "a public key": (Terminator.NGINX, quote(PEM.replace("CERTIFICATE", "PUBLIC KEY"), safe="")),
    "cut off": (Terminator.NGINX, ESCAPED[:-100]),
    "cut off within": (Terminator.NGINX, quote(PEM.replace(PEM.split("\n")[2] + "\n", ""), safe="")),
    "(null)": (Terminator.NGINX, "(null)"),
    "a minus": (Terminator.NGINX, "-"),
    "an Envoy element for nginx": (Terminator.NGINX, CERT),
    "PEM for Traefik": (Terminator.TRAEFIK, ESCAPED),
    "a plus that became a space": (Terminator.TRAEFIK, BARE.replace("+", " ") if "+" in BARE else BARE + " "),
    "base64url": (Terminator.TRAEFIK, BARE.replace("+", "-").replace("/", "_") + "_"),
    "an empty first": (Terminator.TRAEFIK, f",{BARE}"),
    "bytes behind the certificate": (Terminator.TRAEFIK, base64.b64encode(ROBOT.der + b"x").decode()),
    "no base64": (Terminator.TRAEFIK, "ä" * 40),
    "base64 of anything": (Terminator.TRAEFIK, base64.b64encode(b"x" * 300).decode()),
}


@pytest.mark.parametrize(("terminator", "value"), BAD.values(), ids=BAD.keys())
def test_what_the_terminator_does_not_write_is_not_believed(terminator: Terminator, value: str) -> None:
    with pytest.raises(MalformedCertificate):
        read(value, terminator)


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")  # of odd certificates, which may be shown
@given(value=st.binary(max_size=400), terminator=st.sampled_from(Terminator))
def test_whatever_stands_there_is_a_certificate_or_none_or_refused(value: bytes, terminator: Terminator) -> None:
    with suppress(MalformedCertificate):
        assert read_forwarded(value, terminator) is None


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")  # of odd certificates, which may be shown
@example(at=50, character="B")  # a version that there is not
@given(at=st.integers(0, len(ESCAPED) - 1), character=st.characters(min_codepoint=33, max_codepoint=126))
def test_one_changed_character_never_makes_another_certificate_of_the_hash(at: int, character: str) -> None:
    changed = ESCAPED[:at] + character + ESCAPED[at + 1 :]
    with suppress(MalformedCertificate):
        assert read(f'Hash={HASH};Cert="{changed}"', Terminator.ENVOY) == ROBOT.der
