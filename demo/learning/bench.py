"""The experiments as HTML: the losses with their sliders, changed texts, sentences left out, planted orders. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dear.errors import BadInput
from demo.learning import losses as formulas
from demo.learning import walk as steps
from demo.learning.pages import not_yet
from demo.learning.walk import Edited, Made, Occluded, Planted, Try, Walk
from demo.markup import esc, join, number, shorten

SHIFT, TEMPERATURE, ALPHA = (-6.0, 6.0, 0.0), (0.5, 5.0, 2.0), (0.0, 1.0, 0.1)  # least, most, default
FORMULAS = (
    ("CE", "−Σ yᵢ / Σy · log softmax(s)ᵢ", "puts the relevant passages above all others at once"),
    ("RankNet", "mean over yᵢ > yⱼ of log(1 + exp(sⱼ − sᵢ))", "puts each better passage above each worse one"),
    ("KL", "T² · KL(softmax(t / T) ‖ softmax(s / T))", "makes the student’s whole distribution the teacher’s"),
    ("L", "α (CE + RankNet) + (1 − α) KL", "what training minimises"),
)


@dataclass(frozen=True, slots=True)
class Knobs:
    """The sliders of the losses: one passage's score is moved by `shift`."""

    letter: str = ""
    shift: float = 0.0
    temperature: float = 2.0
    alpha: float = 0.1


def knobs(letter: object, shift: object, temperature: object, alpha: object) -> Knobs:
    """The sliders' values, or `BadInput` when one is out of range."""
    values = [
        _number(name, value, limits)
        for name, value, limits in (("shift", shift, SHIFT), ("temperature", temperature, TEMPERATURE), ("alpha", alpha, ALPHA))
    ]
    return Knobs(letter if isinstance(letter, str) else "", *values)


def _number(name: str, value: object, limits: tuple[float, float, float]) -> float:
    least, most, _ = limits
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise BadInput(f"the {name} {str(value)[:20]} is out of range: use a number from {least:g} to {most:g}")
    return float(value)


def loss_page(walk: Walk, guess: Sequence[str], made: Made, at: Knobs) -> str:
    """Step 5: each loss on this query's own scores, before and after the shift."""
    if not made.pointwise:
        return not_yet(made, "The student is still scoring.")
    grades, whose = steps.labels(walk, guess)
    taught, who = steps.teacher(walk, made, grades)
    ids = list(made.pointwise)
    moved = walk.named(at.letter or min(walk.letters.values()))
    s = [made.scores[id] for id in ids]
    shifted = [value + (at.shift if id == moved else 0.0) for id, value in zip(ids, s, strict=True)]
    y, t = [grades[id] for id in ids], [taught[id] for id in ids]
    was, now = (formulas.losses(values, y, t, alpha=at.alpha, temperature=at.temperature) for values in (s, shifted))
    tiles = join(
        _tile(*text, before, after)
        for text, before, after in zip(
            FORMULAS, (was.cross_entropy, was.ranknet, was.kl, was.total), (now.cross_entropy, now.ranknet, now.kl, now.total), strict=True
        )
    )
    p, q = formulas.softmax(t, at.temperature), formulas.softmax(shifted, at.temperature)
    rows = join(_loss_row(walk, id, moved, *values) for id, *values in zip(ids, shifted, y, q, p, strict=True))
    columns = ("Passage", "s", "y", "student, softmax(s / T)", "teacher, softmax(t / T)")
    heads = join(f'<th scope="col">{column}</th>' for column in columns)
    table = (
        '<div class="scroll-x" tabindex="0" role="group" aria-label="scores and distributions"><table class="faults dist"><thead><tr>'
        f"{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
    )
    source = f'<p class="hint">Labels y: {esc(whose)}. Teacher t: {esc(who)}.</p>'
    where = " ".join(f"{value + 0.0:g}" for value in (at.shift, at.temperature, at.alpha))
    return f'<ul class="loss-tiles" data-at="{where}">{tiles}</ul>{table}{source}'


def _tile(name: str, formula: str, does: str, before: float, after: float) -> str:
    way = "down" if after < before - 5e-4 else "up" if after > before + 5e-4 else "same"
    change = "" if way == "same" else f'<span class="delta {way}">{"▼" if way == "down" else "▲"} {abs(after - before):.3f}</span>'
    return (
        f'<li><h3>{name}</h3><p class="value"><b>{number3(after)}</b>{change}</p><p class="formula">{esc(formula)}</p>'
        f'<p class="hint">{esc(does)}</p></li>'
    )


def number3(value: float) -> str:
    """Three decimals with a true minus sign.

    >>> number3(-0.0001), number3(1.5)
    ('0.000', '1.500')
    """
    text = f"{value:.3f}"
    return (text[1:] if text == "-0.000" else text).replace("-", "−")


