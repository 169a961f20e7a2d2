"""Settings that change while the gateway runs: all of the new ones count, or all of the old."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from smart_gateway.errors import SettingsError
from smart_gateway.settings.building.listeners import build_doors
from smart_gateway.settings.findings import Finding, Severity
from smart_gateway.settings.loading import examine
from smart_gateway.settings.model import Settings

logger = logging.getLogger(__name__)

_Print = tuple[int, int, int] | None


class SettingsFile:
    """The settings file of a reverse proxy and everything that it refers to, read again on demand."""

    def __init__(self, path: Path, environment: Mapping[str, str], given: Sequence[str] = ()) -> None:
        self.path = path
        self._environment = environment
        self._given = given
        self._prints: dict[Path, _Print] = {path: _print(path)}

    def read(self) -> tuple[Settings, tuple[Finding, ...]]:
        """The settings and their warnings; raises SettingsError with every finding."""
        # The prints are taken before and after: a file that changes while it is read counts as changed at the next look.
        before = {path: _print(path) for path in self._prints}
        examination = examine(self.path, self._environment, given=self._given, proxying=True)
        self._prints = {path: before.get(path, _print(path)) for path in examination.files}
        if examination.settings is None:
            raise SettingsError("The settings are refused.", examination.findings)
        return examination.settings, examination.findings

    def changed(self) -> bool:
        """Whether any of the files is another than when it was read."""
        return any(_print(path) != known for path, known in self._prints.items())


class Reloader:
    """Reads settings anew and hands them to ``adopt``, or keeps the old ones and says so."""

    def __init__(self, file: SettingsFile, settings: Settings, adopt: Callable[[Settings], None]) -> None:
        self._file = file
        self._settings = settings
        self._adopt = adopt
        self._turn = asyncio.Lock()

    async def reload(self) -> bool:
        """Whether the new settings count now. Files are read beside the event loop, one reload after the other."""
        async with self._turn:
            try:
                settings, findings = await asyncio.to_thread(self._file.read)
                self._adopt(settings)
            except SettingsError as error:
                _say(error.findings)
                logger.error("the settings are refused: the old ones stay in force")  # noqa: TRY400  # the findings are the story
                return False
            except Exception:
                logger.exception("the settings cannot be put in force: the old ones stay")
                return False
            _say(findings)
            self._say_fixed(settings)
            self._settings = settings
        logger.info("the settings were read anew and are in force")
        return True

    async def watch(self, interval: float) -> None:
        """Looks every ``interval`` seconds whether a file has changed, and reloads then. Runs until it is cancelled."""
        while True:
            await asyncio.sleep(interval)
            if self._file.changed():
                await self.reload()

    def _say_fixed(self, settings: Settings) -> None:
        if settings.server.management != self._settings.server.management:
            logger.warning("server.management is another: that takes effect at the next start")
        if _places(settings) != _places(self._settings):
            logger.warning(
                "where the gateway listens, or how it asks for certificates there, is another: that takes effect at the next start"
            )


def _places(settings: Settings) -> list[tuple[str, str, str | None]]:
    """Where the gateway listens, and whether clients are asked there for certificates; None without TLS."""
    return [(door.name, str(door.address), None if door.tls is None else door.tls.client_certificates) for door in build_doors(settings)]


def _say(findings: tuple[object, ...]) -> None:
    for finding in findings:
        warns = isinstance(finding, Finding) and finding.severity is Severity.WARNING
        logger.log(logging.WARNING if warns else logging.ERROR, "%s", finding)


def _print(path: Path) -> _Print:
    """What tells one state of a file from another; None while there is none. Links are followed: ConfigMaps swap them."""
    try:
        found = path.stat()
    except (OSError, ValueError):  # ValueError: no file can have this name
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
