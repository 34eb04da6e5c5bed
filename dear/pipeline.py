"""Both stages as one stream of events: retrieve, score each passage, read the list, explain.

`Pipeline.run` is the spine of the project. A stage that fails yields `Failed` and leaves the ranking of the stage before
it; closing the iterator at any point stops the model. The last event is always `Final`, a permutation of what was retrieved.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Protocol

from dear import events as ev
from dear.engines import Scorer
from dear.errors import BadInput, DearError
from dear.listwise import Generator, Ranked, prepare, rank
from dear.logs import places
from dear.pointwise import score_hits
from dear.runs import order_scores
from dear.types import STAGES, Evidence, Hit, Passage, Rationale, Stage, check_passages, check_query, rerank_hits
from dear.windows import schedule

logger = logging.getLogger(__name__)

Judge = Callable[[str], Mapping[str, int] | None]


class Retriever(Protocol):
    """First stage: the best `k` passages for a query, each with rank, score and, where lexical, term weights."""

    def search(self, query: str, k: int) -> tuple[Hit, ...]: ...


@dataclass(frozen=True, slots=True)
class Settings:
    """How far each stage goes. `depth` passages go to the listwise stage, in windows of `window` moved by `stride`.

    `max_tokens` of reasoning are written a window. None: windows and tokens as the student's prompt family has them (`windows_of`, `tokens_of`).

    Raises `BadInput` on a value outside its limits.
    """

    candidates: int = 20
    depth: int = 10
    window: int | None = None
    stride: int | None = None
    reasoning: bool = True
    max_tokens: int | None = None
    stages: tuple[Stage, ...] = STAGES

    def __post_init__(self) -> None:
        for name, low, high in (("candidates", 1, 1000), ("depth", 1, 1000), ("max_tokens", 16, 8192)):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise BadInput(f"{name} {value} is outside {low}..{high}: choose a value inside")
        schedule(2, *windows_of(self, None))
        unknown = set(self.stages) - set(STAGES)
        if unknown:
            raise BadInput(f"unknown stage {sorted(unknown)[0]!r}: choose among {', '.join(STAGES)}")


TOKENS = {"dear": 1024}  # the published student writes three steps; its run_listwise.sh has this limit
NANO_TOKENS = 320
PAPER_WINDOWS = (20, 10)  # arXiv 2508.16998: passages of a window, and how far the next one lies
NANO_WINDOWS = (10, 5)  # what a context of 4,096 tokens and a CPU carry


def windows_of(settings: Settings, generator: Generator | None) -> tuple[int, int]:
    """Window and stride: as set, what is left out of the two being nano's; where neither is set, as the generator's prompt family has them.

    >>> windows_of(Settings(window=8), None)
    (8, 5)
    """
    window, stride = settings.window, settings.stride
    if window is None and stride is None and generator and generator.info.prompt == "dear":
        return PAPER_WINDOWS
    return NANO_WINDOWS[0] if window is None else window, NANO_WINDOWS[1] if stride is None else stride


def tokens_of(settings: Settings, generator: Generator | None) -> int:
    """Tokens of reasoning a window, set or as the generator's prompt family needs."""
    return settings.max_tokens or TOKENS.get(generator.info.prompt if generator else "", NANO_TOKENS)


@dataclass
class _Clock:
    """Seconds and tokens per stage, as they add up."""

    times: dict[str, ev.StageTime] = field(default_factory=dict)

    def add(self, stage: str, seconds: float, tokens_in: int = 0, tokens_out: int = 0) -> None:
        old = self.times.get(stage, ev.StageTime(0.0))
        self.times[stage] = ev.StageTime(old.seconds + seconds, old.tokens_in + tokens_in, old.tokens_out + tokens_out)


