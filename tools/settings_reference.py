"""Writes docs/settings.md from the models of the settings. ``python tools/settings_reference.py``; a test says when it is stale."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from smart_gateway.settings.schema import json_schema

TARGET = Path(__file__).parent.parent / "docs" / "settings.md"

_HEAD = """# Settings

<!-- Written by tools/settings_reference.py from smart_gateway/settings: change it there. -->

One YAML file, few keys to start; `config/gateway.yaml` and `config/policy.yaml` show them all with comments,
`config/gateway.schema.json` is their JSON Schema (draft-07) for editors. A complete file:

```yaml
server:
  public_url: https://fhir.example.org/fhir
upstream:
  url: http://127.0.0.1:8090/fhir
  fhir_version: R4
issuers:
  - issuer: https://idp.example.org/realms/smart
```

- `smart-gateway check-config F` says everything that is wrong at once, each with file, line, column, key and the nearest valid
  name; `--online` also asks the issuers for keys and the upstream for its metadata; `--middleware` lets `upstream.url` be absent.
- Order: options (`--set upstream.url=...`), environment (`SMART_GATEWAY_UPSTREAM__URL`: two underscores between levels, numbers for
  items of lists), file, defaults. A variable that a `from_env` names is a secret and no setting. `SMART_GATEWAY_CONFIG` names the file.
- Paths start from the directory of the settings file.
- A section that is absent has its default; one that is present is closed: what it does not name gets nothing. A key without a
  value is refused, for absent could mean open.
- Durations and sizes have units: `500ms`, `30s`, `15m`, `1h`, `1d`; `512B`, `16KiB`, `4MiB`, `1GiB`.
- Secrets are `{from_env: NAME}` or `{from_file: PATH}`; a plain text is taken with a warning. They are never printed.
- YAML is read strictly: no doubled keys, tags or merge keys, one document, at most 4 MiB. `on`, `off`, `yes`, `no`, `y` and `n` are
  refused as values, for some readers take them for booleans. Aliases are allowed.
- Plain http to an address that is not loopback needs `allow_http: true` beside it; `public_url` may be http.
- SIGHUP or a changed file (looked at every 2 s): everything is built anew and swapped at once, or the old settings
  stay and the log says why.
  `server.listen` and `server.management` take effect at the next start.
- With `serve --workers N` all processes share both listeners and the sealing key; `/readyz` is the state of the process that answers.
"""


def render() -> str:
    """The whole page."""
    schema = json_schema()
    parts = [_HEAD]
    for title, section in _sections(schema, schema, ""):
        rows = [_row(schema, section, name, member) for name, member in section.get("properties", {}).items()]
        if rows and (not title.startswith("`tenants[].") or title.startswith("`tenants[].listeners")):  # the rest is as above
            description = section.get("description", "")
            parts.append(f"## {title}\n\n{description}\n\n| key | value | default | |\n|---|---|---|---|\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def _sections(root: dict[str, Any], schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each mapping of the settings by its key path, the outer ones first."""
    if path:
        yield f"`{path}`", schema
    for name, member in schema.get("properties", {}).items():
        below = f"{path}.{name}" if path else name
        for found, suffix in _mappings(root, member):
            yield from _sections(root, found, below + suffix)


def _mappings(root: dict[str, Any], member: dict[str, Any], suffix: str = "") -> Iterator[tuple[dict[str, Any], str]]:
    if "$ref" in member:
        found = root["definitions"][member["$ref"].rpartition("/")[2]]
        if "properties" in found and "from_env" not in found["properties"] and "from_file" not in found["properties"]:
            yield found, suffix
    for key in ("allOf", "anyOf", "oneOf"):
        for branch in member.get(key, ()):
            yield from _mappings(root, branch, suffix)
    if isinstance(member.get("items"), dict):
        yield from _mappings(root, member["items"], suffix + "[]")
    if isinstance(member.get("additionalProperties"), dict):
        yield from _mappings(root, member["additionalProperties"], suffix + ".NAME")


def _row(root: dict[str, Any], section: dict[str, Any], name: str, member: dict[str, Any]) -> str:
    default = "required" if name in section.get("required", ()) else _default(member)
    return f"| `{name}` | {_value(root, member)} | {default} | {member.get('description', '')} |"


def _default(member: dict[str, Any]) -> str:
    if "default" not in member:
        return ""
    value = member["default"]
    if isinstance(value, list):
        return "`[" + ", ".join(str(item) for item in value) + "]`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _value(root: dict[str, Any], member: dict[str, Any]) -> str:
    """The kind of value in a few words."""
    if "$ref" in member:
        found = root["definitions"][member["$ref"].rpartition("/")[2]]
        return _value(root, found) if "enum" in found else "mapping"
    for key in ("allOf", "anyOf", "oneOf"):
        if key in member:
            words = [_value(root, branch) for branch in member[key]]
            return "secret" if words == ["text", "mapping", "mapping"] else " or ".join(dict.fromkeys(words))
    if "enum" in member or "const" in member:
        return ", ".join(f"`{word}`" for word in member.get("enum", [member.get("const")]))
    if member.get("type") == "array":
        return f"list of {_value(root, member['items'])}"
    if "pattern" in member:
        return "size" if "KiB" in member["pattern"] else "duration"
    if isinstance(member.get("additionalProperties"), dict):
        return f"mapping of NAME to {_value(root, member['additionalProperties'])}"
    return {"string": "text", "integer": "number", "boolean": "`true`, `false`", "object": "mapping"}[member["type"]]


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
    sys.stdout.write(f"{TARGET}\n")
