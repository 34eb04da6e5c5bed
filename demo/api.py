"""The same stream over HTTP and MCP: four calls, bounded and read-only. Knows no gradio; `demo.tabs.api` puts it on the server.

What is wrong with a call is a `DearError` that names the value, the limit and the remedy. Nothing given is kept, and a
visitor's own passages cannot be named from here.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from dear import events as ev
from dear.errors import BadInput, DearError, EngineError
from dear.logs import places
from dear.pipeline import Pipeline, Settings
from dear.runs import ranking_so_far
from dear.types import Hit, Passage, check_query
from demo import limits, zerogpu
from demo.answering import nothing_answers
from demo.limits import Request, check, check_name, check_number
from demo.pump import awaited, pumped
from demo.recordings import Recording
from demo.resources import Resources
from demo.session import Ticket, run_events

logger = logging.getLogger(__name__)

T = TypeVar("T")
Events = list[dict[str, Any]]
Retriever = Literal["bm25", "bm25+rm3", "dense", "hybrid"]
PASSAGES = (1, 50, 0)  # least and most that one call may have scored
BROKE = "this call broke off: the server goes on, try again"


@dataclass(frozen=True)
class Api:
    """The calls. Each takes plain values from anybody, checks all of them, and answers in JSON-ready data."""

    resources: Resources
    recorded: Sequence[Recording] = ()

    def retrieve(self, query: str, corpus: str = "", retriever: Retriever = "bm25", candidates: int = limits.CANDIDATES[2]) -> list[dict[str, Any]]:
        """Find candidate passages for a query. No language model is used.

        Args:
            query: A question of at most 300 characters.
            corpus: A corpus of this server; the first one when left empty.
            retriever: bm25, bm25+rm3, dense or hybrid.
            candidates: How many passages to find, 5 to 50.

        Returns:
            Passages, best first, each with id, rank, title, text, scores and, for BM25, what each term contributed.
        """
        key = f"retriever:{self._corpus(corpus)}:{check_name('retriever', retriever, limits.RETRIEVERS)}"
        size = check_number("number of candidates", candidates, limits.CANDIDATES)
        asked = check_query(_text("query", query))
        self.resources.want(key)
        return _guarded(lambda: _hits(self.resources.get(key).search(asked, size)))

    def score(self, query: str, passages: list[str], model: str = "") -> Iterator[list[dict[str, Any]]]:
        """Score your own passages against a query, each by itself (the pointwise stage).

        Args:
            query: A question of at most 300 characters.
            passages: 1 to 50 texts of at most 2,000 characters.
            model: A model of this server; the first one when left empty.

        Returns:
            One entry a passage, in the order given: index, rank and score (a logit, higher is more relevant). While it works, empty lists.
        """
        asked, given, key = check_query(_text("query", query)), _passages(passages), f"scorer:{self._model(model)}"

        def events() -> Iterator[ev.Event]:
            scorer = self.resources.get(key)
            if scorer is None:
                raise EngineError("this model has no pointwise stage: choose another model")
            return zerogpu.ranked(Pipeline(scorer=scorer, settings=Settings(stages=("pointwise",))), key.partition(":")[2], asked, given)

        done: list[ev.Event] = []
        for batch in self._paced([key], events):
            done += batch
            yield []
        yield _scores(done)

    def rerank_explain(
        self,
        query: str,
        corpus: str = "",
        retriever: Retriever = "bm25",
        candidates: int = limits.CANDIDATES[2],
        depth: int = limits.DEPTH[2],
        window: int = limits.WINDOW[2],
        stride: int = limits.STRIDE[2],
        model: str = "",
        reasoning: bool = True,
    ) -> Iterator[list[dict[str, Any]]]:
        """Search, score each candidate, read the best side by side, and rank them with reasons and quotes.

        Args:
            query: A question of at most 300 characters.
            corpus: A corpus of this server; the first one when left empty.
            retriever: bm25, bm25+rm3, dense or hybrid.
            candidates: How many passages are retrieved and scored, 5 to 50.
            depth: How many of the best are read side by side, 2 to 50.
            window: How many the model reads at once, 2 to 20.
            stride: How far the window moves towards the top, at most the window.
            model: A model of this server; the first one when left empty.
            reasoning: False is the fast mode, which writes nothing.

        Returns:
            The run's events in pieces. The last piece is one event, Final: the ranking with rank and score per stage, rationale and
            evidence, and beside it notices, failed stages, metrics, timing, and `unanswered`: where no passage scores as an answer
            the best score and the level it stays below, else null.
        """
        corpora, models = self.resources.corpora, self.resources.models
        named = (self._corpus(corpus), retriever, candidates, depth, window, stride, self._model(model), reasoning)
        asked = check(query, *named, corpora=corpora, models=models)
        yield from self._explained(asked)

    def replay(self, name: str = "") -> list[dict[str, Any]]:
        """Give a recorded run, which needs no model.

        Args:
            name: A recording's name; when left empty, the answer lists names and queries.

        Returns:
            The run's events, or the recordings there are.
        """
        if name == "":
            return [{"name": recording.name, "query": recording.query} for recording in self.recorded]
        found = check_name("recording", name, [recording.name for recording in self.recorded])
        return next([ev.to_dict(event) for event in recording.events] for recording in self.recorded if recording.name == found)

    def _explained(self, asked: Request) -> Iterator[Events]:
        keys = (f"retriever:{asked.corpus}:{asked.retriever}", f"scorer:{asked.model}", f"generator:{asked.model}")
        seen: list[ev.Event] = []
        try:
            for batch in self._paced(keys, lambda: run_events(self.resources, asked)):
                seen += batch
                yield [ev.to_dict(event) for event in batch if not isinstance(event, ev.Final)]
        except _Overdue as error:
            seen.append(ev.Notice("run", str(error)))
        yield [_summed(seen)]

    def _paced(self, keys: Sequence[str], make: Callable[[], Iterator[T]]) -> Iterator[list[T]]:
        """What `make()` yields, in lists ten times a second at most; empty ones while nothing comes, so that a caller who left is noticed."""
        ticket = Ticket("api")
        began, sent, held = time.monotonic(), 0.0, []
        try:
            for _ in awaited(self.resources, keys, ticket):
                _in_time(began)
                yield []
            with closing(pumped(lambda: iter(make()), ticket, self.resources.model_lock)) as items:
                for item in items:
                    _in_time(began)
                    held += [] if item is None else [item]
                    if time.monotonic() - sent >= (limits.UPDATE_S if held else limits.HEARTBEAT_S):
                        yield held
                        sent, held = time.monotonic(), []
            yield held
        except DearError:
            raise
        except Exception as error:
            logger.warning("a call failed: %s", places(error))
            raise EngineError(BROKE) from error
        finally:
            ticket.end()

    def _corpus(self, name: object) -> str:
        return check_name("corpus", name or self.resources.corpora[0], self.resources.corpora)

    def _model(self, name: object) -> str:
        return check_name("model", name or self.resources.models[0], self.resources.models)


class _Overdue(DearError):
    """The call took longer than a run may take."""


def _in_time(began: float) -> None:
    if time.monotonic() - began > limits.DEADLINE_S:
        raise _Overdue(f"the run took longer than {limits.DEADLINE_S:.0f} seconds and was ended: ask for fewer candidates")


def _guarded(work: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    try:
        return work()
    except DearError:
        raise
    except Exception as error:
        logger.warning("a call failed: %s", places(error))
        raise EngineError(BROKE) from error


def _hits(hits: Sequence[Hit]) -> list[dict[str, Any]]:
    return ev.to_dict(ev.Retrieved(tuple(hits)))["hits"]


def _scores(events: Sequence[ev.Event]) -> list[dict[str, Any]]:
    """Index, rank and score of each passage, in the order given; raises `EngineError` with what the stage failed on."""
    failed = next((event.error for event in events if isinstance(event, ev.Failed)), None)
    if failed:
        raise EngineError(failed)
    hits = sorted(ranking_so_far(events), key=lambda hit: int(hit.id))
    return [{"index": int(hit.id), "rank": hit.ranks["pointwise"], "score": hit.scores["pointwise"]} for hit in hits]


def _summed(events: Sequence[ev.Event]) -> dict[str, Any]:
    """The run's last event with what else a caller who reads only that one should know. `dear.events.from_dict` passes over the rest."""
    final = ev.to_dict(ev.Final(ranking_so_far(events)))
    plain = [ev.to_dict(event) for event in events if isinstance(event, ev.Notice | ev.Failed | ev.Metrics | ev.Timing)]
    of = lambda name: [event for event in plain if event["type"] == name]  # noqa: E731
    return {
        **final,
        "notices": of("Notice"),
        "failed": of("Failed"),
        "metrics": of("Metrics"),
        "timing": of("Timing"),
        "unanswered": _unanswered(events),
    }


