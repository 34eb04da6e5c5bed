"""Column 2, the slopegraph: where each passage stood after each stage, as inline SVG, with a table that says the same. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from dear.types import STAGES, Hit
from demo.cards import heading, judged
from demo.handlers import STAGE_NAMES, View
from demo.markup import esc, join, shorten

WIDTH = 364
LEFT, RIGHT = 128, 336  # x of the first and the last axis
TOP = 44
TITLE_CHARS = 18
NODE = 9.5
KEY = (
    '<ul class="key" aria-hidden="true">'
    '<li class="up"><svg viewBox="0 0 26 10"><path d="M1 8 20 3"/><path class="head" d="M25 2l-6-1 1 5z"/></svg>rises</li>'
    '<li class="down"><svg viewBox="0 0 26 10"><path d="M1 2 20 7"/><path class="head" d="M25 8l-6 1 1-5z"/></svg>falls</li>'
    '<li class="same"><svg viewBox="0 0 26 10"><path d="M1 5h24"/></svg>stays</li></ul>'
)


@dataclass(frozen=True, slots=True)
class Track:
    """One passage's way through the list: D-number, title, and rank by stage."""

    number: int
    title: str
    ranks: dict[str, int]

    @property
    def last(self) -> int:
        """Rank after the last stage passed."""
        return next(self.ranks[stage] for stage in reversed(STAGES) if stage in self.ranks)

    def label(self) -> str:
        """What a screen reader says of it."""
        return f"D{self.number}: " + ", ".join(f"{STAGE_NAMES[s]} rank {self.ranks[s]}" for s in STAGES if s in self.ranks) + f". {self.title}"


def tracks(view: View) -> list[Track]:
    """Every passage once, in retrieval order; an unfinished listwise stage counts as far as its windows came."""
    partial = view.by == "listwise" and any("listwise" not in hit.ranks for hit in view.hits)
    found = []
    for hit in sorted(view.hits, key=lambda hit: view.number(hit.id)):
        ranks = {stage: hit.ranks[stage] for stage in STAGES if stage in hit.ranks}
        if partial:
            ranks["listwise"] = hit.rank
        found.append(Track(view.number(hit.id), _title(hit), ranks or {"retrieval": hit.rank}))
    return found


def slopegraph(view: View) -> str:
    """The column: heading, graph for wide screens, table for narrow ones and for who prefers it."""
    if not view.hits:
        return heading("What moved", "") + ('<div class="ghost-graph" aria-hidden="true"></div>' if view.busy else "")
    lines = tracks(view)
    return (
        f'{heading("What moved", KEY)}<div class="graph">{svg(view, lines)}</div>'
        f'<details class="twin" data-keep="twin"><summary>The same as a table</summary>{table(view, lines)}</details>'
        f'<div class="twin-narrow">{table(view, lines)}</div>'
    )


def svg(view: View, lines: list[Track]) -> str:
    """The graph: an axis a stage, a line a passage; what rises is solid, what falls dashed, what stays dotted."""
    step = 27 if len(lines) <= 24 else 22
    height = TOP + step * len(lines) + 6
    axes = [stage for stage in STAGES if view.stages[stage] != "off" or any(stage in line.ranks for line in lines)]
    xs = {stage: LEFT + (RIGHT - LEFT) * i / max(1, len(axes) - 1) for i, stage in enumerate(axes)}
    order = sorted(lines, key=lambda line: -line.last)  # the best drawn last, on top
    drawn = join(_axis(view, stage, xs[stage], height) for stage in axes) + _rows(lines, step)
    drawn += join(_track(line, xs, step) for line in order)
    return (
        f'<svg class="slope" viewBox="0 0 {WIDTH} {height}" role="group" aria-labelledby="slope-title slope-desc">'
        f'<title id="slope-title">Rank of each passage after each stage</title><desc id="slope-desc">{esc(_summary(lines, axes))}</desc>'
        f"{_markers()}{drawn}</svg>"
    )


def table(view: View, lines: list[Track]) -> str:
    """The graph's twin: the same ranks as rows, best first."""
    axes = [stage for stage in STAGES if any(stage in line.ranks for line in lines)]
    head = join(f'<th scope="col" class="{stage}">{STAGE_NAMES[stage]}</th>' for stage in axes)
    ids = {view.number(hit.id): hit.id for hit in view.hits}
    rows = join(_row(line, axes, judged(view, ids[line.number])) for line in sorted(lines, key=lambda line: line.last))
    caption = '<caption class="sr">Rank of each passage after each stage</caption>'
    return f'<table class="ranks">{caption}<thead><tr><th scope="col">Passage</th>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _row(line: Track, axes: list[str], dot: str) -> str:
    cells = join(_cell(line, axes, i) for i in range(len(axes)))
    name = f'<a class="ref" href="#card-{line.number}" data-d="{line.number}">D{line.number}</a>'
    return f'<tr data-d="{line.number}"><th scope="row">{name} {dot} <bdi>{esc(shorten(line.title, 48))}</bdi></th>{cells}</tr>'


