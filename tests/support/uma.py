"""A scripted UMA authorization server: its discovery document, PATs, tickets and permissions."""

from __future__ import annotations

import json
from typing import Any

from smart_gateway.fhir.references import Bases
from smart_gateway.policy.uma import UmaResource
from smart_gateway.tokens.client_authentication import ClientAuthentication, ClientMethod
from smart_gateway.tokens.issuer import IntrospectionConfig, IssuerConfig, UmaConfig
from smart_gateway.tokens.transport import Received
from smart_gateway.tokens.verifier import Verifier
from tests.support.issuer import AUDIENCE, ISSUER, MemoryTransport, Posted, ScriptedIssuer, json_answer

BASES = Bases(public=AUDIENCE, upstream="http://127.0.0.1:8090/fhir")
BASIC = ClientAuthentication(ClientMethod.BASIC, "gateway", "s3cr3t")
TOKEN, PERMISSION, INTROSPECT = f"{ISSUER}/token", f"{ISSUER}/permission", f"{ISSUER}/introspect"
AS_URI = "https://as.example.org/uma"
CHART = UmaResource("chart-{patient}", (("read", ("patient/*.rs",)), ("write", ("patient/*.cud",))))
RESOURCES = (CHART,)


class UmaServer:
    """Gives PATs ``pat-1``, ``pat-2``, ... and tickets ``ticket-1``, ...; knows resources whose id begins with ``chart-``."""

    def __init__(self, *, asked: bool = False, resources: tuple[UmaResource, ...] = RESOURCES, **uma: Any) -> None:
        self.issuer = ScriptedIssuer()
        self.transport = MemoryTransport(self.issuer)
        self.transport.answers[f"{ISSUER}/.well-known/uma2-configuration"] = {
            "issuer": ISSUER,
            "token_endpoint": TOKEN,
            "permission_endpoint": PERMISSION,
            "introspection_endpoint": INTROSPECT,
        }
        self.transport.endpoints = {TOKEN: self._pat, PERMISSION: self._ticket}
        self.pats = 0
        self.tickets: list[list[dict[str, Any]]] = []
        self.revoked: set[str] = set()
        self.config = IssuerConfig(
            ISSUER,
            (AUDIENCE, "gateway"),
            introspection=IntrospectionConfig(BASIC, INTROSPECT, cache=30.0) if asked else None,
            uma=UmaConfig(BASIC, resources, AS_URI, **uma),
        )
        self.verifier = Verifier([self.config], BASES, self.transport)

    def posted(self, url: str) -> list[Posted]:
        """What was sent to one endpoint."""
        return [posted for posted in self.transport.posted if posted.url == url]

    def _pat(self, posted: Posted) -> Received:
        assert posted.form["grant_type"] == "client_credentials"
        self.pats += 1
        return json_answer({"access_token": f"pat-{self.pats}", "token_type": "Bearer", "expires_in": 100})

    def _ticket(self, posted: Posted) -> Received:
        pat = posted.headers["authorization"].removeprefix("Bearer ")
        if pat in self.revoked:
            return json_answer({"error": "invalid_bearer_token"}, 403)
        wanted = json.loads(posted.content)
        if not all(one["resource_id"].startswith("chart-") for one in wanted):
            return json_answer({"error": "invalid_resource_id"}, 400)
        self.tickets.append(wanted)
        return json_answer({"ticket": f"ticket-{len(self.tickets)}"}, 201)

    def rpt(self, *permissions: Any, **claims: Any) -> str:
        """A requesting party token as Keycloak makes it: for the resource server's client, permissions in ``authorization``."""
        changes: dict[str, Any] = {"aud": "gateway", "scope": "", "patient": ..., "authorization": {"permissions": list(permissions)}}
        return self.issuer.token(header={"typ": "JWT"}, **{**changes, **claims})


def permission(id: str, *scopes: str, **more: Any) -> dict[str, Any]:
    """A permission by Keycloak's names."""
    return {"rsid": id, "rsname": f"name of {id}", "scopes": list(scopes), **more}
