"""The walk as HTML: guess, BM25's words, pointwise scores, the windows as frames to play. Pure: knows no gradio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from demo.comparison import ndcg
from demo.learning.lessons import Lesson, lessons
from demo.learning.walk import STEPS, Made, Shot, Walk
from demo.markup import esc, join, number, plural, shorten

TEXT_CHARS = 700
MAX_TERMS = 6


def invitation() -> str:
    """Before a lesson has begun."""
    steps = join(f"<li><b>{name}</b><span>{line}</span></li>" for name, line in zip(STEPS, STEP_LINES, strict=True))
    traps = join(
        f'<li><button type="button" data-lesson="{esc(one.id)}"><b>{esc(one.title)}</b><span>{esc(one.predict)}</span></button></li>'
        for one in lessons().values()
    )
    return (
        '<section class="lab lab-card"><h2>Guess first, then look</h2><p>A walk through one query: you say which three passages are best, '
        "and each stage then shows its hand. Pick a prepared lesson, one a phenomenon, or ask something of your own.</p>"
        f'<ol class="steps-long">{steps}</ol></section>'
        '<section class="lab lab-card"><h2>Eight lessons, one trap each</h2><p>What to look for before the first stage shows its hand. '
        f'Press one and it begins.</p><ol class="traps">{traps}</ol></section>'
    )


STEP_LINES = (
    "Ten passages in no order: which three are best?",
    "BM25, and what every word of the query weighs.",
    "The student’s score of each passage by itself.",
    "Four windows from the back to the front, to play and to step.",
    "Cross-entropy, RankNet and KL on these very scores.",
    "Edit a passage, or leave sentences out, and see the score move.",
    "Plant an order to the ranker, and measure how far it gets.",
    "Take it all with you, with the question to answer.",
)


def bar(step: int) -> str:
    """Where in the walk one is."""
    items = join(
        f'<li class="{"now" if i == step else "done" if i < step else ""}"{" aria-current=step" if i == step else ""}>'
        f'<span class="step" aria-hidden="true">{i + 1}</span><b>{name}</b></li>'
        for i, name in enumerate(STEPS)
    )
    return f'<ol class="walk-bar" aria-label="steps">{items}</ol>'


def progress(words: str) -> str:
    """How far the student is, read out as it changes; nothing once it is done."""
    return f'<p class="lab-note" role="status"><bdi>{esc(words)}</bdi></p>' if words else ""


OWN = ("Read, and choose the three that answer best.", "Each weight is what a word of the query adds; they sum to the score.")
TASKS = (
    "",
    "",  # the first two are the lesson's, or those of a query of one's own
    "Each passage is scored alone: the student never sees the others. Bars run from this list’s lowest score to its highest.",
    "The student reads a few passages side by side, from the back of the list to the front. What is good can travel up through every window.",
    "Training moves the scores so that these numbers fall. Move one passage’s score and see which loss notices, and how much.",
    "Change words, delete a sentence, or let every sentence be left out in turn: the only explanation here that is causal.",
    "Put an order to the ranker in front of a passage that does not deserve it. Each stage gets the same input order as before.",
    "",
)


def head(step: int, walk: Walk, lesson: Lesson | None) -> str:
    """Query, lesson and what to do in this step; it stands above the step's controls. The last step, the worksheet, says it itself."""
    words = ((lesson.predict, lesson.notice) if lesson else OWN)[step] if step < len(OWN) else TASKS[step]
    if not words:
        return ""
    name = f'<span class="tag listwise">{esc(lesson.title)}</span>' if lesson else '<span class="tag retrieval">your own query</span>'
    return f'<header class="walk-head"><h2 class="asked"><bdi>{esc(walk.query)}</bdi> {name}</h2><p>{esc(words)}</p></header>'


def guess_page(walk: Walk) -> str:
    """Step 1: the candidates by letter, with their whole text."""
    cards = join(_open_card(walk, id) for id in sorted(walk.letters, key=walk.letters.__getitem__))
    return f'<ul class="spread">{cards}</ul>'


def words_page(walk: Walk, guess: Sequence[str]) -> str:
    """Step 2: BM25's order with its term weights, beside the guess."""
    rows = join(_row(walk, id, rank, guess, below=_terms(walk, id)) for rank, id in enumerate(walk.ids, 1))
    return f'{_guess_line(walk, guess, walk.ids, "BM25")}<ol class="walk-list">{rows}</ol>'


