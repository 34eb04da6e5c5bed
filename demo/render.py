"""From a `View` to the page's HTML: the panels, and the small pieces around them. Pure: knows no gradio.

All text of users, corpora and models passes through `demo.markup.esc`; the results go into `gr.HTML` with its default
template only (a template of one's own would run `${…}` found in the data).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

from dear.pipeline import NANO_TOKENS
from dear.types import STAGES
from demo import reasoning
from demo.answering import nothing_answers
from demo.cards import cards
from demo.handlers import STAGE_NAMES, View, agreement
from demo.markup import esc, join, number, plural, seconds
from demo.slopegraph import slopegraph
from demo.working import working

LOGO = (
    '<svg class="logo" viewBox="0 0 32 32" aria-hidden="true"><path class="c" d="M4 8C14 8 18 24 28 24"/><path class="b" d="M4 16h24"/>'
    '<path class="a" d="M4 24C14 24 18 8 28 8"/>'
    '<circle class="a" cx="28" cy="8" r="3"/><circle class="b" cx="28" cy="16" r="2.4"/><circle class="c" cx="28" cy="24" r="2.4"/></svg>'
)
STAGE_LINES = {
    "retrieval": "Lucene finds candidates by their words, and each word’s weight is shown.",
    "pointwise": "A small LLaMA student scores every passage by itself, without seeing the others.",
    "listwise": "The same student reads the best ones side by side, quotes its evidence, and ranks.",
}
STATE_WORDS = {"off": "not run", "waiting": "waiting", "running": "running", "done": "done", "stopped": "stopped", "failed": "failed"}
ICONS = {
    "retrieval": '<path d="M4 6h11M4 12h7M4 18h9"/><circle cx="17" cy="14" r="3.5"/><path d="m19.6 16.6 2.4 2.4"/>',
    "pointwise": '<path d="M4 5h15M4 12h10M4 19h6" class="thick"/>',
    "listwise": '<path d="M4 6c8 0 8 12 16 12M4 18c8 0 8-12 16-12"/><path d="m17 3 3 3-3 3M17 15l3 3-3 3"/>',
}


@dataclass(frozen=True, slots=True)
class Panels:
    """The page's changing parts, as HTML, in the order of the components that hold them."""

    rail: str
    notes: str
    cards: str
    graph: str
    progress: str
    live: str
    written: str
    report: str
    status: str

    def values(self) -> tuple[str, ...]:
        """The parts in order."""
        return tuple(getattr(self, f.name) for f in fields(self))


def panels(view: View) -> Panels:
    """Every panel of a view; an idle view shows what the page is for."""
    if view.phase == "idle":
        return Panels(welcome(), "", "", "", "", "", "", "", status(view))
    if view.phase == "failed" and not view.hits:
        return Panels("", notes(view), "", "", "", "", "", "", status(view))
    return Panels(
        rail(view),
        notes(view),
        cards(view),
        slopegraph(view),
        reasoning.progress(view),
        reasoning.live(view),
        reasoning.written(view),
        report(view),
        status(view),
    )


def header(chips: Sequence[tuple[str, str]]) -> str:
    """Name, what it is, what is running as (stage, label), and the switch between light and dark."""
    running = join(chip(label, stage) for stage, label in chips)
    return (
        f'<header class="top"><div class="brand">{LOGO}<div><h1>DeAR</h1><p>Two-stage reranking you can read</p></div></div>'
        f'<div class="right"><div class="chips">{running}</div>'
        '<button type="button" class="icon-button" data-action="theme" aria-label="switch between light and dark">'
        '<svg viewBox="0 0 24 24" aria-hidden="true"><circle cx="12" cy="12" r="8.5"/><path class="half" d="M12 3.5a8.5 8.5 0 0 1 0 17z"/></svg>'
        "</button></div></header>"
    )


