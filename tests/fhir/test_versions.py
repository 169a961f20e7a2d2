"""Entity tags and instants: what names a version, and when it came to be."""

from __future__ import annotations

from typing import Any

import pytest

from smart_gateway.fhir.versions import is_instant, version_of_tag


@pytest.mark.parametrize(
    ("tag", "version"),
    [
        ('W/"3"', "3"),
        ('"a-b.c"', "a-b.c"),
        (f'W/"{"x" * 64}"', "x" * 64),
        (f'W/"{"x" * 65}"', None),
        ('W/""', None),
        ("3", None),
        ('w/"3"', None),
        ('W/"3" ', None),
        ('W/"3", W/"4"', None),
        ('W/"3/4"', None),
        ('W/"٣"', None),
        ("*", None),
    ],
)
def test_versions_of_tags(tag: str, version: str | None) -> None:
    assert version_of_tag(tag) == version


@pytest.mark.parametrize("text", ["2024-02-29T23:59:60Z", "2024-01-01T00:00:00.123456789+01:00", "2024-01-01T00:00:00-05:30"])
def test_instants(text: str) -> None:
    assert is_instant(text)


@pytest.mark.parametrize(
    "value",
    [
        "2024-01-01",
        "2024-01-01T00:00Z",
        "2024-01-01T00:00:00",
        "2024-01-01T00:00:00.Z",
        "2024-01-01T00:00:00.1234567890Z",
        "٢٠٢٤-01-01T00:00:00Z",
        "2024-01-01T00:00:00Z\n",
        "2024-01-01t00:00:00z",
        "",
        None,
        20240101,
        ["2024-01-01T00:00:00Z"],
    ],
)
def test_no_instants(value: Any) -> None:
    assert not is_instant(value)
