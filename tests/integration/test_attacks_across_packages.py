"""Two tenants of one real gateway with as much in common as can be (FHIR server, issuer, audience, keys, Redis), behind listeners with
and without TLS: what one of them opens must not be opened by way of another."""

from __future__ import annotations

import hashlib
import json
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

import httpx
import pytest
import yaml

from tests.integration.app import ids, link, refused
from tests.integration.records import EVERYBODY, PATIENTS, canary
from tests.integration.servers.gateway import Gateway, StartGateway
from tests.integration.servers.hapi import Hapi
from tests.integration.servers.machine import free_port
from tests.integration.servers.redis import has_redis, start_redis
from tests.support.certificates import Certified, authority, trusting
from tests.support.issuer import Posted, ScriptedIssuer, json_answer, serve

AUDIENCE = "https://one-audience.example.org"
ROOT, NEW_ROOT = authority("Tenants CA"), authority("New CA")
APP, LAB, STRANGER = (ROOT.issue(name) for name in ("App", "Lab", "Stranger"))
PROXY, OFFICE = "127.0.0.9", "127.0.0.5"  # where connections come from
NAMES = ("north", "south")
HOOK = """
    from smart_gateway import Amendment, Refusal

    async def judge(principal):
        said = principal.claims.get("hook_says")
        if said == "refuse":
            return Refusal("Not today.")
        if said == "fail":
            raise RuntimeError("canary-of-the-hook")
        if said == "rubbish":
            return {"limit": []}
        if said == "widen":
            return Amendment(scopes="user/*.cruds system/*.cruds", fhir_user="Practitioner/prac-1")
        if said == "limit":
            return Amendment(limit=["user/Observation.rs?status=preliminary"], facts={"patients": ["pat-a"]})
        return Amendment(facts={"patients": ["pat-a"]})
"""
GLASS = "__break-glass"
WHY = {"x_break_glass_reason": "Unconscious", "x_purpose_of_use": "BTG"}
USER = {"fhirUser": "Practitioner/prac-1", "patient": ..., "sub": "doc", "client_id": "app"}


@dataclass(frozen=True)
class House:
    """The gateway and how to ask it: at a tenant, by a listener, with a certificate, from an address."""

    gateway: Gateway
    issuer: ScriptedIssuer
    folder: Path
    ports: Mapping[str, int]

    def token(self, scope: str = "user/*.rs", **claims: Any) -> str:
        """As the issuer of both tenants signs it."""
        said = {**USER, **claims}
        return self.issuer.token(None, None, time.time(), AUDIENCE, scope=scope, **said)

    def origin(self, listener: str) -> str:
        scheme = "https" if listener == "secure" else "http"
        return f"{scheme}://127.0.0.1:{self.ports[listener]}"

    def ask(
        self,
        tenant: str,
        target: str,
        token: str | None = None,
        *,
        method: str = "GET",
        listener: str = "",
        shown: Certified | None = None,
        by: Certified = ROOT,
        source: str | None = None,
        **headers: str,
    ) -> httpx.Response:
        """One request; ``target`` is below the tenant's base, or a link of any tenant, which is taken to this one."""
        verify: ssl.SSLContext | bool = trusting(by, shown, self.folder) if listener == "secure" else True
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            named["authorization"] = f"Bearer {token}"
        for name in NAMES:
            target = target.removeprefix(f"{self.gateway.base}/{name}")
        transport = httpx.HTTPTransport(verify=verify, local_address=source, trust_env=False)
        with httpx.Client(transport=transport, timeout=60) as client:
            return client.request(method, f"{self.origin(listener)}/fhir/{tenant}{target}", headers=named)


def names_of(answer: httpx.Response) -> set[str]:
    """Whose records are in an answer."""
    return {patient for patient in PATIENTS if canary(patient) in answer.text}


def policies() -> dict[str, dict[str, Any]]:
    glass = {"scope": GLASS, "lifts": ["users", "patients"], "purposes": ["BTG"], "fhir_user": ["Practitioner"]}
    north = {
        "users": {"Practitioner": "everything"},
        "patients": {"from_claim": "hook.patients"},
        "break_glass": glass,
        "clients": {
            "app": {"role": "system", "certificates": [{"sha256": hashlib.sha256(APP.der).hexdigest()}]},
            "other": {"role": "system"},
            "lab": {
                "role": "system",
                "registered_scopes": ["system/Patient.rs"],
                "certificates": [{"sha256": hashlib.sha256(LAB.der).hexdigest()}],
            },
            "office": {"networks": [f"{OFFICE}/32", "10.0.0.0/8"]},
            "seldom": {"requests_per_minute": 3},
        },
    }
    return {"north": north, "south": {"users": {"Practitioner": "everything"}}}


