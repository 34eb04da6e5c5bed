"""Column 1, the candidates: a card a passage, in the order of the best ranking so far. Pure."""

from __future__ import annotations

import re
from functools import lru_cache

from dear import excerpts
from dear.explain import decisive, lexical, sentences
from dear.types import Evidence, Hit, TermWeight
from demo.handlers import View, stage_before
from demo.limits import MAX_SHOWN_CHARS
from demo.markup import esc, excerpt, highlight, join, number, shorten

MAX_TERMS = 8
FIRST = 10  # cards shown without a click
EXCERPT = 150
_NUMBER = re.compile("[0-9]{1,4}")
ORDER_NAMES = {"retrieval": "as retrieved", "pointwise": "by pointwise score", "listwise": "by the listwise ranking"}


def cards(view: View) -> str:
    """The column: heading, ordered list of cards, legend."""
    if not view.hits:
        return heading("Candidates", "") + _nothing(view)
    scale = _scale(view)
    items = [card(view, hit, scale) for hit in view.hits]
    order = ORDER_NAMES[view.by]
    if view.by == "listwise" and not view.final and view.phase != "done":
        done = sum(1 for window in view.windows if window.status)
        order = f"listwise, {done} of {view.windows[-1].of} windows" if view.windows else order
    chip = f'<span class="tag {view.by}">{esc(order)}</span>'
    top = f'<ol class="cards">{join(items[:FIRST])}</ol>'
    return f"{heading('Candidates', chip)}{top}{_rest(items[FIRST:])}{_legend(view)}"


def _rest(items: list[str]) -> str:
    """The cards after the first ten, folded: they are seldom read, and a phone has to pass them."""
    if not items:
        return ""
    summary = f"<summary>{len(items)} more, from rank {FIRST + 1}</summary>"
    return f'<details class="rest" data-keep="rest">{summary}<ol class="cards" start="{FIRST + 1}">{join(items)}</ol></details>'


def heading(title: str, right: str) -> str:
    """A column's heading with something small at its right."""
    return f'<div class="col-head"><h2>{esc(title)}</h2>{right}</div>'


def card(view: View, hit: Hit, scale: tuple[float, float] | None = None) -> str:
    """One passage: rank and movement, title, text with its evidence, pointwise bar, term weights, what the model said."""
    n = view.number(hit.id)
    title = hit.passage.title or shorten(hit.passage.text, 60)
    shown, cited = _identifier(view, hit)
    return (
        f'<li class="card" id="card-{n}" data-d="{n}" tabindex="-1" aria-label="{esc(_label(view, hit, n, title))}">'
        f'<div class="place"><span class="rank">{hit.rank}</span>{movement(view, hit)}</div>'
        f'<div class="body"><div class="title"><h3><bdi>{esc(title)}</bdi></h3>'
        f'<span class="names">{shown}<span class="doc" title="{esc(hit.id)}">D{n}</span>{judged(view, hit.id)}</span></div>'
        f"{_text(view, hit)}{_said(hit, cited)}{_bar(view, hit, scale)}{_terms(hit)}</div></li>"
    )


def movement(view: View, hit: Hit) -> str:
    """The hit's move against the stage before, as arrow, number and words."""
    before = stage_before(view, hit)
    if before is None:
        return '<span class="move none"></span>'
    delta = before[1] - hit.rank
    if delta == 0:
        return f'<span class="move same" title="same place as in {before[0]}"><span aria-hidden="true">=</span><span class="sr">unmoved</span></span>'
    way, arrow = ("up", "▲") if delta > 0 else ("down", "▼")
    words = f"{way} {abs(delta)} from {before[0]} rank {before[1]}"
    return f'<span class="move {way}" title="{words}"><span aria-hidden="true">{arrow}{abs(delta)}</span><span class="sr">{words}</span></span>'


def judged(view: View, passage_id: str) -> str:
    """A dot filled by the grade that people gave; hollow for grade 0, dotted where nobody judged. Nothing without judgments."""
    if not view.judgments:
        return ""
    if passage_id not in view.judgments:
        return '<span class="dot none" title="not judged"><span class="sr">not judged</span></span>'
    grade, top = view.judgments[passage_id], max(1, *view.judgments.values())
    share = round(100 * max(0, grade) / top)
    words = f"judged {grade} of {top}"
    return f'<span class="dot" style="--fill:{share}%" title="{words}"><span class="sr">{words}</span></span>'


