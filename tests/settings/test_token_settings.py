"""Settings of introspection, client authentication, the shared cache and the deny list: what is refused, and what they become."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat, PublicFormat

from smart_gateway.errors import SettingsError
from smart_gateway.settings.building.snapshot import build, build_issuers
from smart_gateway.settings.findings import Severity
from smart_gateway.settings.loading import examine, load_settings
from smart_gateway.settings.model import Settings
from smart_gateway.settings.reloading import SettingsFile
from smart_gateway.tokens.client_authentication import ClientMethod
from smart_gateway.tokens.redis_cache import RedisCache
from smart_gateway.tokens.shared_cache import LocalCache

SEAL = "0123456789012345678901234567890123456789"
ENVIRONMENT = {"SEAL": SEAL, "SECRET": "s3cr3t", "TOKEN": "abc.def", "SPACE": "a b", "REDIS": "redis://127.0.0.1:6379/0"}
HEAD = """server:
  public_url: https://fhir.example.org/fhir
  sealing: {keys: [{from_env: SEAL}]}
  %s
upstream: {url: http://127.0.0.1:8090/fhir, fhir_version: R4}
issuers:
%s
%s
"""
PLAIN = "  - issuer: https://idp.example.org"
KEY = ec.generate_private_key(ec.SECP384R1())


def pem(key: Any, password: bytes | None = None) -> bytes:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with keys of every sort, and lists of denied tokens."""
    (tmp_path / "good.pem").write_bytes(pem(KEY))
    (tmp_path / "locked.pem").write_bytes(pem(KEY, b"password"))
    (tmp_path / "weak.pem").write_bytes(pem(rsa.generate_private_key(65537, 1024)))
    (tmp_path / "curve.pem").write_bytes(pem(ec.generate_private_key(ec.SECP256K1())))
    (tmp_path / "public.pem").write_bytes(KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    (tmp_path / "oct.json").write_text('{"kty": "oct", "k": "AAAA"}')
    (tmp_path / "large.pem").write_bytes(b"x" * 70_000)
    (tmp_path / "deny.yaml").write_text("jti: [t-1, t-2]\nsubjects: [eve]\n")
    for name, text in DENIED.items():
        (tmp_path / name).write_text(text)
    return tmp_path


DENIED = {
    "empty.yaml": "",
    "list.yaml": "[t-1]",
    "null.yaml": "jti:",
    "number.yaml": "jti: [1]",
    "more.yaml": "jit: [t-1]",
    "twice.yaml": "jti: [a]\njti: [b]",
    "broken.yaml": "jti: [a",
}


def file(place: Path, issuers: str = PLAIN, server: str = "", more: str = "") -> Path:
    path = place / "gateway.yaml"
    path.write_text(HEAD % (server, issuers, more))
    return path


def asking(keys: str, issuer: str = "https://idp.example.org") -> str:
    return f"  - {{issuer: {issuer}, mode: introspection, introspection: {{{keys}}}}}"


def load(place: Path, **parts: str) -> Settings:
    return load_settings(file(place, **parts), environment=ENVIRONMENT)


BASIC = "client_id: gateway, client_secret: {from_env: SECRET}"
AT = "issuers[0].introspection"
REFUSED = [
    ("  - {issuer: https://idp.example.org, mode: introspection}", AT, "needs to know who the gateway is"),
    (f"  - {{issuer: https://idp.example.org, introspection: {{{BASIC}}}}}", AT, "only with mode: introspection"),
    (asking(""), AT, "needs client_id with client_secret or key_file, or bearer"),
    (asking("client_id: gateway"), AT, "needs client_id with client_secret"),
    (asking("client_secret: {from_env: SECRET}"), f"{AT}.client_id", "is missing"),
    (asking("key_file: good.pem"), f"{AT}.client_id", "is missing"),
    (asking("client_id: gateway, auth: post"), f"{AT}.auth", "post needs client_secret"),
    (asking(f"{BASIC}, auth: private_key_jwt"), f"{AT}.auth", "private_key_jwt needs key_file"),
    (asking(f"{BASIC}, auth: private_key_jwt"), f"{AT}.client_secret", "has no place with private_key_jwt"),
    (asking(f"{BASIC}, key_file: good.pem"), f"{AT}.key_file", "has no place with basic"),
    (asking(f"{BASIC}, bearer: {{from_env: TOKEN}}"), f"{AT}.bearer", "has no place with basic"),
    (asking(f"{BASIC}, key_id: k"), f"{AT}.key_id", "only with a key_file"),
    (asking(f"{BASIC}, assertion_audience: x"), f"{AT}.assertion_audience", "only with a key_file"),
    (asking(f"{BASIC}, auth: none"), f"{AT}.auth", "must be basic"),
    (asking("bearer: {from_env: SPACE}"), f"{AT}.bearer", "no bearer token has"),
    (asking("client_id: g, key_file: missing.pem"), f"{AT}.key_file", "cannot be read: No such file"),
    (asking('client_id: g, key_file: "\\0"'), f"{AT}.key_file", "not a file name"),
    (asking("client_id: g, key_file: locked.pem"), f"{AT}.key_file", "locked by a password"),
    (asking("client_id: g, key_file: weak.pem"), f"{AT}.key_file", "below 2048 bits"),
    (asking("client_id: g, key_file: curve.pem"), f"{AT}.key_file", "no assertion is signed with"),
    (asking("client_id: g, key_file: public.pem"), f"{AT}.key_file", "no private key"),
    (asking("client_id: g, key_file: oct.json"), f"{AT}.key_file", "no usable private JWK"),
    (asking("client_id: g, key_file: large.pem"), f"{AT}.key_file", "larger than 64 KiB"),
    (asking(f"{BASIC}, url: http://idp.example.org/introspect"), f"{AT}.url", "plain http to an address that is not loopback"),
    (asking(f"{BASIC}, url: ftp://idp.example.org/introspect"), f"{AT}.url", "must be an absolute http or https URL"),
    (asking(f"{BASIC}, cache: 30"), f"{AT}.cache", "must be a duration with its unit"),
    (f"{asking(BASIC)}\n{asking(BASIC, 'https://b.example')}", "issuers[1].introspection.opaque", "one issuer only"),
]


@pytest.mark.parametrize(("issuers", "key", "says"), REFUSED)
def test_what_cannot_ask_is_refused_at_start(place: Path, issuers: str, key: str, says: str) -> None:
    findings = examine(file(place, issuers), ENVIRONMENT, proxying=True).findings
    assert [f for f in findings if f.key == key and says in f.text and f.severity is Severity.ERROR], [str(f) for f in findings]
    assert not any("s3cr3t" in str(finding) for finding in findings)


def test_issuers_that_are_asked_and_issuers_of_jwts_side_by_side(place: Path) -> None:
    issuers = f"{PLAIN}\n{asking(BASIC, 'https://b.example')}\n{asking(BASIC + ', opaque: false', 'https://c.example')}"
    first, second, third = build_issuers(load(place, issuers=issuers))
    assert first.introspection is None
    assert second.introspection is not None
    assert second.introspection.opaque
    assert third.introspection is not None
    assert not third.introspection.opaque


@pytest.mark.parametrize(
    ("keys", "method", "secret"),
    [
        (BASIC, ClientMethod.BASIC, "s3cr3t"),
        (f"{BASIC}, auth: post", ClientMethod.POST, "s3cr3t"),
        ("client_id: gateway, key_file: good.pem, key_id: k-1", ClientMethod.PRIVATE_KEY_JWT, None),
        ("bearer: {from_env: TOKEN}", ClientMethod.BEARER, "abc.def"),
    ],
)
def test_the_way_follows_from_what_is_given(place: Path, keys: str, method: ClientMethod, secret: str | None) -> None:
    (issuer,) = build_issuers(load(place, issuers=asking(keys)))
    assert issuer.introspection is not None
    authentication = issuer.introspection.authentication
    assert (authentication.method, authentication.secret) == (method, secret)
    assert "s3cr3t" not in repr(issuer)
    assert "abc.def" not in repr(issuer)


def test_the_times_are_those_of_the_documentation_unless_they_are_said(place: Path) -> None:
    (usual,) = build_issuers(load(place, issuers=asking(BASIC)))
    (other,) = build_issuers(load(place, issuers=asking(f"{BASIC}, cache: 0s, negative_cache: 1m, signed: true, url: https://a.example/i")))
    assert usual.introspection is not None
    assert other.introspection is not None
    assert (usual.introspection.cache, usual.introspection.negative_cache, usual.introspection.signed) == (30.0, 5.0, False)
    assert (other.introspection.cache, other.introspection.negative_cache, other.introspection.signed) == (0.0, 60.0, True)
    assert other.introspection.url == "https://a.example/i"


@pytest.mark.parametrize("name", [*DENIED, "missing.yaml", '"\\0"'])
def test_a_deny_list_that_cannot_be_read_without_doubt_is_refused(place: Path, name: str) -> None:
    findings = examine(file(place, more=f"revocation: {{file: {name}}}"), ENVIRONMENT, proxying=True).findings
    assert [finding.key for finding in findings if finding.severity is Severity.ERROR] == ["revocation.file"]


async def test_the_deny_list_of_the_file_counts_beside_that_of_the_settings(place: Path) -> None:
    built = build(load(place, more="revocation: {file: deny.yaml, jti: [t-3], subjects: [mallory]}"), recording=False)
    assert built.verifier.deny_list.token_ids == {"t-1", "t-2", "t-3"}
    assert built.verifier.deny_list.subjects == {"eve", "mallory"}
    await built.aclose()


async def test_a_change_of_the_deny_file_is_a_change_of_the_settings(place: Path) -> None:
    settings = SettingsFile(file(place, more="revocation: {file: deny.yaml}"), ENVIRONMENT)
    first, _ = settings.read()
    assert not settings.changed()
    built = build(first, recording=False)
    (place / "deny.yaml").write_text("jti: [t-1, t-2, t-9]\n")
    assert settings.changed()
    second, _ = settings.read()
    again = build(second, recording=False, previous=built)
    assert again.verifier is built.verifier, "its keys and what it verified are kept"
    assert "t-9" not in again.verifier.deny_list.token_ids, "what was read counts once all of it is in force"
    again.enter()
    assert again.verifier.deny_list.token_ids == {"t-1", "t-2", "t-9"}
    (place / "deny.yaml").write_text("")
    assert settings.changed()
    with pytest.raises(SettingsError):
        settings.read()
    (place / "deny.yaml").write_text("jti: [t-10]\n")
    assert settings.changed(), "it is looked at also after it was refused"
    await built.aclose(again)
    await again.aclose()


async def test_a_change_of_the_key_that_signs_assertions_is_a_change_of_the_issuer(place: Path) -> None:
    path = file(place, asking("client_id: gateway, key_file: good.pem"))
    settings = SettingsFile(path, ENVIRONMENT)
    first, _ = settings.read()
    built = build(first, recording=False)
    assert build(first, recording=False, previous=built).verifier is built.verifier
    (place / "good.pem").write_bytes(pem(ec.generate_private_key(ec.SECP384R1())))
    assert settings.changed()
    assert build(settings.read()[0], recording=False, previous=built).verifier is not built.verifier
    await built.aclose()


SHARED = "shared_cache: {redis: {url: {from_env: REDIS}%s}}"


async def test_the_shared_cache_outlives_a_reload(place: Path) -> None:
    plain = load(place)
    local = build(plain, recording=False)
    assert isinstance(local.cache, LocalCache)
    assert build(plain, recording=False, previous=local).cache is local.cache
    assert build(plain, recording=False, previous=local).verifier is local.verifier
    shared = load(place, server=SHARED % "")
    redis = build(shared, recording=False, previous=local)
    assert isinstance(redis.cache, RedisCache)
    assert (redis.cache.config.timeout, redis.cache.config.prefix) == (0.2, "smart-gateway:")
    assert redis.cache.config.sealing_keys == (SEAL.encode(),)
    assert redis.verifier is not local.verifier, "it goes by the other cache"
    assert build(shared, recording=False, previous=redis).cache is redis.cache
    assert build(load(place, server=SHARED % ", prefix: x"), recording=False, previous=redis).cache is not redis.cache
    await redis.aclose()
    await local.aclose()


@pytest.mark.parametrize("url", ["http://127.0.0.1:6379", "redis://", "127.0.0.1:6379", "redis://127.0.0.1:99999999", "rediss:///0"])
def test_what_is_no_address_of_redis_is_refused(place: Path, url: str) -> None:
    findings = examine(file(place, server=SHARED % ""), {**ENVIRONMENT, "REDIS": url}, proxying=True).findings
    assert [finding.key for finding in findings] == ["server.shared_cache.redis.url"]
    assert "99999999" not in str(findings[0])


def test_redis_in_the_clear_over_a_network_is_warned_about(place: Path) -> None:
    findings = examine(file(place, server=SHARED % ""), {**ENVIRONMENT, "REDIS": "redis://:pw@cache.example:6379"}, proxying=True).findings
    assert [(finding.key, finding.severity) for finding in findings] == [("server.shared_cache.redis.url", Severity.WARNING)]
    assert "pw" not in str(findings[0])


def test_without_the_extra_redis_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smart_gateway.settings.sections.shared_cache.find_spec", lambda name: None)
    findings = examine(file(place, server=SHARED % ""), ENVIRONMENT, proxying=True).findings
    assert [finding.text for finding in findings] == ["needs the package redis: pip install smart-gateway[redis]"]
