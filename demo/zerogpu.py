"""Hugging Face Spaces with ZeroGPU: the two model stages in a process that has the GPU for as long as it was asked for.

`spaces` must be imported before torch, so the entry point imports this module first. Where the package is not installed, or the
Space has no ZeroGPU, nothing here changes anything. Retrieval stays in the page's own process, because a Java runtime does not
live on in a forked one; what crosses over are plain records that pickle, and the models are those that were loaded before the fork.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from dear import events as ev
from dear.engines import EngineInfo, Scored, Scorer
from dear.errors import EngineError
from dear.pipeline import Pipeline, Settings, windows_of
from dear.types import Hit, Passage
from dear.windows import schedule
from demo.recordings import recordings

try:
    import spaces
except ImportError:  # anywhere but on Spaces
    spaces = None

F = TypeVar("F", bound=Callable[..., Any])

START_S, PAIR_S, WINDOW_S, FAST_WINDOW_S = 10.0, 0.1, 12.0, 1.5  # of an 8B student in NF4; estimates, not measured on ZeroGPU
MOST_S = 120  # what a visitor without an account may ask for at once
_HELD: dict[str, tuple[Any, Any]] = {}  # model -> (scorer, generator), as the forked process finds them


@dataclass(frozen=True, slots=True)
class _Given:
    """A retriever that was asked already."""

    hits: tuple[Hit, ...]

    def search(self, query: str, k: int) -> tuple[Hit, ...]:
        return self.hits[:k]


def seconds(model: str, query: str, hits: tuple[Hit, ...], settings: Settings, judgments: Mapping[str, int]) -> int:
    """How long the GPU is asked for: by the number of pairs and of windows. The arguments are those of `rerank`."""
    windows = len(schedule(min(settings.depth, len(hits)), *windows_of(settings, None)))
    return min(MOST_S, round(START_S + PAIR_S * len(hits) + windows * (WINDOW_S if settings.reasoning else FAST_WINDOW_S)))


def gpu(duration: Callable[..., int]) -> Callable[[F], F]:
    """`spaces.GPU` where there is one, else the identity."""
    return spaces.GPU(duration=duration) if spaces is not None else lambda task: task


@gpu(seconds)
def rerank(model: str, query: str, hits: tuple[Hit, ...], settings: Settings, judgments: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    """A run over candidates that are there already, by the models held for `model`, as data that pickles (`dear.events.to_dict`)."""
    scorer, generator = _held(model)
    pipeline = Pipeline(_Given(hits), scorer=scorer, generator=generator, judgments=lambda query: judgments, settings=settings)
    yield from map(ev.to_dict, pipeline.run(query))


def ranking_seconds(model: str, query: str, passages: tuple[Passage, ...], settings: Settings) -> int:
    """How long the GPU is asked for by `rank`, whose arguments these are."""
    return seconds(model, query, tuple(Hit(passage, 1) for passage in passages), settings, {})


@gpu(ranking_seconds)
def rank(model: str, query: str, passages: tuple[Passage, ...], settings: Settings) -> Iterator[dict[str, Any]]:
    """As `rerank`, over passages in the order given, which nobody retrieved."""
    scorer, generator = _held(model)
    yield from map(ev.to_dict, Pipeline(scorer=scorer, generator=generator, settings=settings).run(query, passages))


def scoring_seconds(model: str, query: str, texts: tuple[str, ...], titles: tuple[str, ...]) -> int:
    """How long the GPU is asked for by `score`, whose arguments these are."""
    return min(MOST_S, round(START_S + PAIR_S * len(texts)))


@gpu(scoring_seconds)
def score(model: str, query: str, texts: tuple[str, ...], titles: tuple[str, ...]) -> Iterator[Scored]:
    """Batches of scores by the scorer held for `model`."""
    yield from _held(model)[0].score(query, texts, titles)


def _held(model: str) -> tuple[Any, Any]:
    if model not in _HELD:
        raise EngineError(f"{model} was loaded after the GPU process began: try again in a minute")
    return _HELD[model]


@dataclass(frozen=True, slots=True)
class OnGpu:
    """A scorer whose every call has the GPU."""

    scorer: Scorer
    model: str

    @property
    def info(self) -> EngineInfo:
        """What runs, as the scorer itself says."""
        return self.scorer.info

    def score(self, query: str, texts: Sequence[str], titles: Sequence[str]) -> Iterator[Scored]:
        """See `dear.engines.Scorer`."""
        _HELD[self.model] = (self.scorer, None)
        with _quota_told(), closing(score(self.model, query, tuple(texts), tuple(titles))) as batches:
            yield from batches


def scorer(found: Scorer, model: str) -> Scorer:
    """The scorer as it can be called from the page's process: itself, or by way of the GPU of a ZeroGPU Space."""
    return OnGpu(found, model) if _needs(found) else found