def _label(view: View, hit: Hit, n: int, title: str) -> str:
    ranks = ", ".join(f"{stage} rank {rank}" for stage, rank in hit.ranks.items())
    return f"Rank {hit.rank}: D{n}, {shorten(title, 80)}; {ranks}"


def _identifier(view: View, hit: Hit) -> tuple[str, bool]:
    """The identifier the passage had in the last window that held it."""
    for window in reversed(view.windows):
        if hit.id in window.ids:
            name = window.ids.index(hit.id) + 1
            return f'<span class="ident" title="in the prompt as [{name}]">[{name}]</span>', True
    return "", False


def _text(view: View, hit: Hit) -> str:
    text = hit.passage.text[:MAX_SHOWN_CHARS]
    top = decisive(hit.passage, view.left_out.get(hit.id, ()))
    marks = (*hit.evidence, *lexical(hit), *([top] if top else []))
    which = _read(view, hit) + _which(view, hit)
    cut = "" if len(hit.passage.text) <= MAX_SHOWN_CHARS else f'<p class="hint">Cut after {MAX_SHOWN_CHARS:,} characters.</p>'
    start, end = excerpt(text, [e for e in hit.evidence if e.kind == "quoted"], EXCERPT)
    lead, tail = "… " if start else "", " …" if end < len(text) else ""
    if not lead and not tail:
        return f'<p class="text"><bdi>{highlight(text, marks)}</bdi></p>{cut}{which}'
    brief = f'<span class="brief"><bdi>{lead}{highlight(text, marks, start, end)}{tail}</bdi></span>'
    whole = f'<p class="text whole"><bdi>{highlight(text, marks)}</bdi></p>{cut}{which}'
    return f'<details class="passage" data-keep="p-{esc(hit.id)}"><summary>{brief} <span class="more">Whole passage</span></summary>{whole}</details>'


def _read(view: View, hit: Hit) -> str:
    """Which sentences the pointwise student had before it, where it does not read the whole of a long passage."""
    words, text = _reads(view), hit.passage.text
    if "pointwise" not in hit.scores or not words or len(text.split()) <= words:
        return ""
    first, last, count = _sentences_read(view.query, text, words)
    if last - first + 1 == count:
        return ""
    which = f"sentence {first}" if first == last else f"sentences {first} to {last}"
    return f'<p class="hint">Longer than {words} words: the pointwise student read {which} of {count}, the nearest to the query.</p>'


@lru_cache(maxsize=1024)
def _sentences_read(query: str, text: str, words: int) -> tuple[int, int, int]:
    """The first and the last sentence of a passage's excerpt, counted from 1, and how many the passage has."""
    (start, end), spans = excerpts.place(query, text, words), sentences(text)
    inside = [i for i, (a, b) in enumerate(spans, 1) if start <= a and b <= end]
    return (inside[0], inside[-1], len(spans)) if inside else (1, len(spans), len(spans))


def forget_read() -> None:
    """Let go of the passages whose excerpts are remembered."""
    _sentences_read.cache_clear()


def _reads(view: View) -> int:
    """The words that the run's pointwise student read of a long passage, as the run says; 0: all it could, from the head."""
    said = view.config.get("excerpt", "")
    return int(said) if _NUMBER.fullmatch(said) else 0


def _which(view: View, hit: Hit) -> str:
    """The offer to leave each sentence out in turn, and what that showed."""
    if hit.id in view.left_out:
        drops = view.left_out[hit.id]
        top = decisive(hit.passage, drops)
        fall = max((found.drop for found in drops), default=0.0)
        words = f"Without the framed sentence the pointwise score falls by {number(fall)}, the most of {len(drops)}."
        return f'<p class="hint found" tabindex="-1">{words if top else "Without any one of its sentences the pointwise score does not fall."}</p>'
    if any(e.kind == "occlusion" for e in hit.evidence):
        return '<p class="hint">Without the framed sentence the pointwise score falls most.</p>'
    if not view.final or view.recorded or "pointwise" not in hit.scores or len(sentences(hit.passage.text)) < 2:
        return ""
    n = view.number(hit.id)
    return f'<button type="button" class="which" data-sentences="{n}" aria-label="Which sentence matters? D{n}">Which sentence matters?</button>'


def _said(hit: Hit, cited: bool) -> str:
    """What the listwise model said of the passage, and the quotes of it that are not in the passage."""
    if not cited:
        return ""
    reason = f'<p class="said"><bdi>{esc(shorten(hit.rationale, 240))}</bdi></p>' if hit.rationale else ""
    return reason + join(unsupported(e) for e in hit.evidence if e.kind == "quoted" and not e.grounded)


