"""The JSON Schema of the settings (draft-07), for editors and other tools."""

from __future__ import annotations

from typing import Any

from smart_gateway.settings.model import Settings

_DIALECT = "http://json-schema.org/draft-07/schema#"


def json_schema() -> dict[str, Any]:
    """The schema of a settings file; ``definitions/PolicySettings`` is that of a policy file."""
    schema = Settings.model_json_schema(by_alias=True, ref_template="#/definitions/{model}")
    definitions = schema.pop("$defs")
    plain = _plain({**schema, "definitions": definitions})
    alone = [key for key in plain["required"] if key != "server"]
    plain |= {"required": ["server"], "anyOf": [{"required": alone}, {"required": ["tenants"]}]}
    return {"$schema": _DIALECT, "title": "smart-gateway settings", **{key: value for key, value in plain.items() if key != "title"}}


def _plain(schema: Any) -> Any:
    """Without what says nothing; ``null`` is no way to leave a key out."""
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {key: _plain_member(key, value) for key, value in schema.items() if not _says_nothing(key, value)}
    branches = plain.get("anyOf")
    if branches is not None and {"type": "null"} in branches:
        rest = [branch for branch in branches if branch != {"type": "null"}]
        plain.pop("anyOf")
        plain |= rest[0] if len(rest) == 1 and "$ref" not in rest[0] else {"anyOf": rest}
    # A draft-07 reader ignores what stands beside a reference.
    if "$ref" in plain and len(plain) > 1:
        plain["allOf"] = [{"$ref": plain.pop("$ref")}]
    return plain


def _plain_member(key: str, value: Any) -> Any:
    if key in {"properties", "definitions"}:  # names of people's keys, not of the schema's
        return {name: _plain(schema) for name, schema in value.items()}
    if key == "description":
        return " ".join(value.split())
    return value if key in {"default", "const", "enum", "required"} else _plain(value)


def _says_nothing(key: str, value: Any) -> bool:
    """Titles repeat the key, defaults of whole sections repeat those of their keys, bounds of parsed values are no JSON Schema."""
    return key in {"title", "gt", "ge", "le"} or (key == "default" and (value is None or isinstance(value, dict)))
