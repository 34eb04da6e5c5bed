"""Recorded runs that come with the page: the first is what a visitor sees before any model is loaded."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from dear import events as ev
from dear.errors import BadInput

logger = logging.getLogger(__name__)

FOLDER = Path(__file__).parent / "recorded"


@dataclass(frozen=True, slots=True)
class Recording:
    """A finished run: the file's name without its ending, and the events."""

    name: str
    events: tuple[ev.Event, ...]

    @property
    def query(self) -> str:
        """What was asked."""
        return next((event.query for event in self.events if isinstance(event, ev.Started)), "")


def recordings(folder: Path = FOLDER) -> tuple[Recording, ...]:
    """The recorded runs by file name; one that cannot be read is left out and logged."""
    found = []
    for path in sorted(folder.glob("*.jsonl")):
        try:
            with open(path, encoding="utf-8") as file:
                found.append(Recording(path.stem, tuple(ev.load(file))))
        except (BadInput, OSError, UnicodeDecodeError):
            logger.warning("the recorded run %s cannot be read", path.name, exc_info=True)
    return tuple(found)
