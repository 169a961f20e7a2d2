"""Durations (``30s``) and sizes (``16KiB``) as settings spell them: always with a unit."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(ms|s|m|h|d)")
_SIZE = re.compile(r"([0-9]{1,9})(B|KiB|MiB|GiB)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_MOST_LEEWAY = 300.0
_MOST_PROOF_AGE = 300.0
_BYTES = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}


def parse_duration(value: Any) -> float:
    """``500ms``, ``30s``, ``5m``, ``1h``, ``1d`` in seconds."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise PydanticCustomError("duration", "must be a duration with its unit (ms, s, m, h, d), such as 30s")
    return float(match[1]) * _SECONDS[match[2]]


def parse_leeway(value: Any) -> float:
    """A duration of at most five minutes: beyond that, expired tokens would be taken for good ones."""
    leeway = parse_duration(value)
    if leeway > _MOST_LEEWAY:
        raise PydanticCustomError("leeway", "must be at most 5m")
    return leeway


def parse_proof_age(value: Any) -> float:
    """A duration of at most five minutes: for so long each proof must be remembered."""
    age = parse_duration(value)
    if age > _MOST_PROOF_AGE:
        raise PydanticCustomError("proof_age", "must be at most 5m")
    return age


def parse_size(value: Any) -> int:
    """``512B``, ``16KiB``, ``4MiB``, ``1GiB`` in bytes."""
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise PydanticCustomError("size", "must be a size with its unit (B, KiB, MiB, GiB), such as 16KiB")
    return int(match[1]) * _BYTES[match[2]]


_DurationText = Annotated[str, Field(pattern=r"^[0-9]{1,9}(\.[0-9]{1,3})?(ms|s|m|h|d)$")]
_SizeText = Annotated[str, Field(pattern=r"^[0-9]{1,9}(B|KiB|MiB|GiB)$")]

Duration = Annotated[float, BeforeValidator(parse_duration, json_schema_input_type=_DurationText), Field(gt=0)]
DurationOrNone = Annotated[float, BeforeValidator(parse_duration, json_schema_input_type=_DurationText)]
Leeway = Annotated[float, BeforeValidator(parse_leeway, json_schema_input_type=_DurationText)]
ProofAge = Annotated[float, BeforeValidator(parse_proof_age, json_schema_input_type=_DurationText), Field(gt=0)]
Size = Annotated[int, BeforeValidator(parse_size, json_schema_input_type=_SizeText), Field(gt=0)]
