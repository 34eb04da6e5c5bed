"""Measure from which pointwise score on a passage counts as an answer: `python -m demo.answer_level`, after the student was trained again.

The level is the lowest best score of the teaching corpus' development queries whose answer (grade 2 or 3) is among the candidates the page
retrieves, rounded down to a tenth: no such query is told that nothing answers it. What the level is worth is then counted, there and on
the test queries: with the corpus as it is, without the query's whole topic, and without the passages that answer it.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dear.errors import DearError
from dear.types import Hit
from demo import limits
from demo.answering import LEVEL, WEIGHTS

CORPUS, RETRIEVER, SPLITS = "teaching", "bm25", ("dev", "test")
ANSWERS = 2  # a passage of this grade or more answers its query
DEPTH = 100  # passages retrieved, so that enough are left when a topic is taken out
Score = Callable[[str, Sequence[Hit]], Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Bests:
    """The best score of one query over the candidates as they are (None where no answer is among them), without its topic, without its answers."""

    answered: float | None
    topic_gone: float
    answers_gone: float


def bests(query: Any, hits: Sequence[Hit], grades: Mapping[str, int], score: Score) -> Bests:
    """Score the three lists of candidates that a query of the corpus has, each as long as the page's."""
    size = limits.CANDIDATES[2]
    whole = hits[:size]
    elsewhere = [hit for hit in hits if topic_of(hit.id) != query.topic][:size]
    unanswered = [hit for hit in hits if grades.get(hit.id, 0) < ANSWERS][:size]
    scores = score(query.text, list({hit.id: hit for hit in (*whole, *elsewhere, *unanswered)}.values()))
    best = [max((scores[hit.id] for hit in some), default=-math.inf) for some in (whole, elsewhere, unanswered)]
    return Bests(best[0] if any(grades.get(hit.id, 0) >= ANSWERS for hit in whole) else None, best[1], best[2])


def topic_of(passage_id: str) -> str:
    """The topic a passage of the teaching corpus belongs to.

    >>> topic_of("panama-canal-10")
    'panama-canal'
    """
    return passage_id.rpartition("-")[0]


def level(found: Sequence[Bests]) -> float:
    """The lowest best score of an answered query, rounded down to a tenth.

    >>> level([Bests(-4.99, -8, -7), Bests(1.2, -6, -5), Bests(None, -9, -9)])
    -5.0
    """
    return math.floor(10 * min(one.answered for one in found if one.answered is not None)) / 10


def counted(found: Sequence[Bests], score: float) -> dict[str, str]:
    """How many queries of each kind stay below the level, of how many."""
    kinds = {
        "answered": [one.answered for one in found if one.answered is not None],
        "topic gone": [one.topic_gone for one in found],
        "answers gone": [one.answers_gone for one in found],
    }
    return {kind: f"{sum(value < score for value in values)} of {len(values)}" for kind, values in kinds.items()}


def measured(split: str, corpus: Any, score: Score) -> Iterator[Bests]:
    """Every judged query of a split, in file order."""
    retriever = corpus.retriever(RETRIEVER)
    for query in corpus.queries:
        if query.split == split:
            yield bests(query, retriever.search(query.text, DEPTH), corpus.judgments(query.id) or {}, score)


def kept_scores() -> Score:
    """The embedded student, whose scores are kept with those of `python -m dear evaluate`: what was scored before costs nothing."""
    from dear.engines.choice import open_scorer
    from dear.evaluation.scoring import CachedScorer, weights_of
    from dear.evaluation.store import Store

    scorer = CachedScorer(open_scorer(LEVEL.model), Store(), weights_of(LEVEL.model, "pointwise"))

    def score(query: str, hits: Sequence[Hit]) -> dict[str, float]:
        found: dict[str, float] = {}
        for batch in scorer.score(query, [hit.passage.text for hit in hits], [hit.passage.title for hit in hits]):
            found.update((hits[i].id, value) for i, value in zip(batch.indices, batch.scores, strict=True))
        return found

    return score


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the level, the weights it holds for, and what it is worth; the exit status is 1 where it cannot be measured."""
    argparse.ArgumentParser(prog="python -m demo.answer_level", description=(__doc__ or "").partition("\n")[0]).parse_args(arguments)
    from corpora.registry import open_corpus
    from dear.cache import sha256

    try:
        corpus, score = open_corpus(CORPUS), kept_scores()
        found = {split: list(measured(split, corpus, score)) for split in SPLITS}
    except DearError as error:
        sys.stderr.write(f"answer_level: {error}\n")
        return 1
    reached = level(found["dev"])
    sys.stdout.write(f"level {reached}, weights {sha256(WEIGHTS)}\n")
    for split in SPLITS:
        sys.stdout.write(f"{split}, below it: {'; '.join(f'{kind} {share}' for kind, share in counted(found[split], reached).items())}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
