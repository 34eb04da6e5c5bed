"""The worksheet: a walk as Markdown, with blanks to fill in and without the instructor's answer. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from demo.learning.lessons import Lesson
from demo.learning.walk import STRIDE, WINDOW, Edited, Made, Occluded, Planted, Try, Walk
from demo.markup import esc, join, shorten

_MARKS = re.compile(r"([\\`*_\[\]#|~<>{}$!-])")
BLANK = "\n\n" + "_" * 60 + "\n\n" + "_" * 60
STAGES = {"retrieval": "BM25 over these ten", "pointwise": "Pointwise", "listwise": "Listwise, fast mode"}


def md(text: object) -> str:
    r"""Text that Markdown and HTML leave alone, on one line.

    >>> md("a *b*\n<i>")
    'a \\*b\\* \\<i\\>'
    """
    return _MARKS.sub(r"\\\1", " ".join(str(text).split()))


def worksheet(walk: Walk, lesson: Lesson | None, guess: Sequence[str], made: Made, tries: Sequence[Try]) -> str:
    """Query, guess, what each stage did, what was tried, and the question to answer."""
    parts = [f"# {md(lesson.title) if lesson else 'A query of your own'}", f"**Query:** {md(walk.query)}", f"**Model:** {md(walk.model)}"]
    parts += ["## 1. The passages, and your guess", _passages(walk), _guess(walk, guess)]
    parts += ["## 2. and 3. What the stages made of them", _table(walk, made)]
    if made.shots:
        parts += ["## 4. The windows, back to front", _windows(walk, made)]
    parts += ["## 5. to 7. What you tried", _tries(walk, tries)]
    parts += ["## To answer"]
    if lesson:
        parts += [f"**Notice:** {md(lesson.notice)}", f"**Question:** {md(lesson.question)}{BLANK}"]
    parts += [f"Which passage moved most between two stages, and what in its text explains it?{BLANK}"]
    return "\n\n".join(parts) + "\n"


def page(lesson: Lesson | None, text: str) -> str:
    """Step 8 as HTML: the question, and the worksheet as it will be saved."""
    asked = f'<section class="lab lab-card"><h2>The question</h2><p>{esc(lesson.question)}</p></section>' if lesson else ""
    return (
        f'{asked}<section class="lab lab-card"><h2>Your worksheet</h2><p class="hint">Markdown, with room for the answers.</p>'
        f'<pre class="sheet-text" tabindex="0" aria-label="worksheet">{esc(text)}</pre></section>'
    )


def _passages(walk: Walk) -> str:
    named = sorted(walk.ids, key=walk.letters.__getitem__)
    return "\n".join(f"- **{walk.letters[id]}** {md(shorten(walk.passage(id).title or id, 90))}" for id in named)


def _guess(walk: Walk, guess: Sequence[str]) -> str:
    return f"Your guess: {', '.join(walk.letters[id] for id in guess)}" if guess else "Your guess: none"


def _table(walk: Walk, made: Made) -> str:
    rows = ["| Passage | Grade | BM25 | Score | Pointwise | Listwise |", "| --- | --- | --- | --- | --- | --- |"]
    for rank, id in enumerate(walk.ids, 1):
        score = f"{made.scores[id]:.3f}" if id in made.scores else "–"
        places = [str(order.index(id) + 1) if id in order else "–" for order in (made.pointwise, made.listwise)]
        rows.append(f"| {walk.letters[id]} | {walk.judgments.get(id, '–')} | {rank} | {score} | {places[0]} | {places[1]} |")
    return "\n".join(rows)


def _windows(walk: Walk, made: Made) -> str:
    lines = [f"Windows of {WINDOW}, moved by {STRIDE}, in fast mode."]
    for i, shot in enumerate(made.shots, 1):
        a, b = shot.span
        before, after = (" > ".join(walk.letters[id] for id in order[a:b]) for order in (shot.before, shot.after))
        lines.append(f"{i}. places {a + 1} to {b}: {before} became {after}")
    return "\n".join(lines).replace(" > ", " \\> ")


def _tries(walk: Walk, tries: Sequence[Try]) -> str:
    if not tries:
        return "Nothing yet."
    return join(f"- {_try(walk, t)}\n" for t in tries).rstrip()


def _try(walk: Walk, t: Try) -> str:
    name = walk.letters[t.passage_id]
    if isinstance(t, Edited):
        return f"{name} with another text: {t.before:.3f} became {t.after:.3f}. The text: {md(shorten(t.text, 300))}"
    if isinstance(t, Occluded):
        worth = "; ".join(f"{drop:+.3f} {md(shorten(text, 80))}" for text, drop in t.drops) or "one sentence only"
        return f"{name} sentence by sentence (score {t.score:.3f}): {worth}"
    assert isinstance(t, Planted)
    moves = "; ".join(f"{STAGES[stage]} {before} to {after}" for stage, (before, after) in t.ranks.items())
    return f"{name} with “{md(t.sentence)}” in front: {moves}"
