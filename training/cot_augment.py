"""Many rows from few rationales: subsets, shuffles and distractors, seeded, never the same row twice (section 3.2 of the paper)."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from corpora.teaching import Teaching, Written
from dear.errors import BadInput
from dear.types import Passage
from training.cot import Row, render

logger = logging.getLogger(__name__)

BEST = 2.6  # against six passages that do not help, such a one then comes first in 87 rows of 100
FAR = 1.0  # as much lower stands a passage from another topic
TRIES = 200  # draws in a row that bring nothing new before the well is called dry


@dataclass(frozen=True, slots=True)
class Mix:
    """How rows are drawn: `k` passages between `min_k` and `max_k`, of which a share near `distractors` comes from other topics.

    `empty` is the share of rows without any passage that helps, `fast` the share that is a ranking alone, `ordered` the share
    whose passages come as a first stage would put them, right more often than not; the others come in random order.
    """

    min_k: int = 3
    max_k: int = 20
    distractors: float = 0.3
    empty: float = 0.03
    fast: float = 0.15
    seed: int = 0
    ordered: float = 0.0


@dataclass(frozen=True, slots=True)
class Reasoned:
    """A query with everything a row can be drawn from: `own` are its topic's passages, `others` the distractors, `source` its rows' name."""

    query_id: str
    query: str
    written: Written
    grades: Mapping[str, int]
    own: tuple[Passage, ...]
    others: tuple[Passage, ...]
    source: str = "teaching"


def teaching_queries(teaching: Teaching, split: str, source: str = "teaching") -> list[Reasoned]:
    """The queries of a split with a rationale; distractors come from topics of the same split only, so that nothing leaks."""
    passages = {p.id: p for p in teaching.passages}
    topics = {q.topic for q in teaching.queries if q.split == split}
    found = []
    for query in teaching.queries:
        written = teaching.rationales.get(query.id)
        if query.split != split or written is None:
            continue
        grades = {id: grade for id, grade in teaching.qrels.get(query.id, {}).items() if grade > 0}
        own = {id for id, topic in teaching.topics.items() if topic == query.topic} | {id for id in grades if teaching.topics.get(id) in topics}
        cited = {s.passage for s in written.evidence}
        own = {id for id in own if not grades.get(id) or id in cited}  # a graded passage without a reason cannot be taught
        others = tuple(p for p in passages.values() if teaching.topics[p.id] in topics and p.id not in own and p.id not in grades)
        found.append(Reasoned(query.id, query.text, written, grades, tuple(passages[id] for id in passages if id in own), others, source))
    if not found:
        raise BadInput(f"{source}: no query with a rationale in split {split!r}, use train or dev")
    return found


def augment(queries: Sequence[Reasoned], count: int, family: str, mix: Mix, *, draws: str = "teaching") -> Iterator[Row]:
    """Yield `count` different rows, the queries taking turns; fewer, with a warning, when no new one can be drawn.

    `draws` names a stream of random numbers: two of different names share none.
    """
    rng = random.Random(f"{mix.seed}/{draws}/{family}")
    seen: set[tuple[str, ...]] = set()
    turns: list[Reasoned] = []
    made = failed = 0
    while made < count:
        if not turns:
            turns = list(queries)
            rng.shuffle(turns)
        query = turns.pop()
        passages = draw(query, mix, rng)
        fast = rng.random() < mix.fast
        key = (query.query_id, str(fast), *(p.id for p in passages))
        if key in seen:
            failed += 1
            if failed > TRIES:
                logger.warning("only %d of %d rows: no new subset or order is left, raise max_k or lower the count", made, count)
                return
            continue
        seen.add(key)
        made, failed = made + 1, 0
        yield render(query.query, passages, query.grades, query.written, family, reasoning=not fast, source=query.source)


def draw(query: Reasoned, mix: Mix, rng: random.Random) -> list[Passage]:
    """A random subset in random order: some passages that help (none in `empty` of the draws), the rest not, own topic or other."""
    good = [p for p in query.own if query.grades.get(p.id, 0) > 0]
    bad = [p for p in query.own if query.grades.get(p.id, 0) <= 0]
    k = min(rng.randint(mix.min_k, mix.max_k), len(query.own) + len(query.others))
    wanted = 0 if rng.random() < mix.empty else rng.randint(1, max(1, min(len(good), k - 1)))
    chosen = rng.sample(good, min(wanted, len(good)))
    left = k - len(chosen)
    other = min(sum(rng.random() < mix.distractors for _ in range(left)), len(query.others))
    near = rng.sample(bad, min(left - other, len(bad)))
    chosen += near + rng.sample(query.others, min(left - len(near), len(query.others)))
    rng.shuffle(chosen)
    return _as_ranked(chosen, query, rng) if mix.ordered and rng.random() < mix.ordered else chosen


def _as_ranked(passages: Sequence[Passage], query: Reasoned, rng: random.Random) -> list[Passage]:
    """An imperfect ranking: the grade, the best one counted as `BEST`, `FAR` less for another topic, plus noise of standard deviation 1."""
    top, far = max(query.grades.values(), default=1), {p.id for p in query.others}
    return sorted(passages, key=lambda p: FAR * (p.id in far) - BEST * query.grades.get(p.id, 0) / top + rng.gauss(0, 1))
