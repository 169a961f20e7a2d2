#!/usr/bin/env python3
"""Generates ``smart_gateway/fhir/data`` and the generated part of ``docs/search-parameters.md`` from HL7's definitions.

    python tools/generate_tables.py [--check] [--jars DIRECTORY]

Needs Python and, unless the jars are in DIRECTORY already, Maven. ``--check`` writes nothing and exits 1 where a file differs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tables.compiling import affects_state, compile_table
from tables.sources import DIGESTS, fetch, read
from tables.writing import elements_text, page_text, sources_text, table_text

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "smart_gateway" / "fhir" / "data"
PAGE = ROOT / "docs" / "search-parameters.md"
TOOLS = [Path(__file__).resolve(), *(ROOT / "tools" / "tables").glob("*.py")]


def generate(jars: Path) -> dict[Path, str]:
    """All files that are generated, by path."""
    definitions = {name: read(name, fetch(name, jars)) for name in DIGESTS}
    operations = affects_state(definitions["r4b"])
    tables = {name: compile_table(item, operations) for name, item in definitions.items()}
    texts = {name: table_text(table) for name, table in tables.items()}
    elements = {name: elements_text(table) for name, table in tables.items()}
    return {
        **{DATA / f"{name}.json": text for name, text in texts.items()},
        **{DATA / f"{name}.elements.json": text for name, text in elements.items()},
        DATA / "SOURCES.json": sources_text(texts, elements, TOOLS, ROOT),
        PAGE: page_text(PAGE.read_text(encoding="utf-8"), tables),
    }


def main() -> int:
    """Writes or, with ``--check``, compares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with what is there, write nothing")
    parser.add_argument("--jars", type=Path, help="directory for the jars (default: a temporary one)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        files = generate(options.jars or Path(scratch))
    different = [path for path, text in files.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in different:
        print(path.relative_to(ROOT), "differs" if options.check else "written", file=sys.stderr)
        if not options.check:
            path.write_text(files[path], encoding="utf-8")
    return 1 if options.check and different else 0


if __name__ == "__main__":
    sys.exit(main())
