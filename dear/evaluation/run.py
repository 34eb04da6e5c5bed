"""The evaluation of one model on one benchmark after the other."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from dear.errors import BadInput
from dear.evaluation.benchmarks import lookup
from dear.evaluation.checking import explain
from dear.evaluation.opening import Room, Want, open_benchmark
from dear.evaluation.peers import MINILM, REFERENCE, open_peer, peer_weights
from dear.evaluation.questions import Opened, Question
from dear.evaluation.reference import WINDOWS, by_reference_windows
from dear.evaluation.report import Measured, line, measure_rows
from dear.evaluation.scoring import CachedLister, CachedScorer, weights_of
from dear.evaluation.stages import Progress, Row, by_lister, by_scorer, first_stage
from dear.evaluation.store import Store
from dear.pipeline import NANO_TOKENS, NANO_WINDOWS, PAPER_WINDOWS, TOKENS, Settings

logger = logging.getLogger(__name__)

PAPER = {"top": 100, "window": PAPER_WINDOWS[0], "stride": PAPER_WINDOWS[1], "max_tokens": TOKENS["dear"]}  # DeAR, arXiv 2508.16998
NANO = {"top": 10, "window": NANO_WINDOWS[0], "stride": NANO_WINDOWS[1], "max_tokens": NANO_TOKENS}

PEERS = ("bm25", MINILM)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure. None where the model decides (`reach`)."""

    benchmarks: tuple[str, ...]
    model: str = "dear-nano"
    engine: str = "auto"
    stages: tuple[str, ...] = ("bm25", "dense", "pointwise", "listwise", "fast")
    want: Want = field(default_factory=Want)
    top: int | None = None
    window: int | None = None
    stride: int | None = None
    max_tokens: int | None = None
    peers: tuple[str, ...] = PEERS
    explain: bool = True
    shuffles: int = 10
    probes: int = 10  # questions whose input is shuffled and planted
    precision: str = "auto"  # of every stage whose engine knows it

    def __post_init__(self) -> None:
        if not self.benchmarks:
            raise BadInput("no benchmark to measure on: name at least one")
        _check_names(self.benchmarks)
        _check_precision(self.precision)
        for stage in (*self.stages, *(("listwise",) if WINDOWS in self.peers else ())):
            _check_stage(self, stage)
        self.settings(reasoning=True)

    def reach(self) -> dict[str, int]:
        """How far the listwise stage goes and how much it writes: as in the paper, or nano's own smaller numbers, unless set."""
        small = self.model in ("dear-nano", "fake") or self.engine == "fake" or _is_small(self.model)
        return {name: value if (given := getattr(self, name)) is None else given for name, value in (NANO if small else PAPER).items()}

    def settings(self, *, reasoning: bool) -> Settings:
        """The pipeline's settings for the listwise stage."""
        reach = self.reach()
        return Settings(
            candidates=max(reach["top"], 1), depth=reach["top"], window=reach["window"], stride=reach["stride"],
            reasoning=reasoning, max_tokens=reach["max_tokens"], stages=("retrieval", "listwise"),
        )  # fmt: skip


def _check_precision(precision: str) -> None:
    """Raise `BadInput` where no engine knows the precision: a stage that does not know it goes on in its own."""
    from dear.engines.choice import PRECISIONS

    known = ("auto", *dict.fromkeys(name for names in PRECISIONS.values() for name in names))
    if precision not in known:
        raise BadInput(f"precision {precision!r} is not known: use one of {', '.join(known)}")


def _check_names(benchmarks: Sequence[str]) -> None:
    """Raise `BadInput` where two benchmarks would write the same files."""
    names = [row.name if (row := lookup(name)) else Path(name).expanduser().resolve().name for name in benchmarks]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise BadInput(f"two benchmarks are called {repeated[0]!r} and would write the same files: measure them in two runs, or rename a folder")


def _check_stage(plan: Plan, stage: str) -> None:
    """Raise `BadInput` where the model cannot do a stage: before any index is opened."""
    from dear.zoo import resolve

    needed = {"pointwise": "pointwise", "listwise": "listwise", "fast": "listwise"}.get(stage)
    if needed is None or plan.engine == "fake":
        return
    if not resolve(plan.model).has(needed):
        raise BadInput(f"{plan.model!r} does not do the {needed} stage: leave {stage} out of --stages (and --peers), or choose another --model")
    if stage == "fast" and plan.model.startswith("openai:"):
        raise BadInput(f"{plan.model!r} gives text only and the fast mode needs logits: leave fast out of --stages")


def _is_small(model: str) -> bool:
    from dear.zoo import resolve

    checkpoint = resolve(model).listwise
    return checkpoint is not None and checkpoint.family == "nano" and checkpoint.context <= 4096