def _cell(line: Track, axes: list[str], i: int) -> str:
    rank = line.ranks.get(axes[i])
    if rank is None:
        return "<td>–</td>"
    before = line.ranks.get(axes[i - 1]) if i else None
    if before is None or before == rank:
        return f"<td>{rank}</td>"
    way, arrow = ("up", "▲") if rank < before else ("down", "▼")
    by = abs(before - rank)
    return f'<td>{rank} <span class="move {way}"><span aria-hidden="true">{arrow}{by}</span><span class="sr">{way} {by}</span></span></td>'


def _title(hit: Hit) -> str:
    return hit.passage.title or shorten(hit.passage.text, 60)


def _summary(lines: list[Track], axes: list[str]) -> str:
    passed = [stage for stage in axes if all(stage in line.ranks for line in lines)]
    if len(passed) < 2:
        return f"{len(lines)} passages in retrieval order; later stages have not ranked them yet."
    first, last = passed[0], passed[-1]
    climb = max(lines, key=lambda line: line.ranks[first] - line.ranks[last])
    drop = min(lines, key=lambda line: line.ranks[first] - line.ranks[last])
    moved = sum(line.ranks[first] != line.ranks[last] for line in lines)
    words = f"{len(lines)} passages, {moved} moved between {first} and {last}."
    if climb.ranks[first] > climb.ranks[last]:
        words += f" D{climb.number} rose most, from {climb.ranks[first]} to {climb.ranks[last]}."
    if drop.ranks[first] < drop.ranks[last]:
        words += f" D{drop.number} fell most, from {drop.ranks[first]} to {drop.ranks[last]}."
    return words


def _y(rank: int, step: int) -> float:
    return TOP + step * (rank - 0.5)


def _axis(view: View, stage: str, x: float, height: int) -> str:
    state = view.stages[stage]
    anchor = "end" if x >= RIGHT else "middle"
    shift = x + NODE + 8 if x >= RIGHT else x
    return (
        f'<g class="axis {stage} {state}"><text x="{shift:.0f}" y="20" text-anchor="{anchor}">{STAGE_NAMES[stage]}</text>'
        f'<line x1="{x:.0f}" y1="32" x2="{x:.0f}" y2="{height - 4}"/></g>'
    )


def _rows(lines: list[Track], step: int) -> str:
    places = range(1, len(lines) + 1)
    return join(f'<text class="row" x="{RIGHT + 20}" y="{_y(rank, step) + 3.5:.1f}" text-anchor="middle">{rank}</text>' for rank in places)


def _markers() -> str:
    size = 'viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" markerUnits="userSpaceOnUse" orient="auto"'
    heads = join(f'<marker id="head-{way}" class="{way}" {size}><path d="M0 .8 7.4 4 0 7.2z"/></marker>' for way in ("up", "down"))
    return f"<defs>{heads}</defs>"


def _track(line: Track, xs: dict[str, float], step: int) -> str:
    places = [(xs[stage], _y(line.ranks[stage], step), line.ranks[stage]) for stage in xs if stage in line.ranks]
    segments = join(_segment(a, b) for a, b in pairwise(places))
    nodes = join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{NODE}"/><text class="num" x="{x:.1f}" y="{y + 3.4:.1f}" text-anchor="middle">{line.number}</text>'
        for x, y, _ in places
    )
    title = f'<text class="name" x="{LEFT - NODE - 7}" y="{places[0][1] + 3.8:.1f}" text-anchor="end">{esc(shorten(line.title, TITLE_CHARS))}</text>'
    lead = " lead" if line.last <= 3 else ""
    return (
        f'<g class="track{lead}" data-d="{line.number}" tabindex="0" role="button" aria-label="{esc(line.label())}">'
        f"<title>{esc(line.label())}</title>{segments}{nodes}{title}</g>"
    )


def _segment(a: tuple[float, float, int], b: tuple[float, float, int]) -> str:
    """A curve between two places, flat where it leaves and arrives, so that the arrow points along the list."""
    way = "up" if b[2] < a[2] else "down" if b[2] > a[2] else "same"
    x1, x2 = a[0] + NODE + 2, b[0] - NODE - 2
    bend = (x2 - x1) * 0.45
    head = "" if way == "same" else f' marker-end="url(#head-{way})"'
    return f'<path class="seg {way}" d="M{x1:.1f} {a[1]:.1f}C{x1 + bend:.1f} {a[1]:.1f} {x2 - bend:.1f} {b[1]:.1f} {x2:.1f} {b[1]:.1f}"{head}/>'
