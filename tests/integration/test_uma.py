"""UMA 2.0 with real Keycloak's authorization services: from a request without a token by ticket and RPT to the record, and no further."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import httpx
import pytest

from smart_gateway.cli import main
from tests.integration.app import App, MakeApp, ids, refused
from tests.integration.servers.gateway import Gateway, StartGateway
from tests.integration.servers.keycloak import Keycloak

REALM = "permitted"
SECRET, OTHER_SECRET = "gateway-test-only", "other-test-only"
GRANT = "urn:ietf:params:oauth:grant-type:uma-ticket"
AS_URI = "http://127.0.0.1:8999/where-clients-ask"  # what clients are told; the gateway itself asks the issuer
SCOPES = {
    "read": ["patient/*.rs"],
    "labs": ["patient/Observation.rs?category=laboratory"],
    "write": ["patient/*.cud"],
}
USERS = {"house": ["physician"], "lab": ["laboratory"], "eve": []}


class Server:
    """The realm as its users see it."""

    def __init__(self, keycloak: Keycloak) -> None:
        self.issuer = keycloak.import_realm(realm())
        self._token = f"{self.issuer}/protocol/openid-connect/token"
        self._http = httpx.Client(timeout=60, trust_env=False)

    def access_token(self, user: str) -> str:
        """A token of the app that says who the user is, and permits nothing."""
        form = {"grant_type": "password", "client_id": "app", "username": user, "password": f"{user}-test-only"}
        return str(self._posted(form).json()["access_token"])

    def rpt(self, user: str, **asked: str) -> str:
        """The token that the server gives for a ticket (or ``audience`` and ``permission``)."""
        answer = self._ask(user, **asked)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    def refusal(self, user: str, **asked: str) -> dict[str, Any]:
        """What it says to who may not."""
        answer = self._ask(user, **asked)
        assert answer.status_code == 403, answer.text
        return dict(answer.json())

    def close(self) -> None:
        self._http.close()

    def _ask(self, user: str, **asked: str) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.access_token(user)}"}
        return self._http.post(self._token, data={"grant_type": GRANT, **asked}, headers=headers)

    def _posted(self, form: dict[str, str]) -> httpx.Response:
        answer = self._http.post(self._token, data=form)
        assert answer.status_code == 200, answer.text
        return answer


def realm() -> dict[str, Any]:
    """Charts of two patients, protected by the gateway; a physician may read that of Anna, the laboratory sees both its own way.

    Keycloak names a chart by its id alone: another server's resource has the same name, and not the same id.
    """
    charts = [_resource(f"chart-pat-{one}", f"Chart of {one}", "read", "labs", "write") for one in "ab"]
    policies = [
        _role("physicians", "physician"),
        _role("laboratories", "laboratory"),
        _permission("physicians read a", ["Chart of a"], ["read"], "physicians"),
        _permission("laboratories see labs", ["Chart of a", "Chart of b"], ["labs"], "laboratories"),
    ]
    others = [_role("physicians", "physician"), _permission("physicians read all", ["Chart of a"], ["read"], "physicians")]
    return {
        "realm": REALM,
        "enabled": True,
        "sslRequired": "none",
        "roles": {"realm": [{"name": "physician"}, {"name": "laboratory"}]},
        "clients": [
            {"clientId": "app", "enabled": True, "publicClient": True, "directAccessGrantsEnabled": True},
            _resource_server("gateway", SECRET, charts, policies),
            _resource_server("other-server", OTHER_SECRET, [_resource("chart-pat-c", "Chart of a", "read")], others),
        ],
        "users": [_user(name, roles) for name, roles in USERS.items()],
    }


def _resource_server(name: str, secret: str, resources: list[Any], policies: list[Any]) -> dict[str, Any]:
    settings = {
        "policyEnforcementMode": "ENFORCING",
        "decisionStrategy": "AFFIRMATIVE",
        "scopes": [{"name": scope} for scope in SCOPES],
        "resources": resources,
        "policies": policies,
    }
    flags = {"enabled": True, "publicClient": False, "serviceAccountsEnabled": True, "authorizationServicesEnabled": True}
    return {"clientId": name, "secret": secret, "authorizationSettings": settings, **flags}


def _resource(id: str, name: str, *scopes: str) -> dict[str, Any]:
    return {"_id": id, "name": name, "ownerManagedAccess": False, "uris": [], "scopes": [{"name": scope} for scope in scopes]}


def _role(name: str, role: str) -> dict[str, Any]:
    config = {"roles": json.dumps([{"id": role, "required": True}])}
    return {"name": name, "type": "role", "logic": "POSITIVE", "decisionStrategy": "UNANIMOUS", "config": config}


def _permission(name: str, resources: list[str], scopes: list[str], policy: str) -> dict[str, Any]:
    config = {"resources": json.dumps(resources), "scopes": json.dumps(scopes), "applyPolicies": json.dumps([policy])}
    return {"name": name, "type": "scope", "logic": "POSITIVE", "decisionStrategy": "AFFIRMATIVE", "config": config}


def _user(name: str, roles: list[str]) -> dict[str, Any]:
    person = {"email": f"{name}@example.org", "firstName": name, "lastName": name}
    return {"username": name, "enabled": True, **person, "realmRoles": roles, "credentials": [_password(name)]}


def _password(name: str) -> dict[str, Any]:
    return {"type": "password", "value": f"{name}-test-only", "temporary": False}


@pytest.fixture(scope="module")
def server(keycloak: Keycloak) -> Any:
    made = Server(keycloak)
    yield made
    made.close()


def uma(server: Server, **more: Any) -> dict[str, Any]:
    """An issuer whose permissions count."""
    client = {"client_id": "gateway", "client_secret": SECRET}
    resources = [{"id": "chart-{patient}", "scopes": SCOPES}]
    settings = {"as_uri": AS_URI, "resources": resources, **client, **more.pop("uma", {})}
    return {"issuer": server.issuer, "mode": "uma", "uma": settings, **more}


@pytest.fixture(scope="module", params=["jwt", "introspection"])
def guarded(request: pytest.FixtureRequest, gateways: StartGateway, settings: dict[str, Any], server: Server) -> Gateway:
    """A gateway that takes permissions from JWTs, and one that asks Keycloak for them."""
    more: dict[str, Any] = {}
    if request.param == "introspection":
        more["introspection"] = {"client_id": "gateway", "client_secret": SECRET}
    return gateways({**settings, "issuers": [uma(server, **more)]})


def ticket_of(response: httpx.Response) -> str:
    """The ticket of a refusal that a UMA client can go on from."""
    refused(response, 401)
    first = response.headers.get_list("www-authenticate")[0]
    match = re.fullmatch(rf'UMA realm="[^"]+", as_uri="{re.escape(AS_URI)}", ticket="([^"]+)"', first)
    assert match is not None, first
    return match[1]


def asked_for(ticket: str) -> list[tuple[str, set[str]]]:
    """What Keycloak's ticket, a JWT that clients can read, is for."""
    payload = ticket.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return [(one["rsid"], set(one["scopes"])) for one in claims["permissions"]]


