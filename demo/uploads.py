"""Visitors' own passages: read with limits, indexed for one session, forgotten after half an hour or when the page is closed.

An upload becomes a corpus under a name that only the server knows; a visitor calls it `MINE`, and what that means depends
on the session that asks. So no request can name another visitor's passages.
"""

from __future__ import annotations

import logging
import math
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from corpora.formats import ReadResult, iter_passages
from corpora.registry import Corpus, corpus_from_passages
from corpora.rows import SUFFIXES, RowError
from dear.errors import BadInput, DearError
from dear.types import Passage
from demo.cards import forget_read
from demo.limits import MINE, Request
from demo.resources import Part, Resources

logger = logging.getLogger(__name__)

MAX_BYTES = 2 * 2**20
MAX_PASSAGES = 2_000
MAX_PASSAGE_CHARS = 2_000
MAX_ERRORS = 100
LIFE_S = 30 * 60.0
MAX_UPLOADS = 64  # of all visitors together; the oldest gives way
SWEEP_S = 20.0
INDEX_S = 120.0  # an index that takes longer is given up


@dataclass(frozen=True, slots=True)
class Upload:
    """One visitor's passages: `name` is the server's name for the corpus, `until` when it goes (on the monotonic clock)."""

    name: str
    file: str
    corpus: Corpus
    read: ReadResult
    until: float


def read_upload(path: str | Path) -> ReadResult:
    """The passages of an uploaded file, and its bad rows; raises `BadInput` when the file cannot be used at all.

    JSONL, CSV, TSV or TXT, at most 2 MB and 2,000 passages of 2,000 characters; archives are not opened. Reading ends after
    `MAX_ERRORS` bad rows.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise BadInput(f"{path.name!r} is no JSONL, CSV, TSV or TXT file: unpack or convert it, and give it the ending .jsonl, .csv, .tsv or .txt")
    try:
        size = path.stat().st_size
    except OSError as error:
        raise BadInput(f"{path.name!r} did not arrive ({error.strerror}): upload it again") from error
    if size > MAX_BYTES:
        raise BadInput(f"{path.name!r} has {size / 2**20:.1f} MB, the limit is {MAX_BYTES // 2**20} MB: upload a part of it")
    passages: list[Passage] = []
    errors: list[RowError] = []
    for item in iter_passages(path, max_chars=MAX_PASSAGE_CHARS, max_passages=MAX_PASSAGES):
        errors.append(item) if isinstance(item, RowError) else passages.append(item)
        if len(errors) >= MAX_ERRORS:  # a file of the wrong kind may have a million
            errors.append(RowError(path.name, 0, f"{MAX_ERRORS} rows are bad, what follows was not read", "mend these first"))
            break
    return ReadResult(tuple(passages), tuple(errors))


class Uploads:
    """The uploads of all sessions, one each. `clock` gives seconds (tests hand in their own)."""

    def __init__(self, resources: Resources, clock: Callable[[], float] = time.monotonic) -> None:
        self._resources, self._clock = resources, clock
        self._kept: dict[str, Upload] = {}
        self._lock = threading.Lock()
        self._sweeper: threading.Thread | None = None

    def find(self, session: str) -> Upload | None:
        """The session's own upload while it lasts."""
        upload = self._kept.get(session)
        return upload if upload and self._clock() < upload.until else None

    def minutes_left(self, session: str) -> int:
        """Whole minutes until the session's upload goes, rounded up; 0 when there is none."""
        upload = self.find(session)
        return math.ceil((upload.until - self._clock()) / 60) if upload else 0

    def names(self, session: str) -> tuple[str, ...]:
        """The corpora that this session may ask for."""
        return (*self._resources.corpora, *((MINE,) if self.find(session) else ()))

    def scoped(self, asked: Request, session: str) -> Request:
        """The request with `MINE` put as the server's name of this session's corpus; raises `BadInput` when it is gone."""
        if asked.corpus != MINE:
            return asked
        return replace(asked, corpus=self.corpus_name(session, MINE))

    def corpus_name(self, session: str, name: str) -> str:
        """The server's name for a corpus that this session calls `name`."""
        if name != MINE:
            return name
        upload = self.find(session)
        if upload is None:
            raise BadInput("your passages are gone (they are kept for 30 minutes): upload the file again under My data, or choose another corpus")
        return upload.name

    def take(self, session: str, file: str, read: ReadResult) -> Iterator[Part]:
        """Index the passages, yielding how far that is; at the end they take the place of what the session had.

        Closing the iterator, or a failed index (`DearError`), leaves the session as it was.
        """
        name = f"own-{secrets.token_urlsafe(16)}"
        corpus = corpus_from_passages(read.passages, name)
        kept = False
        try:
            self._resources.add_private(name, corpus)
            yield from self._indexed(name)
            self._keep(session, Upload(name, file, corpus, read, self._clock() + LIFE_S))
            kept = True
        finally:
            if not kept:
                self._resources.drop_private(name)

    def drop(self, session: str) -> bool:
        """Forget the session's passages and delete their index; False when there were none."""
        with self._lock:
            upload = self._kept.pop(session, None)
        if upload:
            self._resources.drop_private(upload.name)
            forget_read()
        return upload is not None

    def sweep(self) -> int:
        """Forget what is older than `LIFE_S`; the number of uploads forgotten."""
        now = self._clock()
        return sum(self.drop(session) for session, upload in list(self._kept.items()) if now >= upload.until)

    def _indexed(self, name: str) -> Iterator[Part]:
        key, end = f"retriever:{name}:bm25", time.monotonic() + INDEX_S
        self._resources.want(key)
        while (part := self._resources.part(key)).state in ("waiting", "loading"):
            if time.monotonic() > end:
                raise DearError("the index was not built in two minutes: the server is busy, try again later")
            yield part
            time.sleep(0.1)
        self._resources.get(key)  # raises what the build ended in

    def _keep(self, session: str, upload: Upload) -> None:
        with self._lock:
            before = self._kept.pop(session, None)
            self._kept[session] = upload
            crowded = list(self._kept)[: max(0, len(self._kept) - MAX_UPLOADS)]
            if self._sweeper is None:
                self._sweeper = threading.Thread(target=self._sweep_for_ever, name="uploads", daemon=True)
                self._sweeper.start()
        if before:
            self._resources.drop_private(before.name)
            forget_read()
        for oldest in crowded:
            self.drop(oldest)

    def _sweep_for_ever(self) -> None:
        while True:
            time.sleep(SWEEP_S)
            try:
                self.sweep()
            except Exception:  # the next round tries again; a dead sweeper would keep everything
                logger.warning("a sweep of the uploads failed", exc_info=True)
