"use strict";

// Texts become elements by textContent alone: what is explained comes from tokens and requests.

const byId = (id) => document.getElementById(id);
const form = byId("question");

const element = (name, content = "", attributes = {}) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...[content].flat());
  return made;
};

const who = () => form.elements.namedItem("who").value;

const showWho = () => {
  for (const name of ["principal", "token"]) byId(`who-${name}`).hidden = who() !== name;
};

const complain = (field, text) => {
  const error = byId(`${field}-error`);
  error.textContent = text;
  error.hidden = text === "";
  byId(field).setAttribute("aria-invalid", String(text !== ""));
};

const claims = () => {
  const text = byId("claims").value.trim();
  if (text === "") return {};
  try {
    const read = JSON.parse(text);
    return read !== null && typeof read === "object" && !Array.isArray(read) ? read : undefined;
  } catch {
    return undefined;
  }
};

// The first field that cannot be used, or none.
const objection = () => {
  complain("target", byId("target").value.trim() === "" ? "Say what is requested, such as /Patient/123." : "");
  complain("token", who() === "token" && byId("token").value.trim() === "" ? "Paste a token." : "");
  complain("claims", who() === "principal" && claims() === undefined ? "This is no JSON object." : "");
  return ["target", "claims", "token"].find((field) => byId(field).getAttribute("aria-invalid") === "true");
};

const question = () => {
  const value = (field) => byId(field).value;
  const asked = { method: value("method"), target: value("target").trim() };
  asked.headers = value("headers").split("\n").filter((line) => line.trim() !== "");
  if (value("body") !== "") asked.body = value("body");
  if (value("tenant").trim() !== "") asked.tenant = value("tenant").trim();
  if (who() === "token") return { ...asked, token: value("token").trim() };
  if (who() === "nobody") return asked;
  const principal = { claims: claims() };
  for (const field of ["scope", "patient", "fhir_user", "client"]) {
    if (value(field).trim() !== "") principal[field] = value(field).trim();
  }
  return { ...asked, principal };
};

const verdict = (shown) => {
  const about = [shown.interaction ?? "request", shown.type, shown.id].filter((part) => part != null).join(" ");
  return shown.decision === "permit" ? `Permitted: ${about}` : `Denied, ${shown.status} ${shown.code}: ${about}`;
};

const list = (items) => element("ul", items.map((item) => element("li", item)));
const code = (text) => element("code", text);

const part = (level, title, items) => (items.length === 0 ? [] : [element(`h${level}`, title), list(items)]);

const COLUMNS = ["Rule", "From", "Decided", "Did", "Why", "Written at"];

const row = (ground) =>
  element("tr", [
    element("th", code(ground.rule === "" ? "(no name)" : ground.rule), { scope: "row" }),
    element("td", ground.source),
    element("td", ground.decided ? "yes" : "no"),
    element("td", ground.result),
    element("td", ground.text),
    element("td", ground.place === undefined ? "with the request" : code(ground.place)),
  ]);

const grounds = (shown, level) => {
  if (shown.grounds.length === 0) return [element(`h${level}`, "Scopes and rules"), element("p", "None was looked at.")];
  const head = element("thead", element("tr", COLUMNS.map((name) => element("th", name, { scope: "col" }))));
  const caption = element("caption", "Each scope and rule that was looked at, and whether the decision fell by it");
  const table = element("table", [caption, head, element("tbody", shown.grounds.map(row))]);
  const title = element(`h${level}`, "Scopes and rules");
  // What may have to be scrolled must be reachable by keyboard.
  return [title, element("div", table, { class: "scroll", tabindex: "0", role: "group", "aria-label": "Scopes and rules" })];
};

const sent = (request) => {
  const parts = [code(`${request.method} ${request.target}`)];
  if (request.form !== undefined) parts.push(" with the form ", code(request.form));
  if (request.body !== undefined) parts.push(" with the body ", code(request.body));
  return parts;
};

const help = (shown, level) => {
  if (shown.decision === "permit") return [];
  if (shown.required_scopes.length > 0) return part(level, "A scope that may help", shown.required_scopes.map(code));
  const text = "None that this client and this user could have would be enough by itself.";
  return shown.status === 403 ? [element(`h${level}`, "A scope that may help"), element("p", text)] : [];
};

const explanation = (shown, level) => [
  element("p", verdict(shown), { class: `verdict ${shown.decision}` }),
  ...(shown.reasons.length > 0 ? [list(shown.reasons)] : []),
  ...part(level, "Where", shown.expressions.map(code)),
  ...help(shown, level),
  ...grounds(shown, level),
  ...part(level, "Requests to the FHIR server", shown.upstream.map(sent)),
  ...part(level, "Checks", shown.checks),
  ...(shown.entries ?? []).map((entry, number) => {
    const deeper = Math.min(level + 1, 6);
    return element("div", [element(`h${level}`, `Entry ${number}`), ...explanation(entry, deeper)], { class: "entry" });
  }),
];

const json = (shown) =>
  element("details", [element("summary", "The same as JSON"), element("pre", JSON.stringify(shown, null, 2), { tabindex: "0" })]);

const answer = (said, children) => {
  byId("explanation").replaceChildren(...children);
  byId("status").textContent = said;
  byId("answer-heading").focus();
};

const fail = (text) => answer(`This could not be explained: ${text}.`, [element("p", `This could not be explained: ${text}.`, { class: "error" })]);

const ask = async () => {
  byId("status").textContent = "Asking…";
  try {
    const response = await fetch("/explain", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(question()),
      credentials: "omit",
      cache: "no-store",
      redirect: "error",
    });
    const shown = await response.json();
    if (response.ok) answer(verdict(shown), [...explanation(shown, 3), json(shown)]);
    else fail(shown.error);
  } catch {
    fail("the gateway does not answer");
  }
};

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const first = objection();
  if (first === undefined) {
    ask();
    return;
  }
  byId("status").textContent = `Not asked: ${byId(`${first}-error`).textContent}`;
  byId(first).focus();
});
form.addEventListener("change", (event) => {
  if (event.target.name === "who") showWho();
});
showWho(); // a browser that comes back to the page may have kept another choice