def test_from_no_token_by_the_ticket_to_the_record(app: MakeApp, guarded: Gateway, server: Server) -> None:
    ticket = ticket_of(app(None, at=guarded).get("/Condition?patient=pat-a"))
    assert asked_for(ticket) == [("chart-pat-a", {"read"})]
    house = app(server.rpt("house", ticket=ticket), sees="a", at=guarded)
    assert house.get("/Patient/pat-a").status_code == 200
    assert ids(house.get("/Condition?patient=pat-a"))
    assert ids(house.get("/Observation"))
    refused(house.get("/Observation/lab-1-chart-b"), 404)
    refused(house.get("/Observation/there-is-no-such"), 404)


def test_the_ticket_is_no_wider_than_the_request(app: MakeApp, guarded: Gateway) -> None:
    nobody = app(None, at=guarded)
    assert asked_for(ticket_of(nobody.get("/Observation?patient=pat-a"))) == [("chart-pat-a", {"read", "labs"})]
    assert asked_for(ticket_of(nobody.get("/Patient/pat-b"))) == [("chart-pat-b", {"read"})]
    assert asked_for(ticket_of(nobody("DELETE", "/Patient/pat-b"))) == [("chart-pat-b", {"write"})]


def test_what_the_server_grants_of_a_ticket_is_what_counts(app: MakeApp, guarded: Gateway, server: Server) -> None:
    ticket = ticket_of(app(None, at=guarded).get("/Observation?patient=pat-a,pat-b"))
    assert asked_for(ticket) == [("chart-pat-a", {"read", "labs"}), ("chart-pat-b", {"read", "labs"})]
    lab = app(server.rpt("lab", ticket=ticket), sees="ab", at=guarded)
    found = lab.get("/Observation?patient=pat-a,pat-b&_count=100")
    categories = [e["resource"]["category"][0]["coding"][0]["code"] for e in found.json()["entry"]]
    assert set(categories) == {"laboratory"}
    assert {e["resource"]["subject"]["reference"] for e in found.json()["entry"]} == {"Patient/pat-a", "Patient/pat-b"}
    refused(lab.get("/Patient/pat-a"), 401, "permission-wanted")
    refused(lab.get("/Observation/vital-1-chart-a"), 404)


