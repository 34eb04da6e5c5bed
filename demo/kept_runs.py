"""The last run of each session, as events, for its exports: in memory only, and forgotten soon."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dear import events as ev

LIFE_S = 30 * 60.0
SWEEP_S = 60.0
MAX_RUNS = 200  # of all visitors together; the oldest gives way
MAX_SESSIONS = 10_000  # that are known to have ranked something


@dataclass(frozen=True, slots=True)
class _Kept:
    events: Sequence[ev.Event]
    until: float


class KeptRuns:
    """Runs by session, one each, for half an hour. `clock` gives seconds (tests hand in their own)."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._runs: OrderedDict[str, _Kept] = OrderedDict()
        self._ranked: OrderedDict[str, None] = OrderedDict()  # ids alone, and longer than the runs
        self._lock = threading.Lock()
        self._sweeper: threading.Timer | None = None

    def keep(self, session: str, events: Sequence[ev.Event]) -> None:
        """Keep a run in place of the session's last one; `events` may still grow."""
        with self._lock:
            self._runs.pop(session, None)
            self._runs[session] = _Kept(events, self._clock() + LIFE_S)
            self._ranked[session] = None
            while len(self._ranked) > MAX_SESSIONS:
                self._ranked.popitem(last=False)
            while len(self._runs) > MAX_RUNS:
                self._runs.popitem(last=False)
            if self._sweeper is None:
                self._sweep_later()

    def events(self, session: str) -> tuple[ev.Event, ...]:
        """What the session's last run has said so far; nothing when there was none or it is gone."""
        kept = self._runs.get(session)
        return tuple(kept.events) if kept and self._clock() < kept.until else ()

    def ranked(self, session: str) -> bool:
        """Whether the session ever had a run, be it gone by now."""
        return session in self._ranked

    def forget(self, session: str) -> None:
        """Drop the session's run."""
        with self._lock:
            self._runs.pop(session, None)

    def sweep(self) -> int:
        """Drop what is older than `LIFE_S`; the number of runs dropped."""
        with self._lock:
            gone = [session for session, kept in self._runs.items() if self._clock() >= kept.until]
            for session in gone:
                del self._runs[session]
        return len(gone)

    def _sweep_later(self) -> None:
        self._sweeper = threading.Timer(SWEEP_S, self._swept)
        self._sweeper.daemon = True
        self._sweeper.start()

    def _swept(self) -> None:
        self.sweep()
        with self._lock:
            self._sweeper = None
            if self._runs:
                self._sweep_later()
