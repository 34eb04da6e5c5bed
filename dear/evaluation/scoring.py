"""Scorers and listwise stages that remember: kept per model, prompt, engine and pair (or list), with the seconds they took.

A query's new scores are kept together, so that a run that goes on batches them as an uninterrupted one would: same batches, same
last bits, same ranking.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Protocol, runtime_checkable

from dear import events as ev
from dear import prompts
from dear.cache import sha256
from dear.engines import EngineInfo, Scored, Scorer
from dear.errors import EngineError
from dear.evaluation.store import Store, key_of
from dear.listwise import Generator
from dear.pipeline import Pipeline, Settings, windows_of
from dear.types import Passage

# Sources whose change may change an answer; a kept one is then not used. A new comment costs a run, a stale answer costs the truth.
READING = ("pairs.py", "excerpts.py", "explain.py", "prompts.py", "loading.py", "engines/transformers.py", "evaluation/peers.py")
WRITING = (
    *("prompts.py", "decoding.py", "quoting.py", "listwise.py", "parse.py", "explain.py", "windows.py", "pipeline.py", "loading.py"),
    *("engines/chat.py", "engines/session.py", "engines/transformers.py", "engines/onnx.py", "engines/fourbit.py"),
)


def identity(info: EngineInfo, weights: str = "", sources: Sequence[str] = READING) -> str:
    """What an answer depends on besides its input: engine, model, precision, kind of device, weights, templates and code as they read now."""
    probe = Passage("p", "text", "title")
    family = info.prompt if info.prompt in prompts.FAMILIES else "nano"
    templates = [prompts.pair("query", "title", "text"), prompts.judge("query", "title", "text"), prompts.listwise("query", [probe], family)]
    device = info.device if info.engine == "openai" else info.device.partition(":")[0]  # a server with its port; cuda:1 is as cuda:0
    return key_of(info.engine, info.model, info.precision, device, info.prompt, weights, templates, _code(sources))


@cache
def _code(sources: Sequence[str]) -> list[str]:
    room = Path(__file__).parents[1]
    return [sha256(room / name) for name in sources]


def weights_of(model: str, stage: str) -> str:
    """A digest of the checkpoint a model name means for a stage, so that new weights under an old name are not taken for the old."""
    from dear.weights import base_digest, fetch
    from dear.zoo import resolve

    checkpoint = resolve(model).checkpoint(stage)
    if checkpoint is None:
        return ""
    shape = (checkpoint.base, checkpoint.family, checkpoint.q_len, checkpoint.p_len, checkpoint.excerpt, checkpoint.context, checkpoint.layers)
    folder = fetch(checkpoint.source)
    stem = "adapter_model" if (folder / "adapter_config.json").is_file() else "model"
    name = folder.name if checkpoint.hub_id else ""  # the hub keeps a revision in a folder named by its commit
    return key_of(shape, name or base_digest(folder, stem=stem), Path(checkpoint.source).name)


@runtime_checkable
class Learns(Protocol):
    """A scorer that reads passages ahead of any query, as an index does; that time is not a query's."""

    def learn(self, texts: Sequence[str], titles: Sequence[str]) -> None: ...