def pointwise_page(walk: Walk, guess: Sequence[str], made: Made) -> str:
    """Step 3: the student's scores, what moved against BM25, and people's grades."""
    if not made.pointwise:
        return not_yet(made, f"The student has scored {len(made.scores)} of {len(walk.ids)} passages.")
    low, high = min(made.scores.values()), max(made.scores.values())
    rows = []
    for rank, id in enumerate(made.pointwise, 1):
        share = 100.0 if high <= low else 3 + 97 * (made.scores[id] - low) / (high - low)
        below = (
            f'<div class="bar"><span class="label">score</span><span class="track"><span class="fill" style="width:{share:.1f}%"></span></span>'
            f'<span class="value">{number(made.scores[id])}</span></div>'
        )
        rows.append(_row(walk, id, rank, guess, before=walk.ids.index(id) + 1, below=below, graded=True))
    scores = _ndcgs(walk, (("BM25", walk.ids), ("pointwise", made.pointwise)))
    return f'{scores}{_guess_line(walk, guess, made.pointwise, "pointwise")}<ol class="walk-list">{join(rows)}</ol>'


def windows_page(walk: Walk, made: Made) -> str:
    """Step 4: a player over the windows, in frames that the browser shows one at a time."""
    if not made.listwise:
        return not_yet(made, f"{plural(len(made.shots), 'window')} read so far.")
    start = made.shots[0].before
    frames = [(f"The list by pointwise score. {plural(len(made.shots), 'window')} will read it, the last places first.", start, None, start)]
    for i, shot in enumerate(made.shots, 1):
        a, b = shot.span
        frames.append((f"Window {i} of {len(made.shots)} reads places {a + 1} to {b}.", shot.before, shot, shot.before))
        moved = sum(x != y for x, y in zip(shot.before, shot.after, strict=True))
        frames.append((f"Window {i} has ranked them: {plural(moved, 'passage')} moved.", shot.after, shot, shot.before))
    shown = join(_frame(walk, i, frame) for i, frame in enumerate(frames))
    scores = _ndcgs(walk, (("BM25", walk.ids), ("pointwise", made.pointwise), ("listwise", made.listwise)))
    return f"{_player(len(frames), shown)}{scores}"


def lesson_choices() -> list[tuple[str, str]]:
    """(label, id) of every lesson, and of a query of one's own."""
    return [(f"{i}. {lesson.title}", id) for i, (id, lesson) in enumerate(lessons().items(), 1)] + [("A query of your own", "")]


def _open_card(walk: Walk, id: str) -> str:
    passage = walk.passage(id)
    return (
        f'<li><span class="letter">{walk.letters[id]}</span><div><h3><bdi>{esc(shorten(passage.title or id, 90))}</bdi></h3>'
        f"<p><bdi>{esc(shorten(passage.text, TEXT_CHARS))}</bdi></p></div></li>"
    )


def _row(walk: Walk, id: str, rank: int, guess: Sequence[str], *, before: int | None = None, below: str = "", graded: bool = False) -> str:
    passage = walk.passage(id)
    chosen = f'<span class="chosen-as">your {_ordinal(guess.index(id) + 1)}</span>' if id in guess else ""
    grade = _grade(walk, id) if graded else ""
    return (
        f'<li><span class="rank">{rank}{_move(before, rank)}</span><span class="letter">{walk.letters[id]}</span>'
        f'<div class="what"><details><summary><bdi>{esc(shorten(passage.title or id, 90))}</bdi>{chosen}{grade}</summary>'
        f"<p><bdi>{esc(shorten(passage.text, TEXT_CHARS))}</bdi></p></details>{below}</div></li>"
    )