def chip(label: str, stage: str = "") -> str:
    """What is running, e.g. 'dear-nano · int4 · CPU · zero-shot'; zero-shot stands out. With a stage, a dot in its hue."""
    dot = f'<span class="hue {esc(stage)}" aria-hidden="true"></span><span class="sr">{esc(stage)}: </span>' if stage in STAGES else ""
    name, *rest = [part.strip() for part in label.split("·")]
    tail = join(f'<span class="{"zero" if part == "zero-shot" else "bit"}">{esc(part)}</span>' for part in rest)
    return f'<span class="chip" title="{esc(label)}">{dot}<b>{esc(name)}</b>{tail}</span>'


def engines(reasons: Iterable[tuple[str, str, str]]) -> str:
    """Why each stage runs as it does: (stage, label, reason) a line."""
    lines = join(
        f'<li><span class="hue {esc(stage)}" aria-hidden="true"></span><b>{esc(STAGE_NAMES.get(stage, stage))}</b>'
        f" <bdi>{esc(label)}: {esc(why)}</bdi></li>"
        for stage, label, why in reasons
    )
    return f'<ul class="engines" aria-label="what runs, and why">{lines}</ul>' if lines else ""


def welcome() -> str:
    """The empty state: what will happen, in three short lines."""
    steps = join(
        f'<li class="{stage}"><svg viewBox="0 0 24 24" aria-hidden="true">{ICONS[stage]}</svg>'
        f"<div><h2>{STAGE_NAMES[stage]}</h2><p>{STAGE_LINES[stage]}</p></div></li>"
        for stage in STAGES
    )
    return (
        f'<section class="welcome"><div><p class="lead">Ask something, and watch one list being ranked three times.</p><ol>{steps}</ol>'
        f'<p class="hint">Pick an example above, or press <kbd>/</kbd> and type.</p></div>{_illustration()}</section>'
    )


def _illustration() -> str:
    """A decorative slopegraph: no data, only the idea."""
    moves = ((1, 3, 4), (2, 1, 2), (3, 5, 5), (4, 2, 1), (5, 4, 3))
    xs, drawn = (30, 150, 270), []
    for ranks in moves:
        ys = [18 + 34 * (rank - 1) for rank in ranks]
        for i, stage in ((0, "pointwise"), (1, "listwise")):
            mid = (xs[i] + xs[i + 1]) / 2
            drawn.append(f'<path class="{stage}" d="M{xs[i]} {ys[i]}C{mid:.0f} {ys[i]} {mid:.0f} {ys[i + 1]} {xs[i + 1]} {ys[i + 1]}"/>')
        drawn += [f'<circle class="{stage}" cx="{x}" cy="{y}" r="7"/>' for stage, x, y in zip(STAGES, xs, ys, strict=True)]
    return f'<svg class="art" viewBox="0 0 300 172" aria-hidden="true">{join(drawn)}</svg>'


def rail(view: View) -> str:
    """The three stages with their state, progress and cost; over a recorded example what it is, and in each stage what it does."""
    items = join(_stage(view, stage, index) for index, stage in enumerate(STAGES, 1))
    about, told = (_recorded(view), " told") if view.recorded else ("", "")
    return f'{about}<ol class="rail{told}" aria-label="stages">{items}</ol>{_jump(view)}'


def _recorded(view: View) -> str:
    models = list(dict.fromkeys(view.config[stage] for stage in ("pointwise", "listwise") if stage in view.config))
    return (
        '<section class="example"><span class="chip recorded"><b>recorded</b></span>'
        "<div><h2>One list, ranked three times</h2>"
        f"<p>“<bdi>{esc(view.query)}</bdi>”, ranked earlier by <bdi>{esc(', then '.join(models) or 'a student')}</bdi>. "
        "Press Rank to see it happen here, pick an example, or press <kbd>/</kbd> and ask your own.</p></div></section>"
    )


def _jump(view: View) -> str:
    """On a narrow screen, where the columns lie under each other: ways down to them."""
    if not view.hits:
        return ""
    places = [("dear-candidates", "Candidates"), ("dear-moved", "What moved"), ("dear-reasoning", "Reasoning")]
    buttons = join(f'<button type="button" data-jump="{place}">{name}</button>' for place, name in places)
    return f'<nav class="jump" aria-label="parts of the result">{buttons}</nav>'