def test_who_may_not_gets_no_token_and_stays_outside(app: MakeApp, guarded: Gateway, server: Server) -> None:
    ticket = ticket_of(app(None, at=guarded).get("/Patient/pat-a"))
    assert server.refusal("eve", ticket=ticket)["error"] == "access_denied"
    ticket_of(app(server.access_token("eve"), at=guarded).get("/Patient/pat-a"))


def test_a_token_that_does_not_suffice_gets_a_ticket_for_the_rest(app: MakeApp, guarded: Gateway, server: Server) -> None:
    house = app(server.rpt("house", ticket=_ticket(app, guarded, "/Patient/pat-a")), sees="a", at=guarded)
    ticket = ticket_of(house.get("/Observation?patient=pat-b"))
    assert asked_for(ticket) == [("chart-pat-b", {"read", "labs"})]
    server.refusal("house", ticket=ticket)
    assert asked_for(ticket_of(house("DELETE", "/Patient/pat-a"))) == [("chart-pat-a", {"write"})]


def test_an_access_token_of_the_same_server_permits_nothing(app: MakeApp, guarded: Gateway, server: Server) -> None:
    ticket_of(app(server.access_token("house"), at=guarded).get("/Patient/pat-a"))


def test_the_token_of_another_resource_server_permits_nothing_here(app: MakeApp, guarded: Gateway, server: Server) -> None:
    """Of the same name as a chart here, by an id that would be one."""
    theirs = server.rpt("house", audience="other-server", permission="Chart of a#read")
    one = app(theirs, at=guarded)
    for target in ("/Patient/pat-a", "/Patient/pat-c", "/Observation?patient=pat-c"):
        response = one.get(target)
        refused(response, 401)
        assert 'error="invalid_token"' in response.headers.get_list("www-authenticate")[1]


def test_a_patient_whom_the_server_does_not_know_has_no_ticket(app: MakeApp, guarded: Gateway) -> None:
    """And neither has a request that does not say whose record it means; which of them there are in HAPI makes no difference."""
    nobody = app(None, at=guarded)
    answers = [nobody.get(target) for target in ("/Patient/pat-w", "/Patient/pat-nobody", "/Observation", "/Observation/lab-1-chart-a")]
    for response in answers:
        refused(response, 401, "permission-wanted")
        assert "ticket=" not in response.headers.get_list("www-authenticate")[0]
    assert len({re.sub(r'"request id [^"]*"', "", response.text) for response in answers}) == 1


