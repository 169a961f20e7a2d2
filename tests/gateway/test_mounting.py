"""Where the gateway stands: at any mount path, whichever way the server and the frameworks above fill the scope."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from smart_gateway.fhir.references import Bases
from smart_gateway.fhir.releases import Release
from smart_gateway.gateway.middleware import Gateway
from smart_gateway.policy.model import Policy, default_additions
from smart_gateway.request.limits import Limits
from smart_gateway.request.parsing import RequestParser
from tests.support.asgi import Conversation, FakeVerifier, Front, ScriptedUpstream, observation, snapshot
from tests.support.deciding import principal, vocabulary

SCOPE = "patient/Observation.r"
TOKEN = {"Authorization": "Bearer t"}


def at(public: str, app: Any, scope: str = SCOPE) -> Gateway:
    """A gateway whose public base is ``public``."""
    policy = Policy(vocabulary(), Bases(public, "http://127.0.0.1:8090/fhir"), compartment_additions=default_additions(Release.R4))
    path = "/" + public.split("/", 3)[3] if public.count("/") > 2 else ""
    made = snapshot(policy, parser=RequestParser(vocabulary(), path, Limits()), verifier=FakeVerifier({"t": principal(scope)}))
    return Gateway(app, lambda: made)


@pytest.mark.parametrize(("prefix", "below"), [("/fhir", ""), ("/a/b", ""), ("/a", "/b/fhir"), ("", "/fhir"), ("", "")])
async def test_mounted_by_starlette_at_any_path(prefix: str, below: str) -> None:
    upstream = ScriptedUpstream(observation(), base=f"{prefix}{below}")
    gateway = at(f"https://fhir.example.org{prefix}{below}", upstream)
    app = Starlette(routes=[Mount(prefix, app=gateway)]) if prefix else gateway
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as client:
        found = await client.get(f"https://fhir.example.org{prefix}{below}/Observation/o1", headers=TOKEN)
        assert found.json() == observation()
        elsewhere = await client.get(f"https://fhir.example.org{prefix}/elsewhere/Observation/o1", headers=TOKEN)
        assert elsewhere.status_code == 404
    scope = upstream.asked[0].scope
    assert scope["path"] == f"{prefix}{below}/Observation/o1"
    assert scope.get("root_path", "") == prefix


@pytest.mark.parametrize(
    ("prefix", "below", "asked"),
    [("/fhir", "", "/fhir/"), ("/a/b", "", "/a/b/"), ("/a", "/fhir", "/a/fhir"), ("", "/fhir", "/fhir"), ("", "", "/")],
)
async def test_the_base_itself_is_the_root_of_a_mounted_app(prefix: str, below: str, asked: str) -> None:
    """Routers below a mount know their root as ``/`` and redirect what has no slash; FHIR writes ``[base]`` without one."""
    upstream = ScriptedUpstream(observation(), base=f"{prefix}{below}")
    gateway = at(f"https://fhir.example.org{prefix}{below}", upstream, "system/*.rs")
    app = Starlette(routes=[Mount(prefix, app=gateway)]) if prefix else gateway
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as client:
        await client.get(f"https://fhir.example.org{prefix}{below}/?_type=Observation", headers=TOKEN)
    scope = upstream.asked[0].scope
    assert (scope["path"], scope["raw_path"]) == (asked, asked.encode())


@pytest.mark.parametrize(
    ("scope", "inner"),
    [
        ({"path": "/fhir/Observation/o1"}, "/fhir/Observation/o1"),
        ({"path": "/fhir/Observation/o1", "root_path": "/fhir"}, "/fhir/Observation/o1"),
        ({"path": "/Observation/o1", "root_path": "/fhir"}, "/Observation/o1"),
        ({"path": "/Observation/o1", "root_path": "/fhir/"}, "/Observation/o1"),
        ({"path": "/Observation/o1", "root_path": "/fhir", "raw_path": b"/Observation/o1"}, "/Observation/o1"),
        ({"path": "/fhir/Observation/o1", "raw_path": None}, "/fhir/Observation/o1"),
        ({"path": "/Observation/o1", "root_path": "/fhir", "raw_path": None}, "/Observation/o1"),
    ],
)
async def test_every_manner_of_scope(scope: dict[str, Any], inner: str) -> None:
    upstream = ScriptedUpstream(observation())
    conversation = Conversation(Front(upstream, SCOPE).gateway, "GET", "/fhir/Observation/o1", TOKEN, **scope)
    await conversation.run()
    assert conversation.status == 200
    assert upstream.asked[0].scope["path"] == inner
    assert upstream.asked[0].scope["raw_path"] == b"/fhir/Observation/o1"


@pytest.mark.parametrize("path", ["/fhir/Observation/o 1", "/fhir/Observation/o%31", "/fhir/Observation/ö", "/fhir/Observation/a;b"])
async def test_without_raw_path_what_could_be_spelled_twice_is_refused(path: str) -> None:
    conversation = Conversation(Front(ScriptedUpstream(), SCOPE).gateway, "GET", "/", TOKEN, path=path, raw_path=None)
    await conversation.run()
    assert conversation.status == 400


async def test_the_inner_scope_is_built_from_what_was_parsed() -> None:
    upstream = ScriptedUpstream(observation())
    extensions = {"http.response.pathsend": {}, "http.response.zerocopysend": {}}
    conversation = Conversation(
        Front(upstream, SCOPE).gateway, "HEAD", "/fhir/Observation/o1?_format=json", TOKEN, extensions=extensions, state={"a": 1}
    )
    await conversation.run()
    scope = upstream.asked[0].scope
    assert (scope["method"], scope["query_string"], scope["extensions"], scope["state"]) == ("GET", b"", {}, {"a": 1})
    assert upstream.asked[0].header("host") == "fhir.example.org"


async def test_lifespan_goes_through_and_other_scopes_do_not() -> None:
    seen: list[str] = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(scope["type"])

    gateway = Front(app).gateway
    await gateway({"type": "lifespan"}, None, None)  # type: ignore[arg-type]
    assert seen == ["lifespan"]
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await gateway({"type": "websocket"}, receive, send)
    assert sent[0]["type"] == "websocket.close"
    assert sent[0]["code"] == 1008
    with pytest.raises(RuntimeError):
        await gateway({"type": "unheard-of"}, receive, send)
    assert seen == ["lifespan"]
