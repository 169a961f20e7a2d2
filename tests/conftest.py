"""What every test of the suite shares: examples are judged by what they show, not by how long a busy machine took."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("suite")


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Bytes are named by their place: what is compressed or signed at collection differs from process to process, and names may not."""
    return argname if isinstance(val, bytes) else None