def ranked(pipeline: Pipeline, model: str, query: str, passages: Sequence[Passage]) -> Iterator[ev.Event]:
    """The pipeline's events over given passages, by way of the GPU where the pipeline needs it."""
    if not wanted(pipeline):
        yield from pipeline.run(query, passages)
        return
    _HELD[model] = (pipeline.scorer, pipeline.generator)
    with _quota_told(), closing(rank(model, query, tuple(passages), pipeline.settings)) as events:
        yield from map(ev.from_dict, events)


@contextmanager
def _quota_told() -> Iterator[None]:
    """Turns the Space's own error into one that says what to do."""
    try:
        yield
    except Exception as error:
        if not _quota_gone(error):
            raise
        raise EngineError("the GPU quota of today is used up: choose dear-nano, which needs no GPU, or come back tomorrow") from error


def wanted(pipeline: Pipeline) -> bool:
    """Whether a run of this pipeline needs the GPU of a ZeroGPU Space."""
    return _needs(pipeline.scorer) or _needs(pipeline.generator)


def _needs(part: Any) -> bool:
    return spaces is not None and bool(os.environ.get("SPACES_ZERO_GPU")) and part is not None and part.info.device.startswith("cuda")


def run(pipeline: Pipeline, model: str, query: str) -> Iterator[ev.Event]:
    """The pipeline's events with both model stages on the GPU; what there is without one when the quota is used up."""
    _HELD[model] = (pipeline.scorer, pipeline.generator)
    began = time.perf_counter()
    hits = tuple(pipeline.retriever.search(query, pipeline.settings.candidates)) if pipeline.retriever else ()
    took = time.perf_counter() - began
    judgments = dict((pipeline.judgments(query) if pipeline.judgments else None) or {})
    try:
        for event in rerank(model, query, hits, pipeline.settings, judgments):
            yield _timed(ev.from_dict(event), took)
    except Exception as error:
        if not _quota_gone(error):
            raise
        yield from _without_gpu(query, hits, pipeline.settings)


def _timed(event: ev.Event, took: float) -> ev.Event:
    """A `Timing` that knows what retrieval cost before the candidates were handed over."""
    return replace(event, stages={**event.stages, "retrieval": ev.StageTime(took)}) if isinstance(event, ev.Timing) else event


def _quota_gone(error: Exception) -> bool:
    said = f"{getattr(error, 'title', '')} {error}".lower()
    return "quota" in said or "gpu limit" in said


def _without_gpu(query: str, hits: tuple[Hit, ...], settings: Settings) -> Iterator[ev.Event]:
    """The recorded run of this very question, or the candidates with what to do instead."""
    known = recordings()
    for recording in known:
        if recording.query == query:
            yield recording.events[0]
            yield ev.Notice("run", "The GPU quota of today is used up: this is a run recorded earlier, with the settings of its time.")
            yield from recording.events[1:]
            return
    asked = "; ".join(recording.query for recording in known)
    why = f"the GPU quota of today is used up: choose dear-nano, which needs no GPU, or ask one of the recorded questions ({asked})"
    for event in Pipeline(_Given(hits), settings=settings).run(query):
        yield event
        if isinstance(event, ev.Started):
            yield from (ev.Failed(stage, why) for stage in ("pointwise", "listwise"))