def _unanswered(events: Sequence[ev.Event]) -> dict[str, float] | None:
    engine = next((event.config.get("pointwise", "") for event in events if isinstance(event, ev.Started)), "")
    scored = next((event.hits for event in events if isinstance(event, ev.Pointwise)), ())
    found = nothing_answers(engine, {hit.id: hit.scores["pointwise"] for hit in scored})
    return {"best": found[0], "level": found[1].score} if found else None


def _text(what: str, value: object) -> str:
    if not isinstance(value, str):
        raise BadInput(f"the {what} is not text: give a string")
    return value


def _passages(given: object) -> list[Passage]:
    least, most, _ = PASSAGES
    if not isinstance(given, list) or not least <= len(given) <= most:
        count = len(given) if isinstance(given, list) else "none"
        raise BadInput(f"{count} passages are given as a list: give {least} to {most}")
    for number, text in enumerate(given):
        if not isinstance(text, str) or not text.strip():
            raise BadInput(f"passage {number} is empty or not text: leave it out")
        if len(text) > limits.MAX_SHOWN_CHARS:
            raise BadInput(f"passage {number} has {len(text):,} characters, the limit is {limits.MAX_SHOWN_CHARS:,}: shorten it or split it")
    return [Passage(str(number), text) for number, text in enumerate(given)]