class Pipeline:
    """Retriever, scorer and generator put together; a part that is None is a stage that is skipped."""

    def __init__(
        self,
        retriever: Retriever | None = None,
        *,
        scorer: Scorer | None = None,
        generator: Generator | None = None,
        judgments: Judge | None = None,
        settings: Settings | None = None,
    ) -> None:
        self.retriever = retriever
        self.scorer = scorer
        self.generator = generator
        self.judgments = judgments
        self.settings = settings or Settings()

    def run(self, query: str, passages: Sequence[Passage] | None = None) -> Iterator[ev.Event]:
        """Stream a run. With `passages` these are the candidates, in the order given, and nothing is retrieved.

        Raises `BadInput` before the first event when the query or the passages cannot be used; afterwards failures are events.
        """
        query = check_query(query)
        given = None if passages is None else check_passages(passages)
        if given is None and self.retriever is None:
            raise BadInput("there is nothing to rank: give passages, or build the pipeline with a retriever")
        return self._run(query, given)

    def _run(self, query: str, given: tuple[Passage, ...] | None) -> Iterator[ev.Event]:
        clock = _Clock()
        yield ev.Started(query, self._config())
        hits = yield from self._guard("retrieval", (), self._retrieve(query, given, clock))
        if hits and self.scorer and "pointwise" in self.settings.stages:
            hits = yield from self._guard("pointwise", hits, self._pointwise(query, hits, clock))
        if hits and self.generator and "listwise" in self.settings.stages:
            hits = yield from self._guard("listwise", hits, self._listwise(query, hits, clock))
        yield from self._measure(query, hits)
        yield ev.Timing(clock.times)
        yield ev.Final(hits)

    def _guard(self, stage: str, before: tuple[Hit, ...], events: Iterator[ev.Event]) -> Iterator[ev.Event]:
        """Pass a stage's events on; return its hits, or those `before` it with a `Failed` when it raises."""
        try:
            return (yield from events)
        except DearError as error:
            logger.debug("%s failed", stage, exc_info=True)
            yield ev.Failed(stage, str(error))
        except Exception as error:  # a model may fail in any way; the ranking before it must survive
            logger.warning("%s failed: %s", stage, places(error))
            yield ev.Failed(stage, f"{type(error).__name__}: {error}: the ranking of the stage before stands; try again or choose another engine")
        return before

    def _retrieve(self, query: str, given: tuple[Passage, ...] | None, clock: _Clock) -> Iterator[ev.Event]:
        start = time.perf_counter()
        if given is not None:
            scores = order_scores([passage.id for passage in given])
            hits = rerank_hits([Hit(passage, rank) for rank, passage in enumerate(given, 1)], "retrieval", scores)
        else:
            assert self.retriever is not None
            hits = tuple(self.retriever.search(query, self.settings.candidates))
        clock.add("retrieval", time.perf_counter() - start)
        if not hits:
            yield ev.Notice("retrieval", "No passage matches this query. Try other words, or the dense retriever, which matches by meaning.")
        yield ev.Retrieved(hits)
        return hits

    def _pointwise(self, query: str, hits: tuple[Hit, ...], clock: _Clock) -> Iterator[ev.Event]:
        start = time.perf_counter()
        assert self.scorer is not None
        ranked, tokens = yield from score_hits(query, hits, self.scorer)
        clock.add("pointwise", time.perf_counter() - start, tokens)
        return ranked

    def _listwise(self, query: str, hits: tuple[Hit, ...], clock: _Clock) -> Iterator[ev.Event]:
        start = time.perf_counter()
        assert self.generator is not None
        order = list(hits)
        rationales: list[Rationale] = []
        spans = schedule(min(self.settings.depth, len(hits)), *windows_of(self.settings, self.generator))
        for index, (a, b) in enumerate(spans, 1):
            ranked = yield from self._window(query, order[a:b], (index, len(spans), (a, b)))
            inside = {hit.id: hit for hit in order[a:b]}
            order[a:b] = [inside[id] for id in ranked.permutation]
            rationales.append(ranked.rationale)
            clock.add("listwise", 0.0, ranked.cost.tokens_in, ranked.cost.tokens_out)
        ranked_hits = rerank_hits(hits, "listwise", order_scores([hit.id for hit in order]))
        clock.add("listwise", time.perf_counter() - start)
        return tuple(_explained(hit, rationales) for hit in ranked_hits)

    def _window(self, query: str, hits: Sequence[Hit], place: tuple[int, int, tuple[int, int]]) -> Iterator[ev.Event]:
        assert self.generator is not None
        index, of, span = place
        most = tokens_of(self.settings, self.generator)
        tokens = most if self.settings.reasoning else 0
        window = prepare(query, [hit.passage for hit in hits], self.generator, max_tokens=tokens)
        if window.trimmed:
            yield ev.Notice("listwise", f"Window {index}: {window.trimmed} of {len(hits)} passages were cut to {window.cap} tokens to fit the model.")
        yield ev.WindowStart(index, of, span, tuple(hit.id for hit in hits), window.prompt)
        with closing(rank(window, self.generator, reasoning=self.settings.reasoning, max_tokens=most)) as stream:
            for piece in stream:
                if isinstance(piece, Ranked):
                    yield ev.WindowEnd(piece.permutation, piece.status, piece.rationale, index)
                    return piece
                yield ev.Token(piece)
        raise DearError(f"window {index} ended without a ranking: the engine stopped early, run it again")

    def _measure(self, query: str, hits: tuple[Hit, ...]) -> Iterator[ev.Event]:
        judgments = self.judgments(query) if self.judgments and hits else None
        if not judgments:
            return
        try:
            from dear.metrics import measure, unjudged

            stages = [stage for stage in STAGES if all(stage in hit.ranks for hit in hits)]
            orders = {stage: [hit.id for hit in sorted(hits, key=lambda hit, stage=stage: hit.ranks[stage])] for stage in stages}
            values = {stage: measure(ids, judgments) for stage, ids in orders.items()}
            missing = {stage: unjudged(ids, judgments) for stage, ids in orders.items()}
            yield ev.Metrics(values, missing, {id: int(grade) for id, grade in judgments.items()})
        except (DearError, ImportError) as error:
            yield ev.Failed("metrics", str(error))

    def _config(self) -> dict[str, str]:
        s = self.settings
        window, stride = windows_of(s, self.generator)
        config = {"candidates": s.candidates, "depth": s.depth, "window": window, "stride": stride, "reasoning": "on" if s.reasoning else "fast"}
        for stage, part in (("pointwise", self.scorer), ("listwise", self.generator)):
            if part is not None and stage in s.stages:
                config[stage] = part.info.chip()
                config[f"{stage}_engine"] = part.info.engine
        if "pointwise" in config and self.scorer is not None and self.scorer.info.excerpt:
            config["excerpt"] = self.scorer.info.excerpt
        if "listwise" in config and self.generator is not None and (most := tokens_of(s, self.generator)) != NANO_TOKENS:
            config["max_tokens"] = most
        return {key: str(value) for key, value in config.items()}


def _explained(hit: Hit, rationales: Sequence[Rationale]) -> Hit:
    """The hit with what the last window that speaks of it said."""
    for rationale in reversed(rationales):
        evidence: tuple[Evidence, ...] = tuple(e for e in rationale.evidence if e.passage_id == hit.id)
        if evidence or hit.id in rationale.reasons:
            return replace(hit, rationale=rationale.reasons.get(hit.id, ""), evidence=evidence)
    return hit
