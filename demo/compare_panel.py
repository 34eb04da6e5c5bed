"""A comparison as HTML: how far it is, the blind pair, and after the vote which was which and how far they agree. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from dear.types import Hit
from demo.compare_run import Progress
from demo.comparison import METHODS, Asked, Comparison, Side, agreement, disagreements
from demo.limits import MAX_SHOWN_CHARS
from demo.markup import esc, join, number, plural, seconds, shorten

METHOD_LINES = {
    "pointwise": "each passage scored alone, so the others and the input order cannot matter",
    "listwise": "the list read side by side, with needs and quotes written first",
    "listwise-fast": "one reading, identifiers ordered by their logits, nothing written",
}


def invitation() -> str:
    """What the tab is for."""
    items = join(f"<li><b>{METHODS[name]}</b> {esc(line)}</li>" for name, line in METHOD_LINES.items())
    return (
        '<section class="lab lab-card"><h2>Which ranking would you rather have?</h2>'
        "<p>Two configurations rank the same candidates. You see both without their names, vote, and only then learn which was which, "
        f'where they disagree, and by how much.</p><ul class="plain-list">{items}</ul></section>'
    )


def progress(asked: Asked, now: Progress) -> str:
    """Both configurations with what each is doing."""
    if now.waiting and not any(now.doing):
        return f'<p class="lab-note wait"><span class="spinner" aria-hidden="true"></span><bdi>{esc(now.waiting)}</bdi></p>'
    rows = join(
        f'<li><b>{index}. {esc(setup.label())}</b><span class="detail">{esc(doing or "waiting")}</span>'
        f'<span class="lab-meter" aria-hidden="true"><span style="width:{100 * share:.0f}%"></span></span></li>'
        for index, (setup, doing, share) in enumerate(zip(asked.setups, now.doing, now.shares, strict=True), 1)
    )
    return f'<ol class="doing lab-card" aria-label="both configurations">{rows}</ol>'


def stopped(words: str) -> str:
    """Ended before both rankings were there."""
    return f'<p class="lab-note"><bdi>{esc(words)}</bdi> Two whole rankings are needed to compare: press Compare to begin again.</p>'


def rankings(comparison: Comparison) -> str:
    """Both rankings side by side: nameless before the vote, named after it."""
    open_ = comparison.vote is not None
    return (
        f'<div class="versus">{_side(comparison, comparison.left, "Left", open_=open_)}'
        f"{_side(comparison, comparison.right, 'Right', open_=open_)}</div>"
    )


def verdict(comparison: Comparison, counts: Mapping[str, int]) -> str:
    """After the vote: what was chosen, how far the rankings agree, where they differ most, and the session's votes."""
    if comparison.vote is None:
        return ""
    return f"{_chosen(comparison)}{_agreement(comparison)}{_disagreements(comparison)}{_tally(counts)}"


def status(words: str) -> str:
    """The milestone, for the tab's status region."""
    return f'<p class="sr" role="status">{esc(words)}</p>'


def _side(comparison: Comparison, side: Side, name: str, *, open_: bool) -> str:
    if not open_:
        head = f"<h2>{name}</h2>"
    else:
        cost = f"{seconds(side.seconds)}" + (f" · nDCG@10 {side.ndcg:.3f}" if side.ndcg is not None else "")
        problems = join(f'<p class="problem"><bdi>{esc(shorten(words, 240))}</bdi></p>' for words in side.problems)
        head = f'<h2>{esc(side.setup.label())}</h2><p class="hint">{name} · {cost}</p>{problems}'
    other = comparison.right if side is comparison.left else comparison.left
    places = {id: rank for rank, id in enumerate(other.ids, 1)}
    items = join(_item(hit, places[hit.id] if open_ else None, comparison) for hit in side.hits)
    return f'<section class="lab lab-card side" aria-label="{name} ranking">{head}<ol class="short">{items}</ol></section>'


def _item(hit: Hit, elsewhere: int | None, comparison: Comparison) -> str:
    """A passage at its rank; when named, with its rank in the other ranking, its grade, and what the listwise stage said."""
    title = esc(shorten(hit.passage.title or hit.passage.text, 70))
    text = hit.passage.text[:MAX_SHOWN_CHARS]
    extra, said = "", ""
    if elsewhere is not None:
        extra = _elsewhere(hit.rank, elsewhere) + _grade(hit.id, comparison.judgments)
        said = f'<p class="said"><bdi>{esc(shorten(hit.rationale, 200))}</bdi></p>' if hit.rationale else ""
    return (
        f'<li><details><summary><span class="rank">{hit.rank}</span><span class="name"><bdi>{title}</bdi>{extra}</span></summary>'
        f'<p class="text"><bdi>{esc(text)}</bdi></p>{said}</details></li>'
    )


