"""Reciprocal-rank fusion, and the retriever that fuses others by it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from corpora.retrieval import Retriever, by_score, check_k, make_hits
from dear.errors import BadInput
from dear.types import Hit

RRF_K = 60


def reciprocal_rank_fusion(rankings: Iterable[Sequence[str]], k: int = RRF_K) -> dict[str, float]:
    """Score of each id: the sum of 1 / (k + rank) over the rankings that hold it, ranks from 1; best first.

    Cormack, Clarke and Büttcher (SIGIR 2009) with their k = 60. Equal scores stand by id. Raises `BadInput` when a
    ranking holds an id twice or `k` is negative.

    >>> reciprocal_rank_fusion([["a", "b"], ["b", "c"]], k=0)
    {'b': 1.5, 'a': 1.0, 'c': 0.5}
    """
    if k < 0:
        raise BadInput(f"k is {k}: the constant of reciprocal-rank fusion is 0 or more, usually {RRF_K}")
    places: dict[str, list[int]] = {}
    for ranking in rankings:
        if len(set(ranking)) != len(ranking):
            raise BadInput("a ranking holds the same id twice: each id may stand once in a ranking")
        for rank, id_ in enumerate(ranking, 1):
            places.setdefault(id_, []).append(rank)
    # summed in a fixed order, so that the order of the rankings cannot change a score by rounding
    scores = {id_: sum(1.0 / (k + rank) for rank in sorted(ranks)) for id_, ranks in places.items()}
    return {id_: scores[id_] for id_ in by_score(scores)}


class HybridRetriever:
    """Fuse the rankings of other retrievers, each asked for `depth` hits or more; term weights come from the first that has them."""

    kind = "hybrid"

    def __init__(self, retrievers: Sequence[Retriever], *, k: int = RRF_K, depth: int = 100) -> None:
        if not retrievers:
            raise BadInput("no retrievers to fuse: give at least one")
        self.retrievers, self.k, self.depth = tuple(retrievers), k, depth

    def search(self, query: str, k: int) -> tuple[Hit, ...]:
        """The best `k` by fused score, then passage id; a passage found by any retriever can come."""
        depth = max(check_k(k), self.depth)
        lists = [retriever.search(query, depth) for retriever in self.retrievers]
        fused = reciprocal_rank_fusion([[hit.id for hit in hits] for hits in lists], self.k)
        found: dict[str, Hit] = {}
        for hit in (hit for hits in lists for hit in hits):
            if hit.id not in found or not found[hit.id].terms:
                found[hit.id] = hit
        return make_hits((found[id_].passage, score, found[id_].terms) for id_, score in list(fused.items())[:k])

    def close(self) -> None:
        """Close every retriever it was given."""
        for retriever in self.retrievers:
            retriever.close()
