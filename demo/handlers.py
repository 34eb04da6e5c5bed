"""The reducer: events of `dear.events` in, an immutable `View` out. The page is a function of the view, and of nothing else. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal

from dear import events as ev
from dear.explain import Occlusion, kendall_tau
from dear.types import STAGES, Evidence, Hit, Rationale, Stage, Status

Phase = Literal["idle", "waiting", "running", "done", "stopped", "failed"]
StageState = Literal["off", "waiting", "running", "done", "stopped", "failed"]
STAGE_NAMES: Mapping[str, str] = {"retrieval": "Retrieval", "pointwise": "Pointwise", "listwise": "Listwise"}
MAX_ANSWER_CHARS = 20_000  # of one window: an engine that never stops must not fill the page


@dataclass(frozen=True, slots=True)
class WindowView:
    """One listwise window: what went in, what has been written, and how it parsed."""

    index: int
    of: int
    span: tuple[int, int]
    ids: tuple[str, ...]
    prompt: str
    text: str = ""
    tokens: int = 0
    permutation: tuple[str, ...] = ()
    status: Status | None = None
    rationale: Rationale = field(default_factory=Rationale)


@dataclass(frozen=True, slots=True)
class View:
    """Everything the page shows about a run. `hits` is the best ranking so far, `by` the stage that ordered it."""

    phase: Phase = "idle"
    query: str = ""
    config: Mapping[str, str] = field(default_factory=dict)
    stages: Mapping[str, StageState] = field(default_factory=lambda: dict.fromkeys(STAGES, "waiting"))
    hits: tuple[Hit, ...] = ()
    by: Stage = "retrieval"
    order: tuple[str, ...] = ()  # ids as retrieved: document D1 is order[0], whatever happens later
    scores: Mapping[str, float] = field(default_factory=dict)  # pointwise, as they come
    total: int = 0
    windows: tuple[WindowView, ...] = ()
    notices: tuple[ev.Notice, ...] = ()
    failures: tuple[ev.Failed, ...] = ()
    metrics: ev.Metrics | None = None
    timing: Mapping[str, ev.StageTime] = field(default_factory=dict)
    judgments: Mapping[str, int] = field(default_factory=dict)
    began: Mapping[str, float] = field(default_factory=dict)  # seconds into the run, per stage
    elapsed: float = 0.0
    waiting: str = ""  # what the run waits for, in words
    message: str = ""  # the last milestone, for the status region
    final: bool = False
    left_out: Mapping[str, tuple[Occlusion, ...]] = field(default_factory=dict)  # passage -> what each of its sentences is worth
    recorded: bool = False  # an example from earlier, not this visitor's run

    def number(self, passage_id: str) -> int:
        """D-number of a passage: its place in the retrieved list, from 1."""
        return self.order.index(passage_id) + 1

    @property
    def busy(self) -> bool:
        """A run is under way."""
        return self.phase in ("waiting", "running")


def start(query: str, stages: Sequence[str] = STAGES, judgments: Mapping[str, int] | None = None) -> View:
    """The view of a run that was asked for and has not begun."""
    states: dict[str, StageState] = {stage: "waiting" if stage in stages else "off" for stage in STAGES}
    return View(phase="waiting", query=query, stages=states, judgments=dict(judgments or {}), message="Searching")


def reduce(view: View, event: ev.Event, at: float = 0.0) -> View:
    """The view after `event`, which came `at` seconds into the run."""
    view = replace(view, elapsed=max(view.elapsed, at))
    handler = _HANDLERS.get(type(event))
    return handler(view, event) if handler else view


def reduce_all(events: Iterable[ev.Event], view: View | None = None) -> View:
    """The view at the end of a stream."""
    view = View() if view is None else view
    for event in events:
        view = reduce(view, event)
    return view


def stopped(view: View, why: str) -> View:
    """The view of a run that was ended before its end: the best ranking so far stays."""
    notice = ev.Notice("run", why + (f" The ranking shown is the best so far ({STAGE_NAMES[view.by].lower()})." if view.hits else ""))
    return replace(halted(view), notices=(*view.notices, notice), message=notice.message)


def halted(view: View) -> View:
    """The view of a run that does not go on, and waits for nothing; why is said elsewhere."""
    stages = {stage: "stopped" if state in ("running", "waiting") else state for stage, state in view.stages.items()}
    return replace(view, phase="stopped", stages=stages, waiting="", message="")


def failed(view: View, stage: str, error: str) -> View:
    """The view of a run that cannot go on at all; what was ranked stays."""
    view = _failed(view, ev.Failed(stage, error))
    stages = {name: "off" if state in ("running", "waiting") else state for name, state in view.stages.items()}
    return replace(view, phase="failed", stages=stages, waiting="", final=False)


def agreement(view: View) -> dict[tuple[str, str], float]:
    """Kendall's tau between each stage's order and the one before it, for the stages that every hit passed."""
    orders = {
        stage: [hit.id for hit in sorted(view.hits, key=lambda hit, stage=stage: hit.ranks[stage])]
        for stage in STAGES
        if view.hits and all(stage in hit.ranks for hit in view.hits)
    }
    names = list(orders)
    return {(a, b): kendall_tau(orders[a], orders[b]) for a, b in pairwise(names)}


def stage_before(view: View, hit: Hit) -> tuple[str, int] | None:
    """The stage before the one that ordered the list, with the hit's rank there; None for the first stage."""
    passed = [stage for stage in STAGES[: STAGES.index(view.by)] if stage in hit.ranks]
    return (passed[-1], hit.ranks[passed[-1]]) if passed else None