@pytest.fixture(scope="module")
def issuer() -> Iterator[ScriptedIssuer]:
    with serve(ScriptedIssuer()) as made:
        yield made


@pytest.fixture(scope="module")
def asked() -> Iterator[ScriptedIssuer]:
    """Introspects for both tenants: the same opaque token is another user's, by which of them asks."""

    def judged(posted: Posted) -> Any:
        if posted.form["token"] != "one-opaque-token":
            return json_answer({"active": False})
        patient = "pat-a" if "bm9ydGg" in posted.headers["authorization"] else "pat-b"
        said = {"active": True, "aud": AUDIENCE, "exp": int(time.time()) + 3600, "client_id": "app", "sub": "s"}
        return json_answer({**said, "scope": "patient/*.rs", "patient": patient})

    with serve(ScriptedIssuer()) as made:
        made.endpoints["/introspect"] = judged
        yield made


@pytest.fixture(scope="module")
def redis(work: Path) -> Iterator[str | None]:
    """The URL of a Redis, where there is one."""
    server = start_redis(work) if has_redis() else None
    yield None if server is None else server.url
    if server is not None:
        server.stop()


@pytest.fixture(scope="module")
def house(
    gateways: StartGateway,
    hapi: Hapi,
    issuer: ScriptedIssuer,
    asked: ScriptedIssuer,
    redis: str | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> House:
    folder = tmp_path_factory.mktemp("house")
    (folder / "across_hooks.py").write_text(dedent(HOOK))
    ROOT.issue("Server").write(folder, "server")
    (folder / "ca.pem").write_bytes(ROOT.pem)
    tls = {"certificate": str(folder / "server.pem"), "key": str(folder / "server.key"), "client_ca": str(folder / "ca.pem")}
    ports = {"secure": free_port(), "outer": free_port()}
    listeners = [
        {
            "name": "secure",
            "listen": f"127.0.0.1:{ports['secure']}",
            "tls": {**tls, "client_certificates": "optional"},
            "certificate": {"missing": "limit", "unknown": "reject"},
            "token": {"missing": "ignore", "unknown": "reject"},
            "limit": ["user/Organization.rs"],
        },
        {
            "name": "outer",
            "listen": f"127.0.0.1:{ports['outer']}",
            "certificate": {"missing": "limit", "unknown": "limit"},
            "limit": ["user/Observation.rs?status=preliminary"],
        },
    ]
    server: dict[str, Any] = {
        "listeners": listeners,
        "sealing": {"keys": ["k" * 40]},
        "trusted_proxies": [f"{PROXY}/32"],
        "explain": True,
    }
    if redis is not None:
        (folder / "redis.url").write_text(redis)
        server["shared_cache"] = {"redis": {"url": {"from_file": str(folder / "redis.url")}, "timeout": "2s"}}
    trusted = {"issuer": issuer.issuer, "jwks_uri": issuer.jwks_uri, "algorithms": ["RS256"], "audiences": [AUDIENCE]}

    def tenant(name: str, policy: dict[str, Any]) -> dict[str, Any]:
        asking = {"client_id": name, "client_secret": "test-only", "url": f"{asked.issuer}/introspect"}
        opaque = {"issuer": asked.issuer, "mode": "introspection", "audiences": [AUDIENCE], "introspection": {**asking, "opaque": True}}
        return {
            "name": name,
            "path": f"/{name}",
            "upstream": {"url": hapi.base, "fhir_version": "R4"},
            "issuers": [trusted, opaque],
            "policy": policy,
            "hooks": {"principal": "across_hooks:judge", "timeout": "300ms"},
        }

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        gateway = gateways({"server": server, "tenants": [tenant(name, policy) for name, policy in policies().items()]})
    return House(gateway, issuer, folder, {**ports, "": gateway.address[1]})


# -- sealed pages ----------------------------------------------------------------------------------------------------------------------


def test_a_page_opens_for_whom_and_where_it_was_made(house: House) -> None:
    """Each time the same link, and one thing that is another."""
    mine = house.token("user/Observation.rs")
    found = house.ask("north", "/Observation?_count=2&status=final", mine)
    following = link(found, "next")
    assert following is not None
    assert names_of(found) == {"a"}, "the hook's patients bound north"
    for _ in range(2):
        again = house.ask("north", following, mine)
        assert again.status_code == 200
        assert names_of(again) <= {"a"}
    same_but_newer = house.token("user/Observation.rs", jti="newer", iat=int(time.time()) - 5)
    assert house.ask("north", following, same_but_newer).status_code == 200
    others: list[tuple[str, str, dict[str, Any]]] = [
        ("south", mine, {}),
        ("north", house.token("user/Observation.rs", client_id="other"), {}),
        ("north", house.token("user/Observation.rs", sub="nurse"), {}),
        ("north", house.token("user/Observation.rs", fhirUser="Practitioner/prac-2"), {}),
        ("north", house.token("user/Observation.rs user/Patient.rs"), {}),
        ("north", house.token(f"user/Observation.rs {GLASS}"), {}),
        ("north", house.token(f"user/Observation.rs {GLASS}"), WHY),
        ("north", house.token("user/Observation.rs", patient="pat-b"), {}),
        ("north", house.token("user/Observation.rs", hook_says="refuse"), {}),
    ]
    for tenant, token, headers in others:
        answer = house.ask(tenant, following, token, **headers)
        assert not names_of(refused(answer, 403) and answer)


@pytest.mark.parametrize(("says", "listener"), [("limit", ""), (None, "outer")])
def test_a_page_is_judged_by_the_hook_and_the_listener_of_now(house: House, says: str | None, listener: str) -> None:
    """The limit leaves what is preliminary: of the page of final ones nothing, and of one with parts of resources not even a look."""
    for more, status in (("", 200), ("&_elements=code", 403)):
        found = house.ask("north", f"/Observation?_count=2&status=final{more}", house.token("user/Observation.rs"))
        following = link(found, "next")
        assert following is not None
        claims = {} if says is None else {"hook_says": says}
        later = house.ask("north", following, house.token("user/Observation.rs", **claims), listener=listener)
        assert (later.status_code, names_of(later)) == (status, set())
        assert status != 200 or ids(later) == []


# -- hooks -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("says", "status"), [("refuse", 403), ("fail", 503), ("rubbish", 503), ("widen", 503)])
def test_a_hook_that_says_no_or_nonsense_lets_nobody_in_by_any_door(house: House, says: str, status: int) -> None:
    token = house.token(f"user/*.rs {GLASS}", hook_says=says)
    for tenant in NAMES:
        for more in ({}, {"listener": "outer"}, {"listener": "secure", "shown": APP}, WHY):
            answer = house.ask(tenant, "/Observation?status=preliminary", token, **more)  # type: ignore[arg-type]
            if (tenant, more.get("listener")) != ("south", "secure"):
                refused(answer, status)
            assert answer.status_code >= 400
            assert "canary-of-the-hook" not in answer.text
            (event,) = house.gateway.events_of(answer.headers["x-request-id"])
            assert event["instance"] == tenant
            assert event["subject"] == "doc" or answer.status_code == 401
    assert "canary-of-the-hook" not in house.gateway.messages()


def test_what_the_hook_finds_out_bounds_each_tenant_by_its_own_policy(house: House) -> None:
    for tenant, seen in (("north", {"a"}), ("south", set(EVERYBODY))):
        token = house.token("user/Patient.rs", hook={"patients": ["pat-b"]}, **{"hook.patients": ["pat-c"]})
        assert names_of(house.ask(tenant, "/Patient?_count=50", token)) == seen
        assert house.ask(tenant, "/Patient/pat-b", token).status_code == (404 if tenant == "north" else 200)


# -- tokens of both ----------------------------------------------------------------------------------------------------------------------


def test_the_same_opaque_token_is_at_each_tenant_what_its_issuer_says_to_it(house: House) -> None:
    for _ in range(2):  # asked about, then remembered, in Redis too
        for tenant, own, other in (("north", "pat-a", "pat-b"), ("south", "pat-b", "pat-a")):
            assert house.ask(tenant, f"/Patient/{own}", "one-opaque-token").status_code == 200
            refused(house.ask(tenant, f"/Patient/{other}", "one-opaque-token"), 404)


def test_one_tenant_counts_nothing_of_the_other(house: House) -> None:
    often, other = house.token("user/Patient.rs", client_id="seldom"), house.token("user/Patient.rs")
    statuses = [house.ask("north", "/Patient/pat-a", often).status_code for _ in range(5)]
    assert statuses[0] == 200
    assert statuses[-1] == 429
    assert {house.ask("south", "/Patient/pat-a", often).status_code for _ in range(5)} == {200}
    assert house.ask("north", "/Patient/pat-a", other).status_code == 200


# -- exports ---------------------------------------------------------------------------------------------------------------------------


def test_an_export_is_had_by_its_client_at_its_tenant(house: House) -> None:
    mine = {"client_id": "app", "sub": "backend", "fhirUser": ..., "patient": ...}
    token = house.token("system/Patient.rs", **mine)
    begun = house.ask("south", "/Patient/$export?_type=Patient", token, prefer="respond-async")
    assert begun.status_code == 202, begun.text
    status = begun.headers["content-location"]
    end = time.monotonic() + 60
    while (done := house.ask("south", status, token)).status_code == 202 and time.monotonic() < end:
        time.sleep(0.1)
    (file,) = [one["url"] for one in done.json()["output"]][:1]
    assert house.ask("south", file, token).status_code == 200
    foreign = [
        ("north", token, ""),
        ("south", house.token("system/Patient.rs", **{**mine, "client_id": "other"}), ""),
        ("south", house.token("system/Patient.rs", **{**mine, "sub": "somebody"}), ""),
        ("south", house.token("system/Observation.rs", **mine), ""),
        ("south", house.token("user/*.cruds", **mine), ""),
        ("south", token, "outer"),
        ("south", house.token("system/Patient.rs", **mine, hook_says="limit"), ""),
    ]
    for tenant, other, listener in foreign:
        for method, url in (("GET", status), ("DELETE", status), ("GET", file), ("HEAD", file)):
            answer = house.ask(tenant, url, other, method=method, listener=listener)
            assert (answer.status_code, names_of(answer)) == (403, set()), (tenant, listener, method)
    assert house.ask("south", file, token).status_code == 200


# -- emergencies -----------------------------------------------------------------------------------------------------------------------


def test_an_emergency_is_of_one_tenant_and_lifts_no_listener(house: House) -> None:
    token = house.token(f"user/Patient.rs {GLASS}")
    refused(house.ask("north", "/Patient/pat-b", token), 404)
    opened = house.ask("north", "/Patient/pat-b", token, **WHY)
    assert (opened.status_code, names_of(opened)) == (200, {"b"})
    events = house.gateway.events_of(opened.headers["x-request-id"])
    assert {(event["instance"], event["break_glass"]["granted"]) for event in events} == {("north", True)}
    refused(house.ask("north", "/Patient/pat-b", token, listener="outer", **WHY), 403, "break-glass-not-allowed")
    refused(house.ask("north", "/Patient/pat-b", token, listener="secure", **WHY), 403, "break-glass-not-allowed")
    assert house.ask("north", "/Patient/pat-b", token, listener="secure", shown=APP, **WHY).status_code == 200
    elsewhere = house.ask("south", "/Patient/pat-b", token, **WHY)
    assert elsewhere.status_code == 200, "an ordinary request there"
    assert [event["break_glass"] for event in house.gateway.events_of(elsewhere.headers["x-request-id"])] == [None]
    found = house.ask("north", "/Patient?_count=1", token, **WHY)
    following = link(found, "next")
    assert following is not None
    assert house.ask("north", following, token, **WHY).status_code == 200
    refused(house.ask("north", following, token), 403)
    refused(house.ask("south", following, token, **WHY), 403)
    refused(house.ask("north", following, token, listener="outer", **WHY), 403)


# -- certificates ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tenant", "shown", "client", "status"),
    [
        ("north", APP, "app", 200),
        ("north", LAB, "app", 401),
        ("north", APP, "other", 401),
        ("north", STRANGER, "app", 401),
        ("north", None, "app", 403),
        ("north", LAB, None, 200),
        ("north", APP, None, 403),
        ("north", None, None, 401),
        ("south", APP, "app", 401),
        ("south", LAB, None, 401),
        ("south", None, "app", 403),
    ],
)
def test_a_certificate_counts_at_the_tenant_that_knows_it_and_for_its_own_client(
    house: House, tenant: str, shown: Certified | None, client: str | None, status: int
) -> None:
    token = None if client is None else house.token("user/Patient.rs", client_id=client)
    answer = house.ask(tenant, "/Patient/pat-a", token, listener="secure", shown=shown)
    assert answer.status_code == status, answer.text
    (event,) = house.gateway.events_of(answer.headers["x-request-id"])
    assert event["instance"] == tenant


