"""Refusals as semantics 10 has them: status, headers, OperationOutcome."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from smart_gateway import errors
from smart_gateway.answers.answer import Answer
from smart_gateway.answers.empty import empty_searchset
from smart_gateway.answers.refusals import Facing, refuse
from smart_gateway.fhir.outcomes import CODE_SYSTEM, REQUIRED_SCOPE_URL, SMART_REQUIRED_SCOPE_URL
from smart_gateway.policy.causes import Denial, Missing
from smart_gateway.policy.plan import Deny
from smart_gateway.scopes.permissions import Permission

FACING = Facing("r-1", "https://fhir.example.org/fhir")
REALM = 'realm="https://fhir.example.org/fhir"'
METADATA = 'resource_metadata="https://fhir.example.org/fhir/.well-known/oauth-protected-resource"'
ALL = [
    (errors.RequestError("T."), 400, "invalid", "bad-request"),
    (errors.RequestError("T.", reason="duplicate-header"), 400, "invalid", "duplicate-header"),
    (errors.PageRefused("T."), 403, "forbidden", "foreign-page"),
    (errors.PageExpired("T."), 404, "not-found", "page-expired"),
    (errors.UnknownPath("T."), 404, "not-found", "unknown-path"),
    (errors.UnknownType("T."), 404, "not-found", "unknown-type"),
    (errors.MethodNotAllowed("T.", allow=["GET", "HEAD"]), 405, "not-supported", "method-not-allowed"),
    (errors.NotAcceptable("T."), 406, "not-supported", "not-acceptable"),
    (errors.RequestTooSlow("T."), 408, "timeout", "too-slow"),
    (errors.PreconditionFailed("T."), 412, "conflict", "precondition-failed"),
    (errors.BodyTooLarge("T."), 413, "too-long", "body-too-large"),
    (errors.TargetTooLong("T."), 414, "too-long", "target-too-long"),
    (errors.UnsupportedMediaType("T."), 415, "not-supported", "unsupported-media-type"),
    (errors.Unprocessable("T."), 422, "invariant", "unprocessable"),
    (errors.TooManyRequests("T.", retry_after=7), 429, "throttled", "too-many-requests"),
    (errors.HeadersTooLarge("T."), 431, "too-long", "headers-too-large"),
    (errors.TokenMissing("T."), 401, "login", "token-missing"),
    (errors.TokenError("T.", reason="expired"), 401, "login", "expired"),
    (errors.PermissionWanted("T.", as_uri="https://as.example.org", ticket="t-1"), 401, "login", "permission-wanted"),
    (errors.HookRefused("T."), 403, "forbidden", "refused-by-hook"),
    (errors.ProofRefused("T.", algorithms=["ES256"]), 401, "login", "invalid-proof"),
    (errors.ProofMissing("T.", algorithms=["ES256"]), 401, "login", "proof-missing"),
    (errors.NonceWanted("T.", algorithms=["ES256"]), 401, "login", "nonce-wanted"),
    (errors.DependencyUnavailable("T."), 503, "transient", "dependency-unavailable"),
    (errors.UpstreamError("T."), 502, "transient", "upstream-error"),
    (errors.UpstreamUnavailable("T."), 503, "transient", "upstream-unavailable"),
    (errors.UpstreamTimeout("T."), 504, "timeout", "upstream-timeout"),
    (errors.SmartGatewayError("T."), 500, "exception", "internal-error"),
    (Deny(403, (Denial("c", "T."),)), 403, "forbidden", "c"),
    (Deny(404, (Denial("not-found", "T."),)), 404, "not-found", "not-found"),
]


def header(answer: Answer, name: str) -> list[str]:
    return [value.decode() for key, value in answer.headers if key == name.encode()]


def issues(answer: Answer) -> list[dict[str, Any]]:
    outcome = json.loads(answer.body)
    assert outcome["resourceType"] == "OperationOutcome"
    found: list[dict[str, Any]] = outcome["issue"]
    return found


def test_more_scopes_than_a_header_takes_are_left_to_the_extension() -> None:
    scopes = tuple(f"system/Type{number}.rs" for number in range(148))
    answer = refuse(Deny(403, (Denial("insufficient-scope", "T."),), missing(*scopes)), FACING)
    assert "scope=" not in header(answer, "www-authenticate")[0]
    assert [extension["valueString"] for extension in issues(answer)[0]["extension"]] == list(scopes)


def missing(*scopes: str) -> tuple[Missing, ...]:
    return tuple(Missing(scope, "Observation", Permission.READ) for scope in scopes)


@pytest.mark.parametrize(
    ("reason", "status", "type", "code"), ALL, ids=lambda value: type(value).__name__ if not isinstance(value, str | int) else None
)
def test_every_refusal_is_an_outcome(reason: errors.SmartGatewayError | Deny, status: int, type: str, code: str) -> None:
    answer = refuse(reason, FACING)
    assert answer.status == status
    assert header(answer, "content-type") == ["application/fhir+json; charset=utf-8"]
    assert header(answer, "cache-control") == ["private, no-store"]
    assert header(answer, "x-content-type-options") == ["nosniff"]
    assert issues(answer) == [
        {
            "severity": "error",
            "code": type,
            "details": {"coding": [{"system": CODE_SYSTEM, "code": code}], "text": "T."},
            "diagnostics": "request id r-1",
        }
    ]


def test_every_class_of_error_is_in_the_table() -> None:
    def below(cls: type[errors.SmartGatewayError]) -> set[type[errors.SmartGatewayError]]:
        return {cls}.union(*map(below, cls.__subclasses__()))

    known = {cls for cls in below(errors.SmartGatewayError) if cls.__module__ == errors.__name__}
    assert known - {type(reason) for reason, *_ in ALL} == {errors.SettingsError}


def test_a_missing_token_is_challenged_without_an_error() -> None:
    assert header(refuse(errors.TokenMissing("T."), FACING), "www-authenticate") == [f"Bearer {REALM}, {METADATA}"]


def test_a_bad_token_is_told_why() -> None:
    answer = refuse(errors.TokenError("The token has expired."), FACING)
    assert header(answer, "www-authenticate") == [
        f'Bearer {REALM}, error="invalid_token", error_description="The token has expired.", {METADATA}'
    ]


def test_dpop_is_offered_beside_bearer_where_it_is_known() -> None:
    facing = Facing("r-1", "https://fhir.example.org/fhir", dpop_algs=("ES256", "PS256"))
    bearer, dpop = header(refuse(errors.TokenMissing("T."), facing), "www-authenticate")
    assert bearer == f"Bearer {REALM}, {METADATA}"
    assert dpop == f'DPoP {REALM}, {METADATA}, algs="ES256 PS256"'
    assert [c.split()[0] for c in header(refuse(errors.TokenError("T."), facing), "www-authenticate")] == ["Bearer", "DPoP"]


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        (errors.ProofRefused("T.", algorithms=["ES256", "RS384"]), "invalid_dpop_proof"),
        (errors.ProofMissing("T.", algorithms=["ES256", "RS384"]), "invalid_token"),
        (errors.NonceWanted("T.", algorithms=["ES256", "RS384"]), "use_dpop_nonce"),
    ],
    ids=["proof", "none", "nonce"],
)
def test_what_is_wrong_with_a_proof_is_said_of_dpop_alone(reason: errors.ProofRefused, error: str) -> None:
    """RFC 9449 sections 7.1, 7.2 and 9."""
    assert header(refuse(reason, FACING), "www-authenticate") == [
        f'DPoP {REALM}, error="{error}", error_description="T.", {METADATA}, algs="ES256 RS384"',
        f"Bearer {REALM}, {METADATA}",
    ]


UMA = f'UMA {REALM}, as_uri="https://as.example.org/uma"'


def test_what_a_uma_server_can_permit_is_said_with_the_ticket_first() -> None:
    """UMA 2.0 Grant section 3.2.1."""
    wanted = errors.PermissionWanted("T.", as_uri="https://as.example.org/uma", ticket="016f84e8")
    assert header(refuse(wanted, FACING), "www-authenticate") == [f'{UMA}, ticket="016f84e8"', f"Bearer {REALM}, {METADATA}"]


def test_without_a_ticket_the_server_alone_is_named() -> None:
    wanted = errors.PermissionWanted("T.", as_uri="https://as.example.org/uma")
    assert header(refuse(wanted, FACING), "www-authenticate") == [UMA, f"Bearer {REALM}, {METADATA}"]


def test_a_permission_that_has_expired_is_still_a_bad_token() -> None:
    refused = errors.TokenError("The token has expired.", reason="expired")
    answer = refuse(errors.PermissionWanted("T.", as_uri="https://as.example.org/uma", ticket="t", refused=refused), FACING)
    uma, bearer = header(answer, "www-authenticate")
    assert uma == f'{UMA}, ticket="t"'
    assert 'error="invalid_token", error_description="The token has expired."' in bearer
    assert issues(answer)[0]["details"]["coding"][0]["code"] == "expired"


def test_a_denial_with_a_hint_names_the_scopes_three_times() -> None:
    deny = Deny(403, (Denial("a", "No r."), Denial("b", "No s.", "http._include")), missing("patient/Observation.r", "patient/Patient.s"))
    answer = refuse(deny, FACING)
    assert header(answer, "www-authenticate") == [
        f'Bearer {REALM}, error="insufficient_scope", scope="patient/Observation.r patient/Patient.s", {METADATA}'
    ]
    first, second = issues(answer)
    assert first["extension"] == [
        {"url": REQUIRED_SCOPE_URL, "valueString": "patient/Observation.r"},
        {"url": REQUIRED_SCOPE_URL, "valueString": "patient/Patient.s"},
    ]
    assert first["details"]["text"] == "No r. A token that has also patient/Observation.r and patient/Patient.s may be permitted this."
    assert "extension" not in second
    assert (second["details"]["text"], second["expression"]) == ("No s.", ["http._include"])


def test_a_denial_without_a_hint_names_no_scope() -> None:
    for reason in (Deny(403, (Denial("a", "No."),)), errors.PageRefused("No.")):
        answer = refuse(reason, FACING)
        assert header(answer, "www-authenticate") == [f'Bearer {REALM}, error="insufficient_scope", {METADATA}']
        assert "extension" not in issues(answer)[0]


def test_the_other_extension_can_be_chosen() -> None:
    facing = Facing("r-1", "https://fhir.example.org/fhir", required_scope_url=SMART_REQUIRED_SCOPE_URL)
    answer = refuse(Deny(403, (Denial("a", "No."),), missing("user/Patient.r")), facing)
    assert issues(answer)[0]["extension"] == [{"url": SMART_REQUIRED_SCOPE_URL, "valueString": "user/Patient.r"}]


def test_a_scope_that_the_header_cannot_spell_is_in_the_extension_alone() -> None:
    scope = "patient/Observation.rs?code=a\\,b"
    answer = refuse(Deny(403, (Denial("a", "No."),), missing(scope, 'x"y', "patient/Patient.r")), FACING)
    assert 'scope="patient/Patient.r"' in header(answer, "www-authenticate")[0]
    assert [e["valueString"] for e in issues(answer)[0]["extension"]] == [scope, 'x"y', "patient/Patient.r"]
    assert (
        "scope="
        not in header(refuse(Deny(403, (Denial("a", "No."),), missing(scope)), FACING), "www-authenticate")[0]
        .split("error=")[1]
        .split(" ", 1)[1]
    )


@pytest.mark.parametrize("status", [400, 404])
def test_other_denials_challenge_nobody(status: int) -> None:
    assert header(refuse(Deny(status, (Denial("a", "No."),)), FACING), "www-authenticate") == []


@pytest.mark.parametrize(
    ("reason", "seconds"),
    [
        (errors.TooManyRequests("T.", retry_after=7), "7"),
        (errors.DependencyUnavailable("T.", retry_after=0), "0"),
        (errors.DependencyUnavailable("T."), "5"),
        (errors.UpstreamUnavailable("T."), "5"),
    ],
)
def test_when_to_come_again(reason: errors.SmartGatewayError, seconds: str) -> None:
    assert header(refuse(reason, FACING), "retry-after") == [seconds]


def test_the_allowed_methods_are_a_header() -> None:
    assert header(refuse(errors.MethodNotAllowed("T.", allow=["GET", "HEAD"]), FACING), "allow") == ["GET, HEAD"]


@pytest.mark.parametrize("text", ['a"b', "a\\b", "a\r\nSet-Cookie: x", "a\x00b", "aéb", 'x", error="y'])
def test_nothing_breaks_out_of_a_challenge(text: str) -> None:
    """RFC 6750 section 3: neither quote nor backslash nor line end in a value."""
    facing = Facing("r-1", f"https://x/{text}", dpop_algs=(text,))
    for reason in (errors.TokenError(text), Deny(403, (Denial("a", text),), missing(text))):
        for challenge in header(refuse(reason, facing), "www-authenticate"):
            assert challenge.isprintable()
            assert "\\" not in challenge
            assert challenge.count('"') == 2 * challenge.count('="')


def test_a_client_that_asks_for_xml_gets_xml() -> None:
    answer = refuse(errors.NotAcceptable("T."), Facing("r-1", "https://x", media="xml"))
    assert header(answer, "content-type") == ["application/fhir+xml; charset=utf-8"]
    text = ET.fromstring(answer.body).find("{*}issue/{*}details/{*}text")
    assert text is not None
    assert text.get("value") == "T."


@pytest.mark.parametrize("media", ["json", "turtle", "raw", "any", "other"])
def test_all_others_get_json(media: str) -> None:
    answer = refuse(errors.NotAcceptable("T."), Facing("r-1", "https://x", media=media))
    assert json.loads(answer.body)["resourceType"] == "OperationOutcome"


def test_client_text_is_not_repeated() -> None:
    error = errors.RequestError("T.", expression="http.<img src=x>")
    assert b"<img" not in refuse(error, FACING).body


def test_the_searchset_that_has_nothing_in_it() -> None:
    assert json.loads(empty_searchset("https://x/Observation?code=1")) == {
        "resourceType": "Bundle",
        "type": "searchset",
        "total": 0,
        "link": [{"relation": "self", "url": "https://x/Observation?code=1"}],
    }
