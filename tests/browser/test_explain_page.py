"""The explain page in a real Chromium: what it shows, by keyboard alone, to a screen reader, and against pages of others."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.browser.conftest import ELSEWHERE
from tests.cli.test_serve import ISSUER, PUBLIC, Process

pytestmark = pytest.mark.integration

OpenPage = Callable[..., Any]

BATCH = json.dumps(
    {
        "resourceType": "Bundle",
        "type": "batch",
        "entry": [
            {"request": {"method": "GET", "url": "Observation/o1"}},
            {"request": {"method": "GET", "url": "Condition/c1"}},
        ],
    }
)


def fill(page: Any, target: str, **fields: str) -> None:
    """Fills the fields by their labels, and asks."""
    page.get_by_label("Target").fill(target)
    for name, value in fields.items():
        page.locator(f"#{name}").fill(value)


def explain(page: Any, target: str, **fields: str) -> str:
    """Asks, and gives what the page then says aloud."""
    fill(page, target, **fields)
    page.get_by_role("button", name="Explain").click()
    return answered(page)


def answered(page: Any) -> str:
    page.locator("#answer-heading:focus").wait_for()
    return str(page.get_by_role("status").inner_text())


def rows(page: Any) -> list[list[str]]:
    return [[cell.inner_text() for cell in row.locator("th, td").all()] for row in page.locator("tbody tr").all()]


def focused(page: Any) -> str:
    """What has the focus, by its id, class, value or text."""
    script = "(() => { const e = document.activeElement; return e.id || e.className || e.value || e.textContent.trim(); })()"
    return str(page.evaluate(script))


# --- what it shows


def test_a_permit_with_all_that_was_looked_at(open_page: OpenPage) -> None:
    page = open_page()
    assert explain(page, "/Observation?code=8867-4", scope="openid patient/Observation.rs user/*.rs", patient="123") == (
        "Permitted: search-type Observation"
    )
    users, *others = rows(page)
    assert users[1:4] == ["user", "no", "limits"]
    assert others == [
        ["patient/Observation.rs", "scope", "yes", "grants", "gives s on Observation: in Patient/123", "with the request"],
        ["user/*.rs", "scope", "no", "ignored", "the policy gives users of kind none nothing", "with the request"],
        ["openid", "scope", "no", "ignored", "is no scope for resources (identity)", "with the request"],
    ]
    answer = page.locator("#answer")
    assert "GET /Observation?code=8867-4" in answer.get_by_role("list").first.inner_text()
    assert "every Observation in the answer is in Patient/123" in answer.inner_text()


def test_a_refusal_names_the_scope_that_would_help(open_page: OpenPage) -> None:
    page = open_page()
    assert (
        explain(page, "/Condition", scope="patient/Observation.rs", patient="123")
        == "Denied, 403 insufficient-scope: search-type Condition"
    )
    help = page.get_by_role("heading", name="A scope that may help")
    assert help.locator("xpath=following-sibling::*[1]").inner_text() == "patient/Condition.s"


def test_a_rule_of_the_policy_with_its_line(open_page: OpenPage) -> None:
    page = open_page()
    said = explain(page, "/Condition", scope="patient/*.rs", patient="123", client="readonly-app")
    assert said.startswith("Denied, 403")
    (limit,) = [row for row in rows(page) if row[1] == "client"]
    assert (limit[0], limit[2], limit[3]) == ("readonly-app", "yes", "limits")
    assert limit[5].endswith("policy.yaml:5:3")
    assert "None that this client and this user could have" in page.locator("#answer").inner_text()


def test_claims_count(open_page: OpenPage) -> None:
    page = open_page()
    who = {"scope": "user/Patient.rs", "fhir_user": "Practitioner/7"}
    assert explain(page, "/Patient", **who, claims='{"organization": "north"}').startswith("Permitted")
    assert explain(page, "/Patient", **who, claims='{"organization": "south"}').startswith("Denied")


def test_a_batch_entry_by_entry(open_page: OpenPage) -> None:
    page = open_page()
    page.get_by_label("Method").select_option("POST")
    page.get_by_text("Headers, body and tenant").click()
    assert explain(page, "/", body=BATCH, scope="patient/Observation.rs", patient="123").startswith("Permitted: batch")
    entries = page.locator(".entry")
    assert [entries.nth(n).locator(".verdict").inner_text() for n in range(2)] == [
        "Permitted: read Observation o1",
        "Denied, 403 insufficient-scope: read Condition c1",
    ]


def test_a_token_is_explained_and_told_to_nobody(open_page: OpenPage, gateway: Process) -> None:
    token = ISSUER.token(now=time.time(), audience=PUBLIC, scope="patient/Observation.rs", patient="123")
    page = open_page()
    page.get_by_label("Who has a token").check()
    assert not page.locator("#scope").is_visible()
    assert explain(page, "/Observation/o1", token=token) == "Permitted: read Observation o1"
    assert token not in page.locator("#answer").inner_text()
    assert page.url == f"http://{gateway.management}/explain"
    stored = page.evaluate("[document.cookie, localStorage.length, sessionStorage.length, history.length]")
    assert stored[:3] == ["", 0, 0]
    for file in (gateway.log, gateway.decisions):
        assert token.partition(".")[2] not in file.read_text()
    assert gateway.decisions.read_text() == ""


def test_a_token_that_does_not_count(open_page: OpenPage) -> None:
    page = open_page()
    page.get_by_label("Who has a token").check()
    assert explain(page, "/Observation/o1", token="a.b.c").startswith("Denied, 401")


def test_nobody(open_page: OpenPage) -> None:
    page = open_page()
    page.get_by_label("Nobody").check()
    assert explain(page, "/Patient/1") == "Denied, 401 token-missing: read Patient 1"


def test_what_cannot_be_understood_is_said(open_page: OpenPage) -> None:
    page = open_page()
    said = explain(page, "/Patient/1", patient="no id!", scope="patient/*.rs")
    assert said == "This could not be explained: the patient is a FHIR id."


def test_what_is_typed_stays_text(open_page: OpenPage) -> None:
    page = open_page()
    hostile = "<img/src=x/onerror=document.title='broken'>"
    explain(page, "/Observation", scope=f"patient/Observation.rs {hostile}", patient="123")
    assert hostile in [row[0] for row in rows(page)]
    assert page.locator("#answer img").count() == 0
    assert page.title() != "broken"


# --- by keyboard, to a screen reader


def test_by_keyboard_alone(open_page: OpenPage) -> None:
    page = open_page()
    order = []
    for _ in range(10):
        page.keyboard.press("Tab")
        order.append(focused(page))
    assert order == [
        "skip",
        "method",
        "target",
        "Headers, body and tenant",
        "principal",
        "scope",
        "patient",
        "fhir_user",
        "client",
        "claims",
    ]
    page.locator("#target").focus()
    page.keyboard.type("/Observation")
    while focused(page) != "scope":
        page.keyboard.press("Tab")
    page.keyboard.type("patient/Observation.rs")
    page.keyboard.press("Tab")
    page.keyboard.type("123")
    page.keyboard.press("Enter")
    assert answered(page) == "Permitted: search-type Observation"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Scopes and rules"
    page.keyboard.press("Tab")
    assert focused(page) == "The same as JSON"
    page.keyboard.press("Enter")
    assert json.loads(page.locator("pre").inner_text())["decision"] == "permit"


def test_the_choice_of_who_asks_by_arrow_keys(open_page: OpenPage) -> None:
    page = open_page()
    page.get_by_label("An invented principal").focus()
    page.keyboard.press("ArrowDown")
    assert page.get_by_label("Who has a token").is_checked()
    page.keyboard.press("Tab")
    assert focused(page) == "token"


def test_the_skip_link_leads_to_the_answer(open_page: OpenPage) -> None:
    page = open_page()
    page.keyboard.press("Tab")
    assert page.get_by_role("link", name="Skip to the answer").bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    assert page.url.endswith("#answer")


def test_the_focus_can_be_seen(open_page: OpenPage) -> None:
    page = open_page()
    page.locator("#target").focus()
    width = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
    assert width == "3px"


def test_what_a_screen_reader_finds(open_page: OpenPage) -> None:
    page = open_page()
    assert page.get_by_role("banner").count() == 1
    assert page.get_by_role("main").count() == 1
    assert page.get_by_role("form", name="Question").count() == 1
    assert page.get_by_role("region", name="Answer").count() == 1
    for name in ("Request", "Who asks"):
        assert page.get_by_role("group", name=name, exact=True).count() == 1
    assert page.get_by_role("status").get_attribute("aria-live") == "polite"
    explain(page, "/Observation", scope="patient/Observation.rs", patient="123")
    table = page.get_by_role("table", name="Each scope and rule that was looked at")
    assert [head.inner_text() for head in table.get_by_role("columnheader").all()] == [
        "Rule",
        "From",
        "Decided",
        "Did",
        "Why",
        "Written at",
    ]
    assert table.get_by_role("rowheader").all_inner_texts() == ["patient/Observation.rs"]
    assert page.locator("html").get_attribute("lang") == "en"


@pytest.mark.parametrize(
    ("choice", "field", "value", "complaint"),
    [
        ("An invented principal", "target", "", "Say what is requested, such as /Patient/123."),
        ("An invented principal", "claims", "[1]", "This is no JSON object."),
        ("Who has a token", "token", "", "Paste a token."),
    ],
)
def test_a_mistake_is_said_where_it_is(open_page: OpenPage, choice: str, field: str, value: str, complaint: str) -> None:
    page = open_page()
    page.get_by_label(choice).check()
    page.get_by_label("Target").fill("/Patient/1")
    page.locator(f"#{field}").fill(value)
    page.get_by_role("button", name="Explain").click()
    page.locator(f"#{field}:focus").wait_for()
    assert page.locator(f"#{field}").get_attribute("aria-invalid") == "true"
    assert f"{field}-error" in str(page.locator(f"#{field}").get_attribute("aria-describedby")).split()
    assert page.locator(f"#{field}-error").inner_text() == complaint
    assert page.get_by_role("status").inner_text() == f"Not asked: {complaint}"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("state", ["begin", "token", "mistake", "permit", "deny", "batch"])
def test_axe_finds_nothing(open_page: OpenPage, scheme: str, state: str) -> None:
    """Names, roles, contrast, headings, landmarks: the rules of axe-core, best practices among them."""
    from axe_playwright_python.sync_playwright import Axe

    page = open_page(color_scheme=scheme)
    who = {"scope": "openid patient/Observation.rs", "patient": "123"}
    match state:
        case "token":
            page.get_by_label("Who has a token").check()
        case "mistake":
            page.get_by_role("button", name="Explain").click()
        case "permit":
            explain(page, "/Observation", **who)
        case "deny":
            explain(page, "/Condition", **who)
        case "batch":
            page.get_by_label("Method").select_option("POST")
            page.get_by_text("Headers, body and tenant").click()
            explain(page, "/", body=BATCH, **who)
            page.get_by_text("The same as JSON").click()
    found = Axe().run(page)
    assert [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found.response["violations"]] == []


def test_a_narrow_window_needs_no_scrolling_sideways(open_page: OpenPage) -> None:
    """Spec: WCAG 2.2, 1.4.10 Reflow."""
    page = open_page(viewport={"width": 320, "height": 640})
    explain(page, "/Observation?" + "code=8867-4&" * 20, scope="patient/Observation.rs " + "x" * 200, patient="123")
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


# --- against pages of others


@contextmanager
def attacker(html: str) -> Iterator[str]:
    """A page at another origin of this machine."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(html.encode())

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