class CachedScorer:
    """A `Scorer` that asks another only for what the store lacks. `seconds` adds up what the scores given so far took when they were made."""

    def __init__(self, inner: Scorer, store: Store, weights: str = "") -> None:
        self.inner, self.info, self.seconds = inner, inner.info, 0.0
        self._store, self._identity = store, identity(inner.info, weights)
        self._warm = False

    def score(self, query: str, texts: Sequence[str], titles: Sequence[str]) -> Iterator[Scored]:
        """Yield what is known, then what is new; see `dear.engines.Scorer`."""
        keys = [key_of(self._identity, query, title, text) for title, text in zip(titles, texts, strict=True)]
        known = self._store.get(list(dict.fromkeys(keys)))
        there = [i for i, key in enumerate(keys) if key in known]
        if there:
            self.seconds += sum(known[keys[i]][1] for i in there)
            yield Scored(tuple(there), tuple(known[keys[i]][0] for i in there), 0)
        new = [i for i, key in enumerate(keys) if key not in known]
        if new:
            yield self._fresh(query, texts, titles, keys, new)

    def _fresh(self, query: str, texts: Sequence[str], titles: Sequence[str], keys: Sequence[str], new: Sequence[int]) -> Scored:
        self._warm_up(query, texts[new[0]], titles[new[0]])
        if isinstance(self.inner, Learns):
            self.inner.learn([texts[i] for i in new], [titles[i] for i in new])
        start = time.perf_counter()
        scores, tokens = _all_scores(self.inner, query, [texts[i] for i in new], [titles[i] for i in new])
        spent = time.perf_counter() - start
        self.seconds += spent
        self._store.put({keys[i]: [score, spent / len(new)] for i, score in zip(new, scores, strict=True)})
        return Scored(tuple(new), tuple(scores), tokens)

    def _warm_up(self, query: str, text: str, title: str) -> None:
        """One pair before the clock runs: the first call pays for lazy loading."""
        if not self._warm:
            _all_scores(self.inner, query, [text], [title])
            self._warm = True


def _all_scores(scorer: Scorer, query: str, texts: Sequence[str], titles: Sequence[str]) -> tuple[list[float], int]:
    found: dict[int, float] = {}
    tokens = 0
    with closing(scorer.score(query, texts, titles)) as batches:  # type: ignore[type-var]
        for batch in batches:
            found.update(zip(batch.indices, batch.scores, strict=True))
            tokens += batch.tokens
    if len(found) != len(texts):
        raise EngineError(f"{len(found)} of {len(texts)} pairs were scored: the engine {scorer.info.engine!r} stopped early, run it again")
    return [float(found[i]) for i in range(len(texts))], tokens


@dataclass(frozen=True, slots=True)
class Listing:
    """A listwise run over one list: ids best first, the windows as they ended, the order each window was given, seconds."""

    ids: tuple[str, ...]
    windows: tuple[ev.WindowEnd, ...]
    given: tuple[tuple[str, ...], ...]
    seconds: float


class CachedLister:
    """The listwise stage of the pipeline, each list ranked once and kept as its events."""

    def __init__(self, generator: Generator, store: Store, settings: Settings, weights: str = "") -> None:
        self.info, self.settings, self.windows = generator.info, settings, windows_of(settings, generator)
        self._pipeline = Pipeline(generator=generator, settings=settings)
        self._store, self._identity = store, identity(generator.info, weights, WRITING)

    def rank(self, query: str, passages: Sequence[Passage]) -> Listing:
        """Rank the passages, given best first; raises `EngineError` when the stage fails."""
        prompt = prompts.listwise(query, passages, self.info.prompt)
        key = key_of(self._identity, asdict(self.settings), prompt, [passage.id for passage in passages])
        found = self._store.get([key])
        if key not in found:
            lines = list(ev.dump(self._run(query, passages)))
            self._store.put({key: lines})
            found = {key: lines}
        return _listing(list(ev.load(found[key])))

    def _run(self, query: str, passages: Sequence[Passage]) -> list[ev.Event]:
        events: list[ev.Event] = []
        for event in self._pipeline.run(query, passages):
            if isinstance(event, ev.Failed):
                raise EngineError(f"{event.stage} failed on query {query!r}: {event.error}")
            if isinstance(event, ev.WindowStart | ev.WindowEnd | ev.Timing | ev.Final):
                events.append(event)
        return events


def _listing(events: Sequence[ev.Event]) -> Listing:
    final = next(event for event in events if isinstance(event, ev.Final))
    timing = next(event for event in events if isinstance(event, ev.Timing))
    spent = timing.stages.get("listwise")
    return Listing(
        tuple(hit.id for hit in final.hits),
        tuple(event for event in events if isinstance(event, ev.WindowEnd)),
        tuple(event.ids for event in events if isinstance(event, ev.WindowStart)),
        spent.seconds if spent else 0.0,
    )
