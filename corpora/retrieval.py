"""What every retriever is, and the hits it makes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, Protocol, get_args, runtime_checkable

from dear.errors import BadInput
from dear.types import Hit, Passage, TermWeight

Kind = Literal["bm25", "bm25+rm3", "dense", "hybrid"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@runtime_checkable
class Retriever(Protocol):
    """First-stage search over one corpus; safe to use from many threads at once."""

    kind: str

    def search(self, query: str, k: int) -> tuple[Hit, ...]:
        """The best `k` passages or fewer, best first: score descending, then passage id ascending. No match, no hits."""
        ...

    def close(self) -> None:
        """Free what the retriever holds; searching afterwards raises `IndexFailure`."""
        ...


def check_k(k: int) -> int:
    """Return `k`, or raise `BadInput` when it is below 1."""
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise BadInput(f"k is {k!r}: ask for at least 1 passage")
    return k


def check_ids(passages: Sequence[Passage]) -> None:
    """Raise `BadInput` when two passages have the same id."""
    seen: set[str] = set()
    for passage in passages:
        if passage.id in seen:
            raise BadInput(f"passage id {passage.id!r} occurs twice: give every passage its own id")
        seen.add(passage.id)


def by_score(scores: Mapping[str, float]) -> list[str]:
    """The ids by score descending; equal scores by id ascending (the tie rule of every retriever).

    >>> by_score({"b": 1.0, "a": 1.0, "c": 2.0})
    ['c', 'a', 'b']
    """
    return sorted(scores, key=lambda id_: (-scores[id_], id_))


def make_hits(found: Iterable[tuple[Passage, float, tuple[TermWeight, ...]]]) -> tuple[Hit, ...]:
    """Hits from (passage, score, terms) in ranked order."""
    return tuple(
        Hit(passage, rank, scores={"retrieval": float(score)}, ranks={"retrieval": rank}, terms=terms)
        for rank, (passage, score, terms) in enumerate(found, 1)
    )