# -- addresses -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "told", "status"),
    [
        (OFFICE, None, 200),
        (OFFICE, "192.0.2.1", 200),
        (None, None, 403),
        (None, "10.1.2.3", 403),
        (None, OFFICE, 403),
        (PROXY, None, 403),
        (PROXY, "10.1.2.3", 200),
        (PROXY, "192.0.2.1, 10.1.2.3", 200),
        (PROXY, f"10.1.2.3, {PROXY}", 200),
        (PROXY, "10.1.2.3, 192.0.2.1", 403),
        (PROXY, "10.1.2.3, rubbish", 403),
        (PROXY, "10.1.2.3:99", 403),
        (PROXY, "010.1.2.3", 403),
        (PROXY, "", 403),
    ],
)
def test_networks_go_by_the_nearest_address_of_no_trusted_proxy(house: House, source: str | None, told: str | None, status: int) -> None:
    token = house.token("user/Patient.rs", client_id="office")
    more = {} if told is None else {"x_forwarded_for": told}
    answer = house.ask("north", "/Patient/pat-a", token, source=source, **more)
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize("host", ["north.example.org", "x, y", ""])
def test_a_trusted_proxys_host_leads_to_no_other_tenant(house: House, host: str) -> None:
    answer = house.ask("south", "/Patient/pat-b", house.token(), source=PROXY, x_forwarded_host=host, x_forwarded_prefix="/fhir/north")
    (event,) = house.gateway.events_of(answer.headers["x-request-id"])
    assert (answer.status_code, event["instance"]) in {(200, "south"), (404, None)}


