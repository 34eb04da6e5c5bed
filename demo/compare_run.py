"""A comparison as the page makes it: candidates once, then both configurations one after the other, until done or stopped."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from dear import events as ev
from dear.errors import DearError
from dear.logs import places
from dear.pipeline import Pipeline, Settings
from dear.types import Hit
from demo import zerogpu
from demo.comparison import Asked, Comparison, Setup, Side, arranged, ndcg
from demo.pump import Stopped, Waiting, worked
from demo.resources import Resources
from demo.session import Ticket

logger = logging.getLogger(__name__)

BROKEN = "The comparison broke off ({}). The server goes on: try again, or choose another model"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a comparison is, in words a side, and what ended it: `result` when both sides are there, else `stopped` or `error`."""

    waiting: str = ""
    doing: tuple[str, str] = ("", "")
    shares: tuple[float, float] = (0.0, 0.0)
    result: Comparison | None = None
    stopped: str = ""
    error: str = ""


def compare(resources: Resources, asked: Asked, ticket: Ticket) -> Iterator[Progress]:
    """Views of the comparison, the last with its end. Closing it, or ending the ticket, stops the model."""
    try:
        yield from _compare(resources, asked, ticket)
    except DearError as error:
        yield Progress(error=str(error))
    except Exception as error:
        logger.warning("a comparison failed: %s", places(error))
        yield Progress(error=BROKEN.format(type(error).__name__))
    finally:
        ticket.end()


def _compare(resources: Resources, asked: Asked, ticket: Ticket) -> Iterator[Progress]:
    now = Progress("Finding candidates")
    yield now
    sides: dict[int, Side] = {}
    try:
        for item in worked(resources, _keys(asked), lambda: _both(resources, asked), ticket):
            if isinstance(item, Waiting):
                changed = replace(now, waiting=item.words)
            else:
                number, step = item
                if isinstance(step, Side):
                    sides[number] = step
                changed = _step(replace(now, waiting=""), number, step)
            if changed != now:
                now = changed
                yield now
    except Stopped as error:
        yield replace(now, stopped=str(error))
        return
    yield replace(now, result=_result(resources, asked, (sides[0], sides[1])))


def _keys(asked: Asked) -> tuple[str, ...]:
    wanted = [f"retriever:{asked.corpus}:bm25"]
    for setup in asked.setups:
        wanted += [_part(asked, setup, stage) for stage in setup.stages]
    return tuple(dict.fromkeys(wanted))


def _part(asked: Asked, setup: Setup, stage: str) -> str:
    if stage == "pointwise":
        return f"scorer:{asked.model}"
    return f"generator:{asked.model}" + ("" if setup.precision == "auto" else f":{setup.precision}")


def _both(resources: Resources, asked: Asked) -> Iterator[tuple[int, Any]]:
    """Thread: (side, event) of both runs, each side's last item its `Side`."""
    hits = resources.get(f"retriever:{asked.corpus}:bm25").search(asked.query, asked.candidates)
    if len(hits) < 2:
        raise DearError(f"{len(hits)} passages were found, two are needed to compare: try other words")
    for number, setup in enumerate(asked.setups):
        began, problems, final = time.monotonic(), [], ()
        with closing(_run(resources, asked, setup, hits)) as events:
            for event in events:
                if isinstance(event, ev.Failed):
                    problems.append(f"{event.stage}: {event.error}")
                if isinstance(event, ev.Final):
                    final = event.hits
                yield number, event
        yield number, Side(setup, _with_terms(final, hits), time.monotonic() - began, tuple(problems))


def _run(resources: Resources, asked: Asked, setup: Setup, hits: tuple[Hit, ...]) -> Iterator[ev.Event]:
    parts = {stage: resources.get(_part(asked, setup, stage)) for stage in setup.stages}
    missing = [stage for stage, part in parts.items() if part is None]
    if missing:
        raise DearError(f"{asked.model} does not do the {missing[0]} stage: choose another model or method")
    count = len(hits)
    settings = Settings(candidates=count, depth=max(count, 1), reasoning=setup.reasoning, stages=("retrieval", *setup.stages))
    pipeline = Pipeline(scorer=parts.get("pointwise"), generator=parts.get("listwise"), settings=settings)
    yield from zerogpu.ranked(pipeline, asked.model, asked.query, arranged(hits, setup.order))


def _with_terms(final: tuple[Hit, ...], hits: tuple[Hit, ...]) -> tuple[Hit, ...]:
    """The ranked hits with rank and weights of the retrieval they all came from, whatever order they were handed on in."""
    first = {hit.id: hit for hit in hits}
    return tuple(
        replace(hit, terms=first[hit.id].terms, ranks={**hit.ranks, "retrieval": first[hit.id].rank}, rank=rank) for rank, hit in enumerate(final, 1)
    )


def _step(now: Progress, number: int, step: Any) -> Progress:
    words, share = "", now.shares[number]
    if isinstance(step, Side):
        words, share = "done", 1.0
    elif isinstance(step, ev.PointScore):
        words, share = f"scored {step.done} of {step.total}", 0.9 * step.done / step.total
    elif isinstance(step, ev.WindowStart):
        words, share = f"reading window {step.index} of {step.of}", (step.index - 1) / step.of
    elif isinstance(step, ev.Token) and step.text:
        words = now.doing[number] if now.doing[number].endswith("writing") else f"{now.doing[number].replace('reading', 'in')}, writing"
    elif isinstance(step, ev.WindowEnd):
        words = f"window {step.index} ranked"
    if not words:
        return now
    doing, shares = list(now.doing), list(now.shares)
    doing[number], shares[number] = words, share
    return replace(now, doing=(doing[0], doing[1]), shares=(shares[0], shares[1]))


def _result(resources: Resources, asked: Asked, sides: tuple[Side, Side]) -> Comparison:
    judgments = resources.get(f"corpus:{asked.corpus}").judgments(asked.query) or {}
    first, second = (replace(side, ndcg=ndcg(side.ids, judgments)) for side in sides)
    result = Comparison(asked.query, (first, second), asked.blind and bool(secrets.randbelow(2)), judgments=judgments)
    # A side that broke off shows another configuration's order: it is named at once, and no vote counts for it.
    return result if asked.blind and not any(side.problems for side in sides) else result.voted("skipped")
