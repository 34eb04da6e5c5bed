"""A decode with its cache, as every local engine does it: tokens are noted at once and read when logits are asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np

from dear.errors import EngineError


class LazySession(ABC):
    """A `Session` whose runs of forced tokens cost one pass, and whose rewinding costs nothing until logits are asked for.

    Tokens are read in chunks that end at multiples of `CHUNK`, and of an earlier session only whole chunks of its prompt are
    taken over (`cached`). So a session's numbers depend on its own tokens and steps alone, never on what ran before it, although
    low-precision kernels round a row differently with the number of rows beside it.
    """

    CHUNK = 256

    def __init__(self, ids: Sequence[int], context: int, cached: Sequence[int]) -> None:
        check_length(len(ids), context)
        self._ids, self._context = [int(i) for i in ids], context
        common = min(common_prefix(cached, self._ids), len(self._ids) - 1)
        self._cached = list(cached[: self._floor(common)])  # the tokens that the engine's cache holds, one after the other
        self._whole = self._floor(len(ids))  # of these, the first so many are read in whole chunks
        self._logits: np.ndarray | None = None
        self._ended = False

    @abstractmethod
    def _cut(self, length: int) -> None:
        """Cut the engine's cache to its first `length` tokens (0: an empty one)."""

    @abstractmethod
    def _read(self, ids: list[int]) -> None:
        """Read tokens after those in the cache."""

    @abstractmethod
    def _last(self) -> np.ndarray:
        """The logits after the last token read, float32, shape (vocabulary,)."""

    def __len__(self) -> int:
        return len(self._ids)

    def append(self, ids: Sequence[int]) -> None:
        """Read more tokens; raises `EngineError` beyond the context."""
        check_length(len(self._ids) + len(ids), self._context)
        if len(ids):
            self._ids += [int(i) for i in ids]
            self._logits = None

    def rewind(self, length: int) -> None:
        """Forget everything after the first `length` tokens, keeping their cache; raises `EngineError` outside 1..len."""
        if not 1 <= length <= len(self._ids):
            raise EngineError(f"cannot rewind to {length} tokens: the session holds {len(self._ids)}")
        if length < len(self._ids):
            del self._ids[length:]
            self._logits = None

    def catch_up(self) -> Iterator[None]:
        """Read what was noted, yielding after every chunk: between two of them the session may be left."""
        kept = min(common_prefix(self._cached, self._ids), len(self._ids) - 1)
        if kept < self._whole and self._cached[kept:]:
            self._whole = self._floor(kept)
        self._cut(kept)
        del self._cached[kept:]
        while len(self._cached) < len(self._ids):
            start = len(self._cached)
            piece = self._ids[start : self._floor(start) + self.CHUNK]
            try:
                self._read(piece)
            except BaseException:
                self._ended, self._cached = True, []  # the engine's cache may hold half of a pass
                raise
            self._cached += piece
            yield

    def logits(self) -> np.ndarray:
        """Next-token logits, float32, shape (vocabulary,)."""
        if self._ended:
            raise EngineError("this session has ended: another one was opened on the same model, or the model was closed")
        if self._logits is None:
            try:
                for _ in self.catch_up():
                    pass
                self._logits = self._last()
            except BaseException:
                self._ended, self._cached = True, []  # the cache may hold half of a pass
                raise
        return self._logits.copy()

    def end(self) -> list[int]:
        """End the session; returns the tokens at the start of its cache that another one may take over."""
        self._ended, self._logits = True, None
        return self._cached[: self._whole]

    def _floor(self, length: int) -> int:
        return length // self.CHUNK * self.CHUNK


def common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens two sequences share from the start.

    >>> common_prefix([1, 2, 3], [1, 2, 4, 5])
    2
    """
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def check_length(length: int, context: int) -> None:
    """Raise `EngineError` where a session is empty or exceeds the context."""
    if length < 1:
        raise EngineError("a session needs at least one token: give it a prompt")
    if length > context:
        raise EngineError(f"{length} tokens exceed the model's context of {context}: use fewer or shorter passages, or a smaller window")
