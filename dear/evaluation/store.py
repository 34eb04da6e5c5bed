"""What models answered, kept by key in one SQLite file, so that a run that was cut goes on and a repeated one costs nothing."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dear.cache import cache_dir
from dear.errors import DearError

MAX_VARIABLES = 500  # SQLite's own limit of placeholders is 999 in old builds


def key_of(*parts: object) -> str:
    """SHA-256 (hex) of JSON-ready parts: equal parts, equal key."""
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()


class Store:
    """Key -> JSON value. What is put together is kept together or not at all; several processes may share the file."""

    def __init__(self, path: Path | None = None, *, fresh: bool = False) -> None:
        """With `fresh` only what this store was given itself is taken from the file: a server may have other weights under an old name."""
        self.path = path or cache_dir() / "evaluation" / "answers.sqlite"
        self._own: set[str] | None = set() if fresh else None
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._connection() as base:
            base.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, value TEXT NOT NULL)")

    def get(self, keys: Sequence[str]) -> dict[str, Any]:
        """The values of those keys that are there."""
        found: dict[str, Any] = {}
        keys = keys if self._own is None else [key for key in keys if key in self._own]
        with self._connection() as base:
            for start in range(0, len(keys), MAX_VARIABLES):
                some = list(keys[start : start + MAX_VARIABLES])
                rows = base.execute(f"SELECT key, value FROM answers WHERE key IN ({','.join('?' * len(some))})", some)
                found.update((key, json.loads(value)) for key, value in rows)
        return found

    def put(self, values: Mapping[str, Any]) -> None:
        """Keep all of these, in one transaction."""
        rows = [(key, json.dumps(value, ensure_ascii=False)) for key, value in values.items()]
        with self._connection() as base:
            base.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?)", rows)
        if self._own is not None:
            self._own.update(values)

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            base = sqlite3.connect(self.path, timeout=60)
            try:
                with base:  # commits, or rolls back on an error
                    yield base
            finally:
                base.close()
        except sqlite3.Error as error:
            raise DearError(f"{self.path} cannot be used ({error}): delete it, or set DEAR_CACHE to a folder you may write") from error
