"""What the student does in a lesson: score and rank the candidates, score a changed text, leave sentences out, meet a planted order.

Each function yields `Waiting` first, then results, and raises `Stopped` or another `DearError`; all of them wait for the model
and give it back (see `demo.pump`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace

from corpora.registry import corpus_from_passages
from dear import events as ev
from dear.errors import BadInput, EngineError
from dear.explain import occlude
from dear.pipeline import Pipeline, Settings
from dear.types import Passage
from demo import zerogpu
from demo.learning import walk as steps
from demo.learning.walk import STRIDE, WINDOW, Edited, Made, Occluded, Planted, Walk
from demo.pump import Waiting, worked
from demo.resources import Resources
from demo.session import Ticket
from demo.uploads import MAX_PASSAGE_CHARS

COSINE_SCALE = 20.0  # the scale MiniLM was trained with, as the recipes take it
MAX_FOR_TEACHER = 5_000  # passages of a corpus whose cosines are asked for at once


def rank(resources: Resources, walk: Walk, ticket: Ticket) -> Iterator[Made | Waiting]:
    """Score the candidates one by one, then rank them in windows back to front, in fast mode."""
    keys = (f"scorer:{walk.model}", f"generator:{walk.model}")
    made = Made(first=walk.ids)
    for item in worked(resources, keys, lambda: _events(resources, walk), ticket):
        if isinstance(item, Waiting):
            yield item
            continue
        made = replace(made, teacher=item) if isinstance(item, dict) else steps.reduce(made, item)
        yield made


def edit(resources: Resources, walk: Walk, passage_id: str, text: object, ticket: Ticket) -> Iterator[Edited | Waiting]:
    """The pointwise score of a passage as it is and with another text."""
    passage, text = walk.passage(passage_id), check_text(text)

    def make() -> Iterator[Edited]:
        before, after = _scores(resources, walk, [passage, replace(passage, text=text)])
        yield Edited(passage_id, text, before, after)

    yield from worked(resources, (f"scorer:{walk.model}",), make, ticket)


def leave_out(resources: Resources, walk: Walk, passage_id: str, ticket: Ticket) -> Iterator[Occluded | Waiting]:
    """What each sentence of a passage is worth to its pointwise score."""
    passage = walk.passage(passage_id)

    def make() -> Iterator[Occluded]:
        score, found = occlude(walk.query, passage, zerogpu.scorer(_scorer(resources, walk), walk.model))
        yield Occluded(passage_id, score, tuple((passage.text[o.start : o.end], o.drop) for o in found))

    yield from worked(resources, (f"scorer:{walk.model}",), make, ticket)


def plant(resources: Resources, walk: Walk, made: Made, passage_id: str, sentence: object, ticket: Ticket) -> Iterator[Planted | Waiting]:
    """Put a sentence in front of a passage and rank again: each stage gets the order it had, so that only the text differs."""
    sentence = check_text(sentence, steps.MAX_PLANTED_CHARS)
    if not made.scores or not made.listwise:
        raise BadInput("the student has not ranked this query yet: wait for it, or start the lesson again")
    changed = [replace(p, text=f"{sentence} {p.text}") if p.id == passage_id else p for p in (hit.passage for hit in walk.hits)]

    def make() -> Iterator[Planted]:
        before = {"retrieval": _words_rank(walk, [hit.passage for hit in walk.hits]), "pointwise": made.pointwise, "listwise": made.listwise}
        after = {"retrieval": _words_rank(walk, changed), **_models_rank(resources, walk, made, passage_id, changed)}
        yield Planted(passage_id, sentence, {stage: (_place(before[stage], passage_id), _place(after[stage], passage_id)) for stage in before})

    yield from worked(resources, (f"scorer:{walk.model}", f"generator:{walk.model}"), make, ticket)


def check_text(text: object, limit: int = MAX_PASSAGE_CHARS) -> str:
    """The text stripped; raises `BadInput` when it is empty or over `limit` characters."""
    if not isinstance(text, str) or not text.strip():
        raise BadInput("the text is empty: write at least one word")
    if len(text) > limit:
        raise BadInput(f"the text has {len(text):,} characters, the limit is {limit:,}: shorten it")
    return text.strip()


def _events(resources: Resources, walk: Walk) -> Iterator[ev.Event | dict[str, float]]:
    """Thread: the pipeline's events, then the teacher's scores where MiniLM is there (its first search may take seconds)."""
    pipeline = Pipeline(scorer=_scorer(resources, walk), generator=_generator(resources, walk), settings=_settings(len(walk.hits)))
    with closing(zerogpu.ranked(pipeline, walk.model, walk.query, [hit.passage for hit in walk.hits])) as events:
        yield from events
    if scores := _teacher(resources, walk):
        yield scores


def _settings(count: int, stages: tuple[str, ...] = ("retrieval", "pointwise", "listwise")) -> Settings:
    return Settings(candidates=count, depth=count, window=WINDOW, stride=STRIDE, reasoning=False, stages=stages)  # type: ignore[arg-type]


def _scorer(resources: Resources, walk: Walk):
    scorer = resources.get(f"scorer:{walk.model}")
    if scorer is None:
        raise BadInput(f"{walk.model} has no pointwise stage, which the lessons are about: serve the page with dear-nano")
    return scorer


def _generator(resources: Resources, walk: Walk):
    generator = resources.get(f"generator:{walk.model}")
    if generator is None:
        raise BadInput(f"{walk.model} has no listwise stage, which the lessons are about: serve the page with dear-nano")
    return generator


def _teacher(resources: Resources, walk: Walk) -> dict[str, float]:
    key = f"retriever:{walk.corpus}:dense"
    if resources.part(key).state != "ready" or len(resources.get(f"corpus:{walk.corpus}")) > MAX_FOR_TEACHER:
        return {}
    wanted = set(walk.ids)
    found = resources.get(key).search(walk.query, MAX_FOR_TEACHER)
    scores = {hit.id: COSINE_SCALE * hit.scores["retrieval"] for hit in found if hit.id in wanted}
    return scores if set(scores) == wanted else {}


def _scores(resources: Resources, walk: Walk, passages: Sequence[Passage]) -> list[float]:
    found: dict[int, float] = {}
    with closing(
        zerogpu.scorer(_scorer(resources, walk), walk.model).score(walk.query, [p.text for p in passages], [p.title for p in passages])
    ) as batches:
        for batch in batches:
            found.update(zip(batch.indices, batch.scores, strict=True))
    if len(found) != len(passages) or not all(map(math.isfinite, found.values())):
        raise EngineError("the student gave no usable score: try again, or choose another model")
    return [found[i] for i in range(len(passages))]


def _words_rank(walk: Walk, passages: Sequence[Passage]) -> tuple[str, ...]:
    """BM25's order over these passages alone; what shares no word comes last, in the order given."""
    with corpus_from_passages(passages, "lesson") as corpus:
        found = [hit.id for hit in corpus.retriever("bm25").search(walk.query, len(passages))]
    return (*found, *(p.id for p in passages if p.id not in found))


def _models_rank(resources: Resources, walk: Walk, made: Made, planted: str, changed: Sequence[Passage]) -> Mapping[str, tuple[str, ...]]:
    by_id = {p.id: p for p in changed}
    scores = {**made.scores, planted: _scores(resources, walk, [by_id[planted]])[0]}
    pointwise = tuple(sorted(walk.ids, key=lambda id: (-scores[id], walk.ids.index(id))))
    pipeline = Pipeline(generator=_generator(resources, walk), settings=_settings(len(changed), ("retrieval", "listwise")))
    listwise: tuple[str, ...] = ()
    with closing(zerogpu.ranked(pipeline, walk.model, walk.query, [by_id[id] for id in made.pointwise])) as events:
        for event in events:
            if isinstance(event, ev.Failed):
                raise EngineError(f"{event.stage}: {event.error}")
            if isinstance(event, ev.Final):
                listwise = tuple(hit.id for hit in event.hits)
    return {"pointwise": pointwise, "listwise": listwise}


def _place(order: Sequence[str], passage_id: str) -> int:
    return order.index(passage_id) + 1