def _terms(walk: Walk, id: str) -> str:
    hit = next(hit for hit in walk.hits if hit.id == id)
    top = max((abs(term.weight) for other in walk.hits for term in other.terms), default=0.0) or 1.0
    ordered = sorted(hit.terms, key=lambda term: -term.weight)[:MAX_TERMS]
    pills = join(
        f'<li class="term" style="--w:{max(0.12, abs(t.weight) / top):.2f}"><bdi>{esc(shorten(t.term, 24))}</bdi> <b>{number(t.weight)}</b></li>'
        for t in ordered
    )
    total = number(hit.scores.get("retrieval", 0.0))
    terms = f'<ul aria-label="what each query term adds">{pills}</ul>'
    return f'<div class="terms"><span class="label">BM25</span><span class="sum">{total}</span>{terms}</div>'


def _guess_line(walk: Walk, guess: Sequence[str], order: Sequence[str], stage: str) -> str:
    if not guess:
        return '<p class="lab-note">You made no guess. Step 1 is still open.</p>'
    places = ", ".join(f"{walk.letters[id]} is {_ordinal(order.index(id) + 1)}" for id in guess)
    inside = sum(id in order[:3] for id in guess)
    return f'<p class="lab-note">Of your three, {inside} {"is" if inside == 1 else "are"} among the first three by {esc(stage)}: {places}.</p>'


def not_yet(made: Made, words: str) -> str:
    """What is not there: why it failed, or how far the student is."""
    if made.problems:
        said = join(f"<p><bdi>{esc(shorten(problem, 300))}</bdi></p>" for problem in made.problems)
        return f'<div class="alert" role="alert">{said}</div>'
    return f'<p class="lab-note wait"><span class="spinner" aria-hidden="true"></span><span>{esc(words)} This fills in by itself.</span></p>'


def _ndcgs(walk: Walk, orders: Sequence[tuple[str, Sequence[str]]]) -> str:
    values = [(name, ndcg(order, walk.judgments)) for name, order in orders]
    if any(value is None for _, value in values):
        return '<p class="lab-note">Nobody judged this query, so no measure says which order is better.</p>' if not walk.judgments else ""
    items = join(f"<li><b>{value:.3f}</b><span>nDCG@10, {esc(name)}</span></li>" for name, value in values)
    return f'<ul class="numbers">{items}</ul>'


def _frame(walk: Walk, index: int, frame: tuple[str, Sequence[str], Shot | None, Sequence[str]]) -> str:
    caption, order, shot, before = frame
    a, b = shot.span if shot else (0, 0)
    rows = join(
        f'<li class="{"in" if a <= place < b else ""}"><span class="rank">{place + 1}{_move(before.index(id) + 1, place + 1)}</span>'
        f'<span class="letter">{walk.letters[id]}</span><bdi>{esc(shorten(walk.passage(id).title or id, 60))}</bdi>{_grade(walk, id)}</li>'
        for place, id in enumerate(order)
    )
    return (
        f'<section class="frame" data-frame="{index}"{"" if index == 0 else " hidden"}><p class="caption">{esc(caption)}</p><ol>{rows}</ol></section>'
    )


def _player(count: int, frames: str) -> str:
    return (
        f'<div class="player" data-player role="group" aria-label="the windows, step by step"><div class="player-bar">'
        '<button type="button" class="ghost-button" data-play aria-pressed="false">Play</button>'
        '<button type="button" class="ghost-button" data-by="-1" aria-label="one step back">‹</button>'
        '<button type="button" class="ghost-button" data-by="1" aria-label="one step forward">›</button>'
        f'<input type="range" min="0" max="{count - 1}" value="0" step="1" aria-label="step of {count}"></div>'
        f'<div class="frames">{frames}</div></div>'
    )


def _move(before: int | None, rank: int) -> str:
    if before is None or before == rank:
        return ""
    way, arrow = ("up", "▲") if rank < before else ("down", "▼")
    by = abs(before - rank)
    return f'<span class="move {way}"><span aria-hidden="true">{arrow}{by}</span><span class="sr"> {way} {by}</span></span>'


def _grade(walk: Walk, id: str) -> str:
    grade: Mapping[str, int] = walk.judgments
    if not grade:
        return ""
    return f'<span class="grade">{f"grade {grade[id]}" if id in grade else "not judged"}</span>'


def _ordinal(n: int) -> str:
    """
    >>> [_ordinal(n) for n in (1, 2, 3, 4, 11)]
    ['1st', '2nd', '3rd', '4th', '11th']
    """
    ending = "th" if 10 <= n % 100 <= 13 else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"