def unsupported(evidence: Evidence) -> str:
    """A quote that is not in the passage, marked as such."""
    quote = esc(shorten(evidence.quote, 160))
    return f'<p class="quote missing"><q class="unsupported"><bdi>{quote}</bdi></q> <span class="why">not in the passage</span></p>'


def _scale(view: View) -> tuple[float, float] | None:
    values = list(view.scores.values())
    return (min(values), max(values)) if values else None


def _bar(view: View, hit: Hit, scale: tuple[float, float] | None) -> str:
    if view.stages["pointwise"] == "off":
        return ""
    score = view.scores.get(hit.id)
    if score is None or scale is None:
        gone = view.stages["pointwise"] in ("failed", "stopped")
        state, words = ("pending gone", "not scored") if gone else ("pending", "waiting for a score")
        return f'<div class="bar {state}"><span class="label">pointwise</span><span class="track"></span><span class="value">{words}</span></div>'
    low, high = scale
    width = 100.0 if high <= low else 3 + 97 * (score - low) / (high - low)
    return (
        f'<div class="bar"><span class="label">pointwise</span><span class="track"><span class="fill" style="width:{width:.1f}%"></span></span>'
        f'<span class="value">{number(score)}</span></div>'
    )


def _terms(hit: Hit) -> str:
    score = hit.scores.get("retrieval")
    if score is None:
        return ""
    if not hit.terms:
        return f'<div class="terms"><span class="label">retrieval</span><span class="sum">{number(score)}</span></div>'
    top = max((abs(term.weight) for term in hit.terms), default=0.0) or 1.0
    ordered = sorted(hit.terms, key=lambda term: -term.weight)
    pills = [_term(term, abs(term.weight) / top) for term in ordered[:MAX_TERMS]]
    rest = sum(term.weight for term in ordered[MAX_TERMS:])
    more = f'<li class="term rest">{len(ordered) - MAX_TERMS} more <b>{number(rest)}</b></li>' if len(ordered) > MAX_TERMS else ""
    return (
        f'<div class="terms"><span class="label">retrieval</span><span class="sum">{number(score)}</span>'
        f'<ul aria-label="what each query term adds">{join(pills)}{more}</ul></div>'
    )


def _term(term: TermWeight, share: float) -> str:
    name = esc(shorten(term.term, 24))
    return f'<li class="term" style="--w:{max(0.12, share):.2f}"><bdi>{name}</bdi> <b>{number(term.weight)}</b></li>'


def _legend(view: View) -> str:
    entries = ["<li><b>D3</b> third as retrieved</li>"]
    if view.windows:
        entries.append('<li><span class="ident">[3]</span> third in the model’s prompt</li>')
    if view.judgments:
        entries.append('<li><span class="dot" style="--fill:100%" aria-hidden="true"></span> how relevant people judged it</li>')
    if view.scores:
        entries.append("<li>bars run from this list’s lowest to its highest score</li>")
    if any(term.places for hit in view.hits for term in hit.terms):
        entries.append('<li><mark class="ev lexical">word</mark> the search weighted</li>')
    if any(e.grounded and e.kind == "quoted" for hit in view.hits for e in hit.evidence):
        entries.append('<li><mark class="ev quoted">quoted</mark> by the listwise stage and found in the passage</li>')
    if any(_decided(view, hit) for hit in view.hits):
        entries.append('<li><mark class="ev occlusion">sentence</mark> that the pointwise score needs most, found by leaving each out</li>')
    return f'<ul class="legend">{join(entries)}</ul>' if entries else ""


def _decided(view: View, hit: Hit) -> bool:
    """Whether a sentence of the hit is framed: found now, or with an earlier card."""
    return bool(decisive(hit.passage, view.left_out.get(hit.id, ()))) or any(e.kind == "occlusion" for e in hit.evidence)


def _nothing(view: View) -> str:
    if view.stages["retrieval"] == "failed":
        return '<p class="empty-col">Retrieval failed, so there is nothing to rank. What happened is said above.</p>'
    if view.phase in ("waiting", "running") and not view.order and view.stages["retrieval"] != "done":
        return '<ol class="cards ghost" aria-hidden="true">' + '<li class="card"></li>' * 5 + "</ol>"
    if view.stages["retrieval"] == "stopped":
        return '<p class="empty-col">Nothing was searched: the index was still loading. Press Rank again.</p>'
    return '<p class="empty-col">No passage was found for this query. Try other words, or the dense retriever, which matches by meaning.</p>'
