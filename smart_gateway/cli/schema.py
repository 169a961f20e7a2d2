"""``smart-gateway schema``: the JSON Schema of the settings, as ``config/gateway.schema.json`` holds it."""

from __future__ import annotations

import argparse
import json

from smart_gateway.settings.schema import json_schema


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of docs/command-line.md."""
    parser.add_argument("--format", choices=("json",), default="json")


def run(_arguments: argparse.Namespace) -> int:
    """Prints the schema."""
    print(schema_text(), end="")
    return 0


def schema_text() -> str:
    """The schema as a file holds it."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
