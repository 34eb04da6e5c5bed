"""A run as the page makes it: wait for what is loading, pump the pipeline's events from a thread of its own, stop when told.

The pipeline runs in a thread because a model may keep it busy for seconds between two events, and Stop must answer at once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

from dear import events as ev
from dear.errors import DearError
from dear.logs import places
from dear.pipeline import Pipeline, Settings
from demo import handlers, limits, zerogpu
from demo.handlers import View
from demo.limits import Request
from demo.pump import pumped
from demo.resources import NotReady, Resources, short_name

logger = logging.getLogger(__name__)

MAX_SESSIONS = 1000
STOPPED = "Stopped."


@dataclass
class Ticket:
    """One visitor's current run: what was asked; `stop` ends it; `idle` is set when no model works for it."""

    id: str
    asked: tuple[Any, ...] = ()  # what the fields said, since a run in the queue has its own fields' values and, it may be, a later ticket
    begun: bool = False  # a handler has taken it up
    stop: threading.Event = field(default_factory=threading.Event)
    idle: threading.Event = field(default_factory=threading.Event)
    why: str = STOPPED
    events: list[ev.Event] = field(default_factory=list)  # what the run has said so far

    def end(self, why: str = STOPPED) -> None:
        """Ask the run to end."""
        if not self.stop.is_set():
            self.why = why
            self.stop.set()


class Tickets:
    """The current run of each session; a new one ends the one before."""

    def __init__(self) -> None:
        self._tickets: OrderedDict[str, Ticket] = OrderedDict()
        self._lock = threading.Lock()
        self._next = 0

    def open(self, session: str, asked: tuple[Any, ...] = (), *, begun: bool = False) -> Ticket:
        """A ticket for a new run of this session, which waits for its turn where it is not `begun`."""
        with self._lock:
            before = self._tickets.pop(session, None)
            self._next += 1
            ticket = self._tickets[session] = Ticket(str(self._next), asked, begun)
            while len(self._tickets) > MAX_SESSIONS:
                self._tickets.popitem(last=False)[1].end()
        if before:
            before.end("A new query took its place.")
        return ticket

    def take(self, session: str, id_: object) -> Ticket | None:
        """The session's ticket when `id_` is its current one and no handler has it yet: of two that come for it the first gets it."""
        with self._lock:
            ticket = self._tickets.get(session)
            if ticket is None or ticket.id != id_ or ticket.begun:
                return None
            ticket.begun = True
            return ticket

    def waits(self, session: str) -> bool:
        """Whether the session has a run that waits for its turn."""
        ticket = self._tickets.get(session)
        return ticket is not None and not ticket.begun

    def current(self, session: str, ticket: Ticket) -> bool:
        """Whether the page is still this run's: no newer one has taken its place. A run that was stopped keeps it."""
        return self._tickets.get(session) is ticket

    def stop(self, session: str) -> Ticket | None:
        """End the session's run. Returns its ticket where the run had not begun, and so cannot show that it ended; it never will."""
        with self._lock:
            ticket = self._tickets.get(session)
            waited = ticket is not None and not ticket.begun
            if ticket:
                ticket.begun = True
        if ticket:
            ticket.end()
        return ticket if waited else None

    def drop(self, session: str) -> None:
        """Forget a closed page's run, after ending it."""
        with self._lock:
            ticket = self._tickets.pop(session, None)
        if ticket:
            ticket.end()


def candidates(resources: Resources, asked: Request) -> View:
    """The view a query starts with: its candidates when retrieval is ready, else what it waits for. Quick; uses no model."""
    view = handlers.start(asked.query)
    try:
        retriever = resources.get(_retriever_key(asked))
    except NotReady as error:
        return replace(view, waiting=f"Waiting for retrieval. {error}", message="Waiting for retrieval")
    except DearError as error:
        return handlers.failed(view, "retrieval", str(error))
    pipeline = Pipeline(retriever, settings=Settings(candidates=asked.candidates, stages=("retrieval",)))
    view = replace(view, judgments=_judgments(resources, asked))
    for event in pipeline.run(asked.query):
        if isinstance(event, ev.Retrieved | ev.Notice | ev.Failed):
            view = handlers.reduce(view, event)
    if view.hits and not view.failures:
        return replace(view, waiting=_turn(resources, asked))
    return view


def explain(resources: Resources, asked: Request, ticket: Ticket) -> Iterator[View]:
    """Views of a whole run, at most ten a second. Ends with the final, the stopped or the failed one; closing it stops the model."""
    began = time.monotonic()
    try:
        view = yield from _ready(resources, asked, ticket, began)
        if view.phase == "waiting":
            yield from _paced(_reduced(resources, asked, ticket, view), began)
    finally:
        ticket.end()


def _ready(resources: Resources, asked: Request, ticket: Ticket, began: float) -> Iterator[View]:
    """Wait until retriever and models are there (or have failed) and the models are free; return the view to go on from."""
    view = candidates(resources, asked)
    yield view
    for key in (_retriever_key(asked), f"scorer:{asked.model}", f"generator:{asked.model}"):
        resources.want(key)
        while (part := resources.part(key)).state in ("waiting", "loading"):
            if (ended := _ended(view, ticket, began)) is not None:
                yield ended
                return ended
            waiting = f"{'Candidates are here. ' if view.hits else ''}Waiting for: {part.title} – {part.detail}."
            if waiting != view.waiting:
                view = replace(view, waiting=waiting, elapsed=time.monotonic() - began)
                yield view
            ticket.stop.wait(0.25)
        if part.state == "failed" and key.startswith("retriever"):
            view = handlers.failed(view, "retrieval", part.detail)
            yield view
            return view
        if not view.hits and not view.failures:
            view = candidates(resources, asked)
            yield view
    while not resources.model_lock.acquire(timeout=0.25):
        if (ended := _ended(view, ticket, began)) is not None:
            yield ended
            return ended
        if view.waiting != (waiting := "The model is finishing another run."):
            view = replace(view, waiting=waiting)
            yield view
    return replace(view, phase="waiting", waiting="")