def test_the_record_of_what_happened_names_the_permission(app: MakeApp, guarded: Gateway, server: Server) -> None:
    house = app(server.rpt("house", ticket=_ticket(app, guarded, "/Patient/pat-a")), sees="a", at=guarded)
    (event,) = guarded.events_of(house.get("/Patient/pat-a").headers["x-request-id"])
    assert (event["rules"], event["client_id"], event["issuer"]) == (["chart-{patient}#read"], "app", server.issuer)
    assert (event["patient"], bool(event["subject"])) == ("pat-a", True)
    (event,) = guarded.events_of(house.get("/Patient/pat-b").headers["x-request-id"])
    assert (event["outcome"], event["code"], event["status"]) == ("deny", "permission-wanted", 401)


def test_a_token_of_permissions_is_none_of_scopes(
    app: MakeApp, gateways: StartGateway, settings: dict[str, Any], server: Server, guarded: Gateway
) -> None:
    """Where the issuer's mode is jwt, its permissions count for nothing."""
    plain = gateways({**settings, "issuers": [{"issuer": server.issuer, "audiences": ["gateway"]}]})
    house = app(server.rpt("house", ticket=_ticket(app, guarded, "/Patient/pat-a")), at=plain)
    refused(house.get("/Patient/pat-a"), 403, "insufficient-scope")
    refused(house.get("/Observation?patient=pat-a"), 403, "insufficient-scope")


def test_tickets_are_limited(app: MakeApp, gateways: StartGateway, settings: dict[str, Any], server: Server) -> None:
    """Two minutes hold four."""
    limited = gateways({**settings, "issuers": [uma(server, uma={"tickets_per_minute": 2})]})
    nobody = app(None, at=limited)
    statuses = [nobody.get("/Patient/pat-a").status_code for _ in range(6)]
    assert set(statuses) == {401, 429}
    assert statuses.count(401) in {2, 3, 4}


def test_a_gateway_that_the_server_does_not_believe_gives_503(
    app: MakeApp, gateways: StartGateway, settings: dict[str, Any], server: Server
) -> None:
    stranger = gateways({**settings, "issuers": [uma(server, uma={"client_secret": "wrong-test-only"})]})
    response = app(None, at=stranger).get("/Patient/pat-a")
    refused(response, 503, "dependency-unavailable")
    assert "retry-after" in response.headers


def test_explain_takes_the_token(app: MakeApp, guarded: Gateway, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    token = server.rpt("house", ticket=_ticket(app, guarded, "/Patient/pat-a"))
    for target, code in (("/Condition?patient=pat-a", 0), ("/Condition?patient=pat-b", 3)):
        assert main(["explain", "--config", str(guarded.config), "--token", token, "--format", "json", "GET", target]) == code
        shown = json.loads(capsys.readouterr().out)
        assert ("chart-{patient}#read" in {ground["rule"] for ground in shown["grounds"]}) or code


def _ticket(app: MakeApp, guarded: Gateway, target: str) -> str:
    nobody: App = app(None, at=guarded)
    return ticket_of(nobody.get(target))


@pytest.mark.parametrize(("secret", "code"), [(SECRET, 0), ("wrong-test-only", 1)])
def test_check_config_finds_out_whether_permissions_can_be_asked_for(
    gateways: StartGateway, settings: dict[str, Any], server: Server, capsys: pytest.CaptureFixture[str], secret: str, code: int
) -> None:
    made = gateways({**settings, "issuers": [uma(server, uma={"client_secret": secret})]})
    assert main(["check-config", str(made.config), "--online", "--format", "json"]) == code
    found = [finding["key"] for finding in json.loads(capsys.readouterr().out)["findings"]]
    assert ("issuers[0].uma" in found) is bool(code)