class Parts:
    """The model's parts and the peers, each opened when it is first needed."""

    def __init__(self, plan: Plan, room: Room, store: Store) -> None:
        self.plan, self.room, self.store = plan, room, store
        self._peers: dict[str, CachedScorer] = {}

    @cached_property
    def scorer(self) -> CachedScorer:
        """Stage 1."""
        from dear.engines.choice import PRECISIONS, open_scorer

        wanted = self.plan.precision if self.plan.precision in PRECISIONS["transformers"] else "auto"  # pairs are scored by torch alone
        return CachedScorer(open_scorer(self.plan.model, engine=self.plan.engine, precision=wanted), self.store, self._weights("pointwise"))

    @cached_property
    def generator(self) -> Any:
        """Stage 2's model."""
        from dear.engines.choice import open_generator

        return open_generator(self.plan.model, engine=self.plan.engine, precision=self.plan.precision)

    @cached_property
    def _listwise_weights(self) -> str:
        return self._weights("listwise")

    def lister(self, *, reasoning: bool) -> CachedLister:
        """Stage 2, with reasoning or in its fast mode."""
        return CachedLister(self.generator, self.store, self.plan.settings(reasoning=reasoning), self._listwise_weights)

    def peer(self, name: str) -> CachedScorer:
        """A peer by name."""
        if name not in self._peers:
            info = self.scorer.info if name == REFERENCE else None
            precision, device = (info.precision, info.device) if info else ("fp32", "cpu")
            inner = open_peer(name, embed=lambda texts: self.room("dense").embed(texts), model=self.plan.model, precision=precision, device=device)
            self._peers[name] = CachedScorer(inner, self.store, self._weights("pointwise") if info else peer_weights(name))
        return self._peers[name]

    def engine(self) -> str:
        """What ran, in words, for the parts that were opened."""
        opened = [self.__dict__[part].info for part in ("scorer", "generator") if part in self.__dict__]
        return " + ".join(dict.fromkeys(f"{info.engine} {info.precision} {info.device}" for info in opened)) or "none"

    def _weights(self, stage: str) -> str:
        fake = "fake" in (self.plan.model, self.plan.engine) or self.plan.model.startswith("openai:")
        return "" if fake else weights_of(self.plan.model, stage)


@dataclass(frozen=True, slots=True)
class Result:
    """A benchmark's JSON line and the rows it was made from."""

    line: Mapping[str, Any]
    measured: Measured


def evaluate(plan: Plan, room: Room, *, store: Store | None = None, progress: Progress | None = None) -> Iterator[Result]:
    """Measure the plan's benchmarks one after the other. What was answered before is taken from the store."""
    parts = Parts(plan, room, store or Store())
    show = progress or _silent
    for peer in plan.peers:
        if peer not in ("bm25", WINDOWS):
            parts.peer(peer)  # a wrong path or id says so now, not after the stages
    for name in plan.benchmarks:
        opened = open_benchmark(name, plan.want, room, show)
        logger.info("%s: %d queries, %s", name, len(opened), "; ".join(opened.notes))
        yield _measure(plan, opened, parts, show)


def _measure(plan: Plan, opened: Opened, parts: Parts, progress: Progress) -> Result:
    rows = stage_rows(plan, opened, parts, progress)
    measured = measure_rows(opened, rows, _peer_rows(plan, opened, parts, rows, progress))
    explanations = explain(measured, parts, progress) if plan.explain else {}
    settings = {**plan.reach(), "depth": plan.want.depth, "pool": opened.benchmark.pool}
    return Result(line(measured, model=plan.model, engine=parts.engine(), settings=settings, explanations=explanations), measured)


def stage_rows(plan: Plan, opened: Opened, parts: Parts, progress: Progress) -> list[Row]:
    """The rows of the plan's stages; a listwise row starts from the pointwise one where there is one, else from the first stage."""
    rows = [first_stage(opened)] if "bm25" in plan.stages else []
    if "dense" in plan.stages:
        rows.append(_dense(opened, parts, progress, "dense"))
    if "pointwise" in plan.stages:
        rows.append(by_scorer("pointwise", opened, parts.scorer, plan.want.depth, progress))
    before = _before(rows, opened)
    for stage in ("listwise", "fast"):
        if stage in plan.stages:
            rows.append(by_lister(stage, opened, parts.lister(reasoning=stage == "listwise"), before, plan.reach()["top"], progress))
    return rows


def _before(rows: Sequence[Row], opened: Opened) -> Row:
    """What a listwise stage starts from."""
    return next((row for row in rows if row.stage == "pointwise"), None) or first_stage(opened)


def _dense(opened: Opened, parts: Parts, progress: Progress, name: str) -> Row:
    """MiniLM over the whole pool, however deep: with passages embedded once that costs little."""
    whole = max((len(question.pool) for question in opened), default=0)
    return by_scorer(name, opened, parts.peer(MINILM), max(1, whole), progress)


def _peer_rows(plan: Plan, opened: Opened, parts: Parts, rows: Sequence[Row], progress: Progress) -> list[Row]:
    """The peers' rows, under the peers' names."""
    found: list[Row] = []
    for name in plan.peers:
        if name == "bm25":
            found.append(next((row for row in rows if row.stage == opened.first_stage), first_stage(opened)))
        elif name == MINILM:
            same = next((row for row in rows if row.stage == "dense"), None)
            found.append(Row(name, same.ranked if same else _dense(opened, parts, progress, name).ranked, opened.first_stage))
        elif name == WINDOWS:
            lister = parts.lister(reasoning="fast" not in plan.stages or "listwise" in plan.stages)
            found.append(by_reference_windows(opened, lister, _before(rows, opened), plan.reach()["top"], progress))
        else:
            found.append(by_scorer(name, opened, parts.peer(name), plan.want.depth, progress))
    return found


def _silent(items: Iterable[Question], what: str, total: int) -> Iterable[Question]:
    return items