def _reduced(resources: Resources, asked: Request, ticket: Ticket, view: View) -> Iterator[View]:
    """The views of the pipeline's events. The model lock is held on entry and given back when the model rests."""
    began = time.monotonic()
    view = replace(view, judgments=_judgments(resources, asked), elapsed=0.0)
    events = pumped(lambda: run_events(resources, asked), ticket, resources.model_lock)
    try:
        for event in events:
            if (ended := _ended(view, ticket, began)) is not None:
                yield ended
                return
            if event is not None:
                ticket.events.append(event)
            at = time.monotonic() - began
            view = replace(view, elapsed=at) if event is None else handlers.reduce(view, event, at)
            if isinstance(event, ev.Started):
                continue  # the candidates shown so far stay until the run has its own
            yield view
        if not view.final and (ended := _ended(view, ticket, began)) is not None:
            yield ended
    except Exception as error:
        yield handlers.failed(view, "run", _words(error))


def run_events(resources: Resources, asked: Request) -> Iterator[ev.Event]:
    """The pipeline's events, with a failure for each model part that could not be loaded."""
    pipeline, broken = _pipeline(resources, asked)
    run = zerogpu.run(pipeline, asked.model, asked.query) if zerogpu.wanted(pipeline) else pipeline.run(asked.query)
    with closing(run) as events:
        for event in ev.described(events, _about(resources, asked)):
            yield event
            if isinstance(event, ev.Started):
                yield from broken


def _about(resources: Resources, asked: Request) -> dict[str, str]:
    """What a recording should say of the run and the pipeline does not know. A private corpus keeps its name to itself."""
    corpus = short_name(asked.corpus) if asked.corpus in resources.corpora else "own passages"
    return {"corpus": corpus, "retriever": asked.retriever, "model": asked.model}


def _pipeline(resources: Resources, asked: Request) -> tuple[Pipeline, list[ev.Failed]]:
    """The pipeline of a request; a model part that failed to load becomes a failed stage, and the others go on."""
    engines: dict[str, Any] = {}
    broken = []
    for stage, key in (("pointwise", "scorer"), ("listwise", "generator")):
        try:
            engines[key] = resources.get(f"{key}:{asked.model}")
        except DearError as error:
            engines[key] = None
            broken.append(ev.Failed(stage, str(error)))
    settings = Settings(
        candidates=asked.candidates,
        depth=asked.depth,
        window=asked.window,
        stride=asked.stride,
        reasoning=asked.reasoning,
    )
    judge = resources.get(f"corpus:{asked.corpus}").judgments
    return Pipeline(resources.get(_retriever_key(asked)), **engines, judgments=judge, settings=settings), broken


def _paced(views: Iterator[View], began: float) -> Iterator[View]:
    """At most one view per `UPDATE_S`; one that changes only the clock every `HEARTBEAT_S`; milestones at once; the last always."""
    shown, at, held = None, 0.0, None
    try:
        for view in views:
            now = time.monotonic()
            held = view
            clock_only = shown is not None and replace(view, elapsed=shown.elapsed) == shown
            wait = limits.HEARTBEAT_S if clock_only else 0.0 if shown is None or view.message != shown.message else limits.UPDATE_S
            if now - at >= wait:
                yield view
                shown, at, held = view, now, None
        if held is not None:
            yield held
    finally:
        views.close()  # type: ignore[attr-defined]


def _ended(view: View, ticket: Ticket, began: float) -> View | None:
    if ticket.stop.is_set():
        return handlers.stopped(view, ticket.why)
    if time.monotonic() - began > limits.DEADLINE_S:
        ticket.end()
        return handlers.stopped(view, f"The run took longer than {limits.DEADLINE_S:.0f} seconds and was ended: ask for fewer candidates.")
    return None


def _turn(resources: Resources, asked: Request) -> str:
    parts = [resources.part(f"{stage}:{asked.model}") for stage in ("scorer", "generator")]
    loading = next((part for part in parts if part.state in ("waiting", "loading")), None)
    if loading:
        return f"Candidates are here. Waiting for: {loading.title} – {loading.detail}."
    return "Candidates are here. Waiting for a turn at the model." if resources.model_lock.locked() else ""


def _judgments(resources: Resources, asked: Request) -> Mapping[str, int]:
    try:
        return resources.get(f"corpus:{asked.corpus}").judgments(asked.query) or {}
    except DearError:
        return {}


def _retriever_key(asked: Request) -> str:
    return f"retriever:{asked.corpus}:{asked.retriever}"


def _words(error: Exception) -> str:
    if isinstance(error, DearError):
        return str(error)
    logger.warning("a run failed: %s", places(error))
    return f"The run broke off ({type(error).__name__}). The server goes on: try again, or choose another model."