def _stage(view: View, stage: str, index: int) -> str:
    state = view.stages[stage]
    line = f'<span class="line">{STAGE_LINES[stage]}</span>' if view.recorded else ""
    share = {"done": 100, "running": _share(view, stage)}.get(state, 0)
    return (
        f'<li class="{stage} {state}"><span class="step" aria-hidden="true">{_mark(state, index)}</span>'
        f'<span class="what"><b>{STAGE_NAMES[stage]}</b><span class="sr"> {STATE_WORDS[state]}: </span>'
        f'<span class="detail">{esc(_detail(view, stage))}</span>{line}</span>'
        f'<span class="meter" aria-hidden="true"><span style="width:{share:.0f}%"></span></span></li>'
    )


def _mark(state: str, index: int) -> str:
    return {"done": "✓", "failed": "!", "stopped": "■"}.get(state, str(index))


def _share(view: View, stage: str) -> float:
    if stage == "pointwise":
        return 100 * len(view.scores) / view.total if view.total else 0
    if stage == "listwise" and view.windows:
        last = view.windows[-1]
        most = view.config.get("max_tokens", "")
        within = 1.0 if last.status else min(0.95, last.tokens / (int(most) if most.isdecimal() and int(most) else NANO_TOKENS))
        return 100 * (last.index - 1 + within) / last.of
    return 30


def _detail(view: View, stage: str) -> str:
    state = view.stages[stage]
    if state in ("off", "failed", "stopped"):
        return STATE_WORDS[state]
    if state == "waiting":
        return view.waiting or ("waiting" if stage == "retrieval" else "waiting for the stage before")
    took = view.timing.get(stage)
    cost = f" · {seconds(took.seconds)}" if took else ""
    if state == "running" and stage in view.began and view.elapsed - view.began[stage] >= 1:
        cost = f" · {seconds(view.elapsed - view.began[stage])}"
    if stage == "retrieval":
        return f"{plural(len(view.order), 'candidate')}{cost}" if state == "done" else f"searching{cost}"
    if stage == "pointwise":
        return f"{plural(view.total, 'passage')} scored{cost}" if state == "done" else f"{len(view.scores)} of {view.total} scored{cost}"
    if state == "done" or not view.windows:
        return f"{plural(len(view.windows), 'window')} ranked{cost}"
    last = view.windows[-1]
    doing = f"{last.tokens} tokens written" if last.tokens else f"reading {plural(len(last.ids), 'passage')}"
    return f"window {last.index} of {last.of}, {doing}{cost}"


def notes(view: View) -> str:
    """Failures and notices, plainly; failures first, and last where the scores say that nothing answers the query."""
    failures = join(
        f'<li class="failure" role="alert"><b>{esc(_named(f.stage))} failed.</b> <bdi>{esc(f.error)}</bdi>{_kept(view, f.stage)}</li>'
        for f in view.failures
    )
    wait = f'<li class="wait"><span class="spinner" aria-hidden="true"></span>{esc(view.waiting)}</li>' if view.waiting else ""
    said = join(f"<li><bdi>{esc(n.message)}</bdi></li>" for n in view.notices)
    lines = failures + wait + said + _unanswered(view)
    return f'<ul class="notes">{lines}</ul>' if lines else ""


def _unanswered(view: View) -> str:
    """That no passage scores as an answer, once all are scored; nothing where one does, or where no level was measured for the model."""
    found = nothing_answers(view.config.get("pointwise", ""), view.scores) if view.stages["pointwise"] == "done" else None
    if found is None:
        return ""
    best, level = found
    usual = f"with an answer among the passages it was {number(level.score)} or more in {level.answered} measured queries"
    words = f"<b>No passage here scores as an answer.</b> The best has {number(best)}; {usual}. The list shows what comes nearest."
    return f'<li class="unanswered">{words}</li>'


def _named(stage: str) -> str:
    return "The run" if stage == "run" else STAGE_NAMES.get(stage, stage.capitalize())


def _kept(view: View, stage: str) -> str:
    if not view.hits or stage not in STAGES:
        return ""
    return f" The ranking below is the one of the {STAGE_NAMES[view.by].lower()} stage."