QUESTION = json.dumps({"method": "GET", "target": "/Patient", "principal": {"scope": "patient/*.rs", "patient": "1"}})


@pytest.mark.parametrize(
    "options",
    [
        {"headers": {"Content-Type": "application/json"}},
        {"headers": {"Content-Type": "text/plain"}},
        {},
        {"mode": "no-cors"},
        {"mode": "no-cors", "headers": {"Content-Type": "text/plain"}},
    ],
    ids=str,
)
def test_a_page_of_another_origin_learns_nothing(chromium: Any, gateway: Process, options: dict[str, Any]) -> None:
    asking = {"method": "POST", "body": QUESTION, **options}
    with attacker("<title>attacker</title>") as url:
        page = chromium.new_page()
        page.goto(url)
        statuses: list[int] = []
        page.on("response", lambda response: statuses.append(response.status) if response.url.endswith("/explain") else None)
        script = (
            "async ([url, asking]) => { try { const r = await fetch(url, asking); return await r.text(); } catch (e) { return 'failed'; } }"
        )
        assert page.evaluate(script, [f"http://{gateway.management}/explain", asking]) in {"failed", ""}
        assert not [status for status in statuses if status == 200]
        page.close()


def test_a_name_that_means_this_machine_is_not_answered(chromium: Any, gateway: Process) -> None:
    port = gateway.management.rpartition(":")[2]
    page = chromium.new_page()
    assert page.goto(f"http://{ELSEWHERE}:{port}/explain").status == 421
    script = "async (asking) => (await fetch('/explain', asking)).status"
    asking = {"method": "POST", "body": QUESTION, "headers": {"Content-Type": "application/json"}}
    assert page.evaluate(script, asking) == 421
    page.close()


def test_no_frame_of_others_shows_it(chromium: Any, gateway: Process) -> None:
    with attacker(f"<iframe src='http://{gateway.management}/explain'></iframe>") as url:
        page = chromium.new_page()
        page.goto(url)
        (frame,) = page.main_frame.child_frames
        assert frame.locator("#question").count() == 0
        page.close()


def test_scripts_that_got_in_would_not_run(chromium: Any, gateway: Process) -> None:
    page = chromium.new_page()
    page.goto(f"http://{gateway.management}/explain")
    inline = "() => { const s = document.createElement('script'); s.textContent = 'document.title = 1'; document.head.append(s); }"
    with pytest.raises(Exception, match="TrustedScript"):
        page.evaluate(inline)
    with pytest.raises(Exception, match="TrustedHTML"):
        page.evaluate("() => { document.body.innerHTML = '<p>x</p>'; }")
    assert page.title() == "Explain a decision - smart-gateway"
    page.close()