def _loss_row(walk: Walk, id: str, moved: str, s: float, y: float, q: float, p: float) -> str:
    name = f'<span class="letter">{walk.letters[id]}</span> <bdi>{esc(shorten(walk.passage(id).title or id, 40))}</bdi>'
    mark = ' class="moved"' if id == moved else ""
    cells = join(f"<td>{cell}</td>" for cell in (number(s), f"{y:g}", _share(q, "pointwise"), _share(p, "retrieval")))
    return f'<tr{mark}><th scope="row">{name}</th>{cells}</tr>'


def _share(value: float, hue: str) -> str:
    return f'<span class="share {hue}"><span style="width:{100 * value:.0f}%"></span></span>{value:.2f}'


def change_page(walk: Walk, made: Made, tries: Sequence[Try]) -> str:
    """Step 6: what changed texts and left-out sentences did."""
    if not made.pointwise:
        return not_yet(made, "The student is still scoring.")
    found = [t for t in tries if isinstance(t, Edited | Occluded)]
    cards = join(_edited(walk, t) if isinstance(t, Edited) else _occluded(walk, t) for t in reversed(found))
    empty = '<p class="lab-note">Nothing tried yet. Choose a passage above, change its text, and score it.</p>'
    return f'<div class="tries">{cards or empty}</div>'


def plant_page(walk: Walk, made: Made, tries: Sequence[Try]) -> str:
    """Step 7: how far a planted order moved its passage, stage by stage."""
    if not made.listwise:
        return not_yet(made, "The student is still ranking.")
    cards = join(_planted(walk, t) for t in reversed(tries) if isinstance(t, Planted))
    empty = '<p class="lab-note">Nothing planted yet. Choose a passage above, and press Plant it.</p>'
    return f'<div class="tries">{cards or empty}</div>'


def _edited(walk: Walk, t: Edited) -> str:
    way = "up" if t.after > t.before else "down" if t.after < t.before else "same"
    arrow = {"up": "▲", "down": "▼", "same": "="}[way]
    move = f'<span class="move {way}">{arrow} {number3(abs(t.after - t.before))}</span>'
    return (
        f'<section class="lab lab-card"><h3>{_name(walk, t.passage_id)} with another text</h3>'
        f'<p class="value"><b>{number3(t.before)} → {number3(t.after)}</b> {move}</p>'
        f'<p class="quote"><bdi>{esc(shorten(t.text, 400))}</bdi></p></section>'
    )


def _occluded(walk: Walk, t: Occluded) -> str:
    if not t.drops:
        return (
            f'<section class="lab lab-card"><h3>{_name(walk, t.passage_id)}, sentence by sentence</h3>'
            f"<p>It has one sentence only, so nothing can be left out. Its score is {number3(t.score)}.</p></section>"
        )
    top = max(abs(drop) for _, drop in t.drops) or 1.0
    rows = join(
        f'<li><span class="worth {"up" if drop >= 0 else "down"}"><span style="width:{100 * abs(drop) / top:.0f}%"></span></span>'
        f"<b>{'+' if drop > 0 else ''}{number3(drop)}</b><bdi>{esc(shorten(text, 300))}</bdi></li>"
        for text, drop in t.drops
    )
    return (
        f'<section class="lab lab-card"><h3>{_name(walk, t.passage_id)}, sentence by sentence</h3>'
        f'<p class="hint">Score {number3(t.score)}. Each number is what the sentence adds: the score with it minus the score without.</p>'
        f'<ol class="worths">{rows}</ol></section>'
    )


def _planted(walk: Walk, t: Planted) -> str:
    names: Mapping[str, str] = {"retrieval": "BM25, over these ten", "pointwise": "Pointwise", "listwise": "Listwise, fast mode"}
    rows = join(_moved(names[stage], before, after) for stage, (before, after) in t.ranks.items())
    return (
        f'<section class="lab lab-card"><h3>{_name(walk, t.passage_id)}, with an order planted</h3>'
        f'<p class="quote"><bdi>{esc(shorten(t.sentence, 300))}</bdi></p><table class="faults"><thead><tr><th scope="col">Stage</th>'
        f'<th scope="col">Rank before</th><th scope="col">after</th><th scope="col">Moved</th></tr></thead><tbody>{rows}</tbody></table></section>'
    )


def _moved(name: str, before: int, after: int) -> str:
    by = before - after
    way, arrow = ("up", "▲") if by > 0 else ("down", "▼") if by < 0 else ("same", "=")
    move = f'<span class="move {way}">{arrow}{abs(by) if by else ""}<span class="sr"> {way}</span></span>'
    return f'<tr><th scope="row">{name}</th><td>{before}</td><td>{after}</td><td>{move}</td></tr>'


def _name(walk: Walk, id: str) -> str:
    return f'<span class="letter">{walk.letters[id]}</span> <bdi>{esc(shorten(walk.passage(id).title or id, 70))}</bdi>'