def alert(message: str) -> str:
    """What is wrong with the question, beside the question."""
    return f'<p class="alert" role="alert"><bdi>{esc(message)}</bdi></p>' if message else ""


def wait(words: str) -> str:
    """What a small piece of work waits for or does."""
    return f'<ul class="notes"><li class="wait"><span class="spinner" aria-hidden="true"></span><span role="status">{esc(words)}</span></li></ul>'


def status(view: View) -> str:
    """The one live region: milestones, not tokens."""
    return f'<p class="sr" role="status">{esc(view.waiting or view.message)}</p>'


def report(view: View) -> str:
    """The strip below: effectiveness, agreement, time and tokens of each stage."""
    if not view.final:
        return ""
    shown = [stage for stage in STAGES if view.stages[stage] != "off"]
    taus = agreement(view)
    tiles = []
    for i, stage in enumerate(shown):
        tiles.append(_tile(view, stage, shown[i - 1] if i else None))
        if i + 1 < len(shown):
            tiles.append(_tau(taus.get((stage, shown[i + 1]))))
    judged = "" if view.metrics else '<p class="hint">No judgments for this query, so no nDCG. Example queries have them.</p>'
    return f'<section class="report" aria-label="stages compared"><div class="tiles">{join(tiles)}</div>{working(view)}{judged}</section>'


def _tile(view: View, stage: str, before: str | None) -> str:
    took = view.timing.get(stage)
    tokens = f"{took.tokens_in:,} tokens in, {took.tokens_out:,} out" if took and (took.tokens_in or took.tokens_out) else "no model"
    cost = f'<p class="cost">{seconds(took.seconds)} · {tokens}</p>' if took else ""
    if view.stages[stage] in ("failed", "stopped"):
        cost = f'<p class="cost">{STATE_WORDS[view.stages[stage]]}</p>'
    return f'<div class="tile {stage}"><h3>{STAGE_NAMES[stage]}</h3>{_ndcg(view, stage, before)}{cost}</div>'


def _ndcg(view: View, stage: str, before: str | None) -> str:
    values = view.metrics.stages if view.metrics else {}
    value = values.get(stage, {}).get("nDCG@10")
    if value is None:
        return ""
    change = ""
    if before and "nDCG@10" in values.get(before, {}):
        delta = value - values[before]["nDCG@10"]
        way = "up" if delta >= 0.0005 else "down" if delta <= -0.0005 else "same"
        sign = {"up": "▲", "down": "▼", "same": "="}[way]
        change = f' <span class="move {way}">{sign}{"" if way == "same" else f"{abs(delta):.3f}"}</span>'
    missing = view.metrics.unjudged.get(stage, 0) if view.metrics else 0
    note = f'<span class="unjudged">unjudged {missing} of {min(10, len(view.hits))}</span>' if missing else ""
    meter = f'<span class="meter" aria-hidden="true"><span style="width:{100 * min(1.0, max(0.0, value)):.1f}%"></span></span>'
    return f'<p class="ndcg"><b>{value:.3f}</b>{change} <span class="unit">nDCG@10</span>{note}</p>{meter}'


def _tau(tau: float | None) -> str:
    value = "–" if tau is None else f"{tau:.2f}".replace("-", "−")
    title = "Kendall’s tau: 1 is the same order, −1 the reverse"
    return f'<div class="tau" title="{title}"><span class="line" aria-hidden="true"></span><b>τ {value}</b><span>agreement</span></div>'


def loading(parts: Iterable[tuple[str, str, str]]) -> str:
    """What is still being loaded: (title, state, detail) a part; nothing once all is ready."""
    parts = list(parts)
    if all(state == "ready" for _, state, _ in parts):
        return ""
    items = join(
        f'<li class="{esc(state)}"><span class="light" aria-hidden="true"></span><b>{esc(title)}</b> <bdi>{esc(detail or state)}</bdi></li>'
        for title, state, detail in parts
    )
    return f'<ul class="loading" aria-label="what is loading">{items}</ul>'