# -- what runs beside --------------------------------------------------------------------------------------------------------------------


def test_management_knows_tenants_by_their_names_alone(house: House) -> None:
    paths = {"north": 200, "south": 200, "North": 404, "north/": 404, "": 404, "north%00": 404, "*": 404}
    for name, status in paths.items():
        assert httpx.get(f"{house.gateway.management}/readyz/{name}", trust_env=False).status_code == status, name
    token = house.token("user/Patient.rs")
    for tenant, status in (("north", 200), ("south", 200), ("North", 400), ("", 400), (None, 400), ("x", 400)):
        asked = {"method": "GET", "target": "/Patient/pat-b", "token": token, "tenant": tenant}
        answer = httpx.post(f"{house.gateway.management}/explain", json=asked, trust_env=False)
        assert answer.status_code == status, (tenant, answer.text)
        assert token not in answer.text


def rewrite(gateway: Gateway, settings: Mapping[str, Any]) -> None:
    other = gateway.config.with_suffix(".new")
    other.write_text(json.dumps(settings))
    other.replace(gateway.config)


def test_a_refused_reload_changes_nothing_and_a_listener_that_goes_lets_nobody_in(house: House) -> None:
    """The last test here: the gateway is not what it was after it."""
    gateway, token = house.gateway, house.token("user/Patient.rs")
    written = yaml.safe_load(gateway.config.read_text())
    new_app = NEW_ROOT.issue("App")

    def by_new_authority() -> int:
        try:
            return house.ask("north", "/Patient/pat-a", token, listener="secure", shown=new_app).status_code
        except httpx.TransportError:
            return 0

    assert by_new_authority() == 0
    (house.folder / "both.pem").write_bytes(ROOT.pem + NEW_ROOT.pem)
    (house.folder / "directory.ndjson").mkdir()
    wider = json.loads(json.dumps(written))
    wider["server"]["listeners"][0]["tls"]["client_ca"] = str(house.folder / "both.pem")
    broken = json.loads(json.dumps(wider))
    broken["tenants"][1]["policy"]["audit"] = {"sinks": [{"file": str(house.folder / "directory.ndjson")}]}
    rewrite(gateway, broken)
    gateway.running.wait_until(lambda: "the old ones stay in force" in gateway.messages(), 30)
    assert by_new_authority() == 0
    rewrite(gateway, wider)
    gateway.running.wait_until(lambda: by_new_authority() == 401, 30)
    assert house.ask("north", "/Patient/pat-a", token, listener="outer").status_code == 403
    alone = json.loads(json.dumps(written))
    del alone["server"]["listeners"]
    rewrite(gateway, alone)
    gateway.running.wait_until(lambda: house.ask("north", "/Patient/pat-a", token, listener="outer").status_code == 404, 30)
    assert house.ask("north", "/Patient/pat-a", token, listener="secure", shown=APP).status_code == 404
    assert house.ask("north", "/Patient/pat-a", token).status_code == 200
