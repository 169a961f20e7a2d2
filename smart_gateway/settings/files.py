"""Files that the settings name: read whole up to a bound, or refused with a reason for the operator."""

from __future__ import annotations

import os
from pathlib import Path

from smart_gateway.errors import SettingsError


def read_named(path: Path, name: str, most: int) -> bytes:
    """What the file at ``path``, which the settings call ``name``, holds: at most ``most`` bytes. Raises SettingsError."""
    try:
        with path.open("rb") as stream:
            data = stream.read(most + 1)
    except OSError as error:
        raise SettingsError(f"the file {name} cannot be read: {error.strerror}") from None
    except ValueError:
        raise SettingsError(f"the file {name} cannot be read: that is not a file name") from None
    if len(data) > most:
        raise SettingsError(f"the file {name} is larger than {most // 1024} KiB")
    return data


def is_file_name(name: str) -> bool:
    """Whether there could be a file of this name."""
    try:
        return b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:  # half of a character
        return False
