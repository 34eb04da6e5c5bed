"""Stage 1: each (query, passage) pair scored by itself, streamed as batches finish."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from contextlib import closing

from dear import events as ev
from dear.engines import Scorer
from dear.errors import EngineError
from dear.types import Hit, rerank_hits


def score_hits(query: str, hits: Sequence[Hit], scorer: Scorer) -> Generator[ev.PointScore | ev.Pointwise, None, tuple[tuple[Hit, ...], int]]:
    """Yield a `PointScore` a passage and then `Pointwise`; return the ranked hits and the number of tokens read.

    Closing the generator stops the model. Raises `EngineError` when a score is not a number or a passage is left out or scored twice.
    """
    scores: dict[str, float] = {}
    tokens = 0
    with closing(scorer.score(query, [hit.passage.text for hit in hits], [hit.passage.title for hit in hits])) as batches:
        for batch in batches:
            tokens += batch.tokens
            for index, score in zip(batch.indices, batch.scores, strict=True):
                passage_id = hits[index].id
                if not math.isfinite(score):
                    raise EngineError(f"passage {passage_id!r} was scored {score}: the checkpoint is damaged or overflows; use bf16 or fp32")
                if passage_id in scores:
                    raise EngineError(f"passage {passage_id!r} was scored twice: the engine {scorer.info.engine!r} breaks its contract")
                scores[passage_id] = score
                yield ev.PointScore(passage_id, score, len(scores), len(hits))
    if len(scores) != len(hits):
        raise EngineError(f"{len(scores)} of {len(hits)} passages were scored: the engine {scorer.info.engine!r} stopped early")
    ranked = rerank_hits(hits, "pointwise", scores)
    yield ev.Pointwise(ranked)
    return ranked, tokens
