"""``python -m smart_gateway``."""

from __future__ import annotations

import sys

from smart_gateway.cli import main

sys.exit(main())