def _started(view: View, event: ev.Started) -> View:
    stages = dict(view.stages)
    for stage in ("pointwise", "listwise"):
        if stage not in event.config and stages[stage] == "waiting":
            stages[stage] = "off"
    stages["retrieval"] = "running"
    fresh = View(query=event.query, config=event.config, stages=stages, judgments=view.judgments, elapsed=view.elapsed)
    return replace(fresh, phase="running", message="Searching", began={"retrieval": view.elapsed})


def _retrieved(view: View, event: ev.Retrieved) -> View:
    order = tuple(hit.id for hit in event.hits)
    message = f"{len(order)} candidates retrieved" if order else "No passage matches this query"
    view = _enter(view, "retrieval", "done")
    return replace(view, hits=tuple(_placed(event.hits)), by="retrieval", order=order, message=message)


def _placed(hits: Iterable[Hit]) -> Iterable[Hit]:
    """Hits that carry their retrieval rank, also when the retriever did not write it."""
    for hit in hits:
        yield hit if "retrieval" in hit.ranks else replace(hit, ranks={**hit.ranks, "retrieval": hit.rank})


def _point_score(view: View, event: ev.PointScore) -> View:
    view = _enter(view, "pointwise", "running")
    return replace(view, scores={**view.scores, event.passage_id: event.score}, total=event.total)


def _pointwise(view: View, event: ev.Pointwise) -> View:
    view = _enter(view, "pointwise", "done")
    scores = {hit.id: hit.scores["pointwise"] for hit in event.hits if "pointwise" in hit.scores}
    leader = f", D{view.number(event.hits[0].id)} leads" if event.hits and event.hits[0].id in view.order else ""
    message = f"{len(event.hits)} passages scored one by one{leader}"
    return replace(view, hits=event.hits, by="pointwise", scores=scores, total=len(event.hits), message=message)


def _window_start(view: View, event: ev.WindowStart) -> View:
    view = _enter(view, "listwise", "running")
    window = WindowView(event.index, event.of, event.span, event.ids, event.prompt)
    message = f"Reading window {event.index} of {event.of}: {len(event.ids)} passages"
    return replace(view, windows=(*view.windows, window), message=message)


