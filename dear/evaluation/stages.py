"""A benchmark's rows: each stage or peer ranks every question's pool; the first `depth` (pointwise) or `top` (listwise) are reranked.

Whatever a stage does not read keeps its place behind what it reads. Equal scores keep the order the passages came in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from dear import events as ev
from dear.errors import BadInput
from dear.evaluation.questions import Opened, Question
from dear.evaluation.scoring import CachedLister, CachedScorer, Listing
from dear.metrics import per_query
from dear.pointwise import score_hits
from dear.runs import order_scores
from dear.types import Hit, Passage

STAGES = ("bm25", "dense", "pointwise", "listwise", "fast")
Progress = Callable[[Iterable[Question], str, int], Iterable[Question]]


@dataclass(frozen=True, slots=True)
class Ranked:
    """One question ranked by one stage: the whole pool, best first; its scores or its listwise run where it has them."""

    ids: tuple[str, ...]
    seconds: float
    scores: Mapping[str, float] = field(default_factory=dict)
    listing: Listing | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One stage over a benchmark: what it ranked, by question, and the stage whose ranking it started from."""

    stage: str
    ranked: Mapping[str, Ranked]
    after: str = ""

    @property
    def seconds(self) -> float:
        """Mean seconds a query, this stage alone."""
        return sum(one.seconds for one in self.ranked.values()) / max(1, len(self.ranked))

    def run(self) -> dict[str, dict[str, float]]:
        """The rankings as a run with strictly decreasing scores: there is no tie left to break."""
        return {id_: order_scores(one.ids) for id_, one in self.ranked.items()}


def parse_stages(text: str) -> tuple[str, ...]:
    """Stages by name, in the order they are run; raises `BadInput` on an unknown or repeated one.

    >>> parse_stages("pointwise,bm25")
    ('bm25', 'pointwise')
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if bad := [name for name in names if name not in STAGES]:
        raise BadInput(f"unknown stage {bad[0]!r}: use some of {','.join(STAGES)}")
    if not names or len(set(names)) != len(names):
        raise BadInput(f"stages {text!r} name no stage or one twice: use some of {','.join(STAGES)}")
    return tuple(stage for stage in STAGES if stage in names)


def first_stage(opened: Opened) -> Row:
    """The pool as it came."""
    return Row(opened.first_stage, {q.id: Ranked(tuple(p.id for p in q.pool), q.seconds) for q in opened})


def by_scorer(name: str, opened: Opened, scorer: CachedScorer, depth: int, progress: Progress) -> Row:
    """Score the first `depth` of every pool, pair by pair."""
    ranked = {q.id: _scored(q, scorer, depth) for q in progress(opened.questions, f"{opened.benchmark.name}: {name}", len(opened))}
    return Row(name, ranked, opened.first_stage)


def by_lister(name: str, opened: Opened, lister: CachedLister, before: Row, top: int, progress: Progress) -> Row:
    """Rank the first `top` of the ranking before as lists."""
    ranked = {q.id: _listed(q, lister, before.ranked[q.id], top) for q in progress(opened.questions, f"{opened.benchmark.name}: {name}", len(opened))}
    return Row(name, ranked, before.stage)


def values(row: Row, opened: Opened) -> dict[str, dict[str, float]]:
    """Column -> query -> value between 0 and 1; a query that the row lacks counts 0."""
    measures = opened.benchmark.measures
    found = per_query(row.run(), opened.qrels, [name for _, name in measures])
    return {column: found[name] for column, name in measures}


def total_seconds(row: Row, rows: Sequence[Row]) -> float:
    """Mean seconds a query with all the stages the row started from."""
    before = next((other for other in rows if other.stage == row.after), None)
    return row.seconds + (total_seconds(before, rows) if before else 0.0)


def passages_of(question: Question, ids: Iterable[str]) -> tuple[Passage, ...]:
    """The pool's passages with these ids, in their order."""
    inside = {passage.id: passage for passage in question.pool}
    return tuple(inside[id_] for id_ in ids)


def _scored(question: Question, scorer: CachedScorer, depth: int) -> Ranked:
    hits = [Hit(passage, rank) for rank, passage in enumerate(question.pool[:depth], 1)]
    if not hits:
        return Ranked((), 0.0)
    before = scorer.seconds
    best = next(event.hits for event in score_hits(question.text, hits, scorer) if isinstance(event, ev.Pointwise))
    ids = tuple(hit.id for hit in best) + tuple(passage.id for passage in question.pool[depth:])
    return Ranked(ids, scorer.seconds - before, {hit.id: hit.scores["pointwise"] for hit in best})


def _listed(question: Question, lister: CachedLister, before: Ranked, top: int) -> Ranked:
    head = passages_of(question, before.ids[:top])
    if not head:
        return Ranked(before.ids, 0.0)
    listing = lister.rank(question.text, head)
    return Ranked(listing.ids + before.ids[top:], listing.seconds, listing=listing)