def _elsewhere(rank: int, other: int) -> str:
    if rank == other:
        return '<span class="move same" title="same rank in both">=<span class="sr"> same rank in both</span></span>'
    way, arrow = ("up", "▲") if rank < other else ("down", "▼")
    words = f"{abs(rank - other)} {'higher' if way == 'up' else 'lower'} than in the other, where it is {other}"
    return (
        f'<span class="move {way}" title="{words}"><span aria-hidden="true">{arrow}{abs(rank - other)}</span><span class="sr"> {words}</span></span>'
    )


def _grade(passage_id: str, judgments: Mapping[str, int]) -> str:
    if not judgments:
        return ""
    grade = judgments.get(passage_id)
    return f'<span class="grade" title="judged by people">{"not judged" if grade is None else f"grade {grade}"}</span>'


def _chosen(comparison: Comparison) -> str:
    left, right = comparison.left.setup.label(), comparison.right.setup.label()
    broken = any(side.problems for side in comparison.sides)
    words = {
        "left": f"You chose the left one: <b>{esc(left)}</b>.",
        "right": f"You chose the right one: <b>{esc(right)}</b>.",
        "tie": "You saw no difference worth naming.",
        "skipped": "Shown without a vote, since not every stage could rank." if broken else "Shown without a vote.",
    }[comparison.vote or "skipped"]
    return f'<p class="chosen">{words} Left was <b>{esc(left)}</b>, right <b>{esc(right)}</b>.</p>'


def _agreement(comparison: Comparison) -> str:
    found = agreement(comparison.left.ids, comparison.right.ids)
    tiles = [(f"overlap@{k}", f"{share:.2f}", f"share of the first {k} that both name") for k, share in found.overlap.items()]
    tiles.append(("Kendall τ", number(found.tau), "1 is the same order, −1 the reverse"))
    tiles.append(("RBO", f"{found.rbo:.2f}", "rank-biased overlap, p = 0.9: the top counts most"))
    items = join(f'<li><b>{value}</b><span>{name}</span><span class="hint">{esc(note)}</span></li>' for name, value, note in tiles)
    return f'<section class="lab lab-card"><h2>How far they agree</h2><ul class="numbers">{items}</ul></section>'


def _disagreements(comparison: Comparison) -> str:
    found = disagreements(comparison.left, comparison.right)
    if not found:
        return '<section class="lab lab-card"><h2>Where they differ</h2><p>Nowhere: both give the same order.</p></section>'
    said = {hit.id: hit.rationale for hit in comparison.right.hits}
    items = join(_apart(hit, left, right, said.get(hit.id, ""), comparison.judgments) for hit, left, right in found)
    return f'<section class="lab lab-card"><h2>Where they differ most</h2><ol class="apart">{items}</ol></section>'


def _apart(hit: Hit, left: int, right: int, right_said: str, judgments: Mapping[str, int]) -> str:
    reasons = dict.fromkeys(words for words in (hit.rationale, right_said) if words)
    said = join(f'<p class="said"><bdi>{esc(shorten(words, 240))}</bdi></p>' for words in reasons)
    title = esc(shorten(hit.passage.title or hit.id, 80))
    apart = plural(abs(left - right), "place")
    return (
        f'<li><h3><bdi>{title}</bdi> {_grade(hit.id, judgments)}</h3><p class="hint">left {left}, right {right}: {apart} apart</p>'
        f'<p class="text"><bdi>{esc(shorten(hit.passage.text, 420))}</bdi></p>{said}</li>'
    )


def _tally(counts: Mapping[str, int]) -> str:
    if not counts:
        return ""
    top = max(counts.values())
    rows = join(_votes(name, n, n / top) for name, n in sorted(counts.items(), key=lambda item: -item[1]))
    note = "Kept until you close the page, and seen by nobody else."
    return f'<section class="lab lab-card"><h2>Your votes so far</h2><ol class="votes">{rows}</ol><p class="hint">{note}</p></section>'


def _votes(name: str, count: int, share: float) -> str:
    meter = f'<span class="lab-meter" aria-hidden="true"><span style="width:{100 * share:.0f}%"></span></span>'
    return f'<li><span class="label">{esc(name)}</span>{meter}<b>{count}</b></li>'