def _token(view: View, event: ev.Token) -> View:
    if not view.windows or not event.text:
        return view
    last = view.windows[-1]
    text = (last.text + event.text)[:MAX_ANSWER_CHARS]
    return replace(view, windows=(*view.windows[:-1], replace(last, text=text, tokens=last.tokens + 1)))


def _window_end(view: View, event: ev.WindowEnd) -> View:
    if not view.windows:
        return view
    last = view.windows[-1]
    done = replace(last, permutation=event.permutation, status=event.status, rationale=event.rationale)
    hits = _reordered(view.hits, event.permutation, event.rationale.evidence, event.rationale.reasons)
    message = f"Window {last.index} of {last.of} ranked, answer {event.status}"
    return replace(view, windows=(*view.windows[:-1], done), hits=hits, by="listwise", message=message)


def _reordered(hits: Sequence[Hit], permutation: Sequence[str], evidence: Sequence[Evidence], reasons: Mapping[str, str]) -> tuple[Hit, ...]:
    """`hits` with those of `permutation` in its order, in the places they held together; the others do not move."""
    by_id = {hit.id: hit for hit in hits}
    inside = [id for id in permutation if id in by_id]
    chosen, following = set(inside), iter(inside)
    order = [by_id[next(following)] if hit.id in chosen else hit for hit in hits]
    return tuple(
        replace(
            hit,
            rank=rank,
            evidence=tuple(e for e in evidence if e.passage_id == hit.id) or hit.evidence,
            rationale=reasons.get(hit.id, hit.rationale),
        )
        for rank, hit in enumerate(order, 1)
    )


def _notice(view: View, event: ev.Notice) -> View:
    return replace(view, notices=(*view.notices, event))


def _metrics(view: View, event: ev.Metrics) -> View:
    return replace(view, metrics=event, judgments=view.judgments or event.judgments)


def _timing(view: View, event: ev.Timing) -> View:
    return replace(view, timing=event.stages)


def _failed(view: View, event: ev.Failed) -> View:
    stages = {**view.stages, event.stage: "failed"} if event.stage in STAGES else view.stages
    return replace(view, failures=(*view.failures, event), stages=stages, message=f"{event.stage} failed: {event.error}")


def _final(view: View, event: ev.Final) -> View:
    by = next((stage for stage in reversed(STAGES) if event.hits and all(stage in hit.ranks for hit in event.hits)), view.by)
    ended = {stage: "done" if state == "running" or (state == "waiting" and stage == by) else state for stage, state in view.stages.items()}
    stages = {stage: "off" if state == "waiting" else state for stage, state in ended.items()}
    order = view.order or tuple(hit.id for hit in sorted(event.hits, key=lambda hit: hit.ranks.get("retrieval", hit.rank)))
    hits = tuple(event.hits) or view.hits
    broken = [STAGE_NAMES[failure.stage] for failure in view.failures if failure.stage in STAGES]
    message = f"Ranking complete: {len(hits)} passages" if hits else "Nothing was ranked"
    if broken and hits:
        message = f"{' and '.join(broken)} failed. The ranking shown is that of the {STAGE_NAMES[by].lower()} stage"
    return replace(view, phase="done", hits=hits, by=by, order=order, stages=stages, message=message, waiting="", final=True)


def _enter(view: View, stage: str, state: StageState) -> View:
    began = view.began if stage in view.began else {**view.began, stage: view.elapsed}
    return replace(view, stages={**view.stages, stage: state}, began=began, waiting="")


_HANDLERS: Mapping[type, Callable[[View, ev.Event], View]] = {
    ev.Started: _started,
    ev.Retrieved: _retrieved,
    ev.PointScore: _point_score,
    ev.Pointwise: _pointwise,
    ev.WindowStart: _window_start,
    ev.Token: _token,
    ev.WindowEnd: _window_end,
    ev.Notice: _notice,
    ev.Metrics: _metrics,
    ev.Timing: _timing,
    ev.Failed: _failed,
    ev.Final: _final,
}
