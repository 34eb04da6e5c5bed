"""The library's front door: load a student once, rank many lists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from dear import events as ev
from dear.engines import Scorer
from dear.errors import BadInput, EngineError
from dear.listwise import Generator
from dear.pipeline import Judge, Pipeline, Retriever, Settings
from dear.types import Hit, Passage, Stage

Which = Literal["both", "pointwise", "listwise"]
STAGES_OF: dict[str, tuple[Stage, ...]] = {
    "both": ("retrieval", "pointwise", "listwise"),
    "pointwise": ("retrieval", "pointwise"),
    "listwise": ("retrieval", "listwise"),
}


@dataclass(frozen=True)
class Reranker:
    """A loaded student: a scorer for stage 1, a generator for stage 2, either may be absent."""

    scorer: Scorer | None
    generator: Generator | None
    settings: Settings

    @classmethod
    def load(cls, model: str = "dear-nano", *, stage: Which = "both", engine: str = "auto", settings: Settings | None = None) -> Reranker:
        """Load a model of the zoo, a local folder or a hub id; raises `UnknownModel`, `CheckpointError` or `EngineError`, never half-loads.

        `stage` says which stages to load; `engine` is auto, transformers, onnx, openai or fake.
        """
        if stage not in STAGES_OF:
            raise BadInput(f"unknown stage {stage!r}: use one of {', '.join(STAGES_OF)}")
        from dear.engines.choice import open_generator, open_scorer
        from dear.zoo import resolve

        bundle = resolve(model)
        wanted = [s for s in STAGES_OF[stage] if s != "retrieval" and (stage != "both" or bundle.has(s))]
        scorer = open_scorer(model, engine=engine) if "pointwise" in wanted else None
        generator = open_generator(model, engine=engine) if "listwise" in wanted else None
        return cls(scorer, generator, replace(settings or Settings(), stages=("retrieval", *wanted)))

    def rank(self, query: str, passages: Sequence[str | Passage | Mapping[str, str]]) -> tuple[Hit, ...]:
        """Rank passages: strings (ids "1", "2", …), `Passage`s, or mappings with `id`, `text`, `title`. An empty list gives an empty ranking.

        Raises `BadInput` on unusable input and `EngineError` when a stage fails.
        """
        if not passages:
            return ()
        final: tuple[Hit, ...] = ()
        for event in self.stream(query, passages):
            if isinstance(event, ev.Failed):
                raise EngineError(f"{event.stage}: {event.error}")
            if isinstance(event, ev.Final):
                final = event.hits
        return final

    def stream(self, query: str, passages: Sequence[str | Passage | Mapping[str, str]]) -> Iterator[ev.Event]:
        """The same as a stream of events, failures included; see `dear.events`."""
        return self.pipeline().run(query, [as_passage(p, n) for n, p in enumerate(passages, 1)])

    def pipeline(self, retriever: Retriever | None = None, *, judgments: Judge | None = None, settings: Settings | None = None) -> Pipeline:
        """A pipeline over a retriever, e.g. `open_corpus("teaching").retriever("bm25")`."""
        settings = settings or self.settings
        return Pipeline(retriever, scorer=self.scorer, generator=self.generator, judgments=judgments, settings=settings)


def as_passage(value: str | Passage | Mapping[str, str], number: int) -> Passage:
    """A passage from what a user has at hand; raises `BadInput` on a mapping without text.

    >>> as_passage("short waves scatter more", 1)
    Passage(id='1', text='short waves scatter more', title='')
    """
    if isinstance(value, Passage):
        return value
    if isinstance(value, str):
        return Passage(str(number), value)
    if isinstance(value, Mapping) and isinstance(value.get("text"), str):
        return Passage(str(value.get("id", number)), value["text"], str(value.get("title") or ""))
    raise BadInput(f"passage {number} is {type(value).__name__} without a text: give a string, a Passage, or a mapping with 'text'")
