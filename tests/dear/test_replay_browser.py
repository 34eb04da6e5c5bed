"""The replay page in a real browser: it plays and scrubs, ends where the run ended, and nothing in a passage runs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hostile import CANARIES

from dear import events as ev
from dear.engines.fake import FakeGenerator, FakeScorer
from dear.engines.fake import passages as numbered
from dear.pipeline import Pipeline, Settings
from dear.replay import replay_html
from dear.types import Evidence, Passage, TermWeight

SIZES = {"wide": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}
TEXTS = {
    "paint": "Sky blue is a shade of paint, and nothing more is said of it in this place.",
    "sun": "🦌🦌 Air scatters the short waves of sunlight, so the sky is blue to us.",
    "sea": "The sea mirrors what is above it.",
}
SMALL = (
    "[...document.querySelectorAll('button:not(.chapter), select, summary:not(.passage > summary)')]"
    ".filter(e => e.offsetParent && e.getBoundingClientRect().height < 43.5).map(e => e.outerHTML.slice(0, 90))"
)


def answer(messages):
    """A need, a quote for it, and a ranking; identifiers as the prompt has them."""
    _, found = numbered(messages)
    name = {id: next(n for n, body in found.items() if text in body) for id, text in TEXTS.items()}
    return (
        f'Needs: 1. why air looks blue\n[{name["sun"]}] meets 1: "scatters the short waves" - It says why.\n'
        f"Ranking: [{name['sun']}] > [{name['paint']}] > [{name['sea']}]"
    )


def recorded(passages, query, answer=None, **settings):
    judged = {passages[0].id: 0, passages[1].id: 3}
    settings = Settings(**{"max_tokens": 4_000, **settings})
    return list(Pipeline(scorer=FakeScorer(), generator=FakeGenerator(answer), judgments=lambda q: judged, settings=settings).run(query, passages))


def with_made_up(event):
    """The event with one more quote, which is not in its passage: the engine may not let the model write such a one."""
    false = Evidence("sea", "the sea is blue by itself", meets=(1,))
    if isinstance(event, ev.WindowEnd):
        kept = tuple(piece for piece in event.rationale.evidence if piece.passage_id != "sea")
        return replace(event, rationale=replace(event.rationale, evidence=(*kept, false)))
    if isinstance(event, ev.Final):
        return replace(event, hits=tuple(replace(hit, evidence=(false,)) if hit.id == "sea" else hit for hit in event.hits))
    return event


@pytest.fixture(scope="module")
def run():
    events = recorded([Passage(id, text, id.title()) for id, text in TEXTS.items()], "why is the sky blue", answer)
    return [with_made_up(event) for event in events]


@pytest.fixture
def open_page(chrome, tmp_path):
    """Opens a run's page; fails on a script error, a policy violation, a dialog or a request."""
    wrong, contexts = [], []

    def opened(events, size="wide", scheme="light", anchor=""):
        path = tmp_path / "run.html"
        path.write_text(replay_html(events), encoding="utf-8")
        context = chrome.new_context(viewport=SIZES[size], color_scheme=scheme, reduced_motion="reduce", has_touch=size == "phone")
        contexts.append(context)
        tab = context.new_page()
        tab.on("pageerror", lambda error: wrong.append(f"script error: {error}"))
        tab.on("console", lambda message: wrong.append(f"console: {message.text}") if message.type == "error" else None)
        tab.on("dialog", lambda dialog: wrong.append(f"dialog: {dialog.message}"))
        tab.on("request", lambda request: wrong.append(f"request: {request.url}") if not request.url.startswith(("file:", "data:")) else None)
        tab.goto(path.as_uri() + anchor)
        return tab

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


def scrub(tab, place):
    tab.evaluate("n => { const s = document.getElementById('scrub'); s.value = n; s.dispatchEvent(new Event('input')); }", place)


def order(tab):
    return tab.locator(".card").evaluate_all("cards => cards.map(card => card.querySelector('.doc').title)")


def after(events, kind):
    return next(place for place, event in enumerate(events, 1) if isinstance(event, kind))


def test_it_plays_to_the_end(open_page, run):
    tab = open_page(run)
    tab.select_option("#speed", "16")
    tab.locator("#play").click()
    assert tab.locator("#play").get_attribute("aria-label") == "pause"
    tab.wait_for_selector("#report .tile", timeout=30_000)
    tab.wait_for_selector("#play[aria-label=play]")
    assert order(tab) == [hit.id for hit in run[-1].hits]
    assert tab.locator("#status").inner_text() == "Ranking complete: 3 passages"
    tab.locator("#play").click()  # once more, from the beginning
    tab.wait_for_selector("#report .tile", state="hidden")


def test_each_place_shows_what_was_known_then(open_page, run):
    tab = open_page(run)
    scrub(tab, after(run, ev.Retrieved))
    assert order(tab) == ["paint", "sun", "sea"]
    assert tab.locator(".bar").count() == 0
    scrub(tab, after(run, ev.PointScore))
    assert tab.locator(".bar .fill").count() == 1
    scrub(tab, after(run, ev.Pointwise))
    assert order(tab) == [hit.id for hit in next(e for e in run if isinstance(e, ev.Pointwise)).hits]
    start = after(run, ev.WindowStart)
    scrub(tab, start + 20)
    assert tab.locator("#answer").inner_text() == "".join(e.text for e in run[start : start + 20]).rstrip()
    assert tab.locator("#report").is_hidden()
    scrub(tab, len(run))
    assert order(tab) == [hit.id for hit in run[-1].hits]
    scrub(tab, after(run, ev.Retrieved))  # and back again
    assert order(tab) == ["paint", "sun", "sea"]


def test_evidence_is_marked_and_what_is_made_up_is_said(open_page, run):
    tab = open_page(run, anchor="#end")
    spans = {e.passage_id: e for event in run if isinstance(event, ev.WindowEnd) for e in event.rationale.evidence}
    found = [e for e in spans.values() if e.grounded]
    assert len(found) == 1
    text = TEXTS[found[0].passage_id]
    assert tab.locator("mark.ev.quoted:not(.legend *)").all_inner_texts() == [text[found[0].start : found[0].end]]
    assert tab.locator("#candidates .quote.missing").inner_text().endswith("not in the passage")
    assert tab.locator("#reasoning q.found").count() == 1
    assert tab.locator("#reasoning q.unsupported").count() == 1
    status = next(event.status for event in run if isinstance(event, ev.WindowEnd))
    assert tab.locator("#reasoning .badge").first.inner_text() == status
    link = tab.locator("#reasoning .chain a.ref").first
    number = link.get_attribute("data-d")
    link.click()
    assert tab.evaluate("document.activeElement.id") == f"card-{number}"
    assert tab.url.endswith("#end")


def test_the_measure_adds_up(open_page, run):
    tab = open_page(run, anchor="#end")
    values = next(event for event in run if isinstance(event, ev.Metrics)).stages
    tab.locator(".working summary").click()
    for stage, value in values.items():
        assert tab.locator(f".tile.{stage} .ndcg b").inner_text() == f"{value['nDCG@10']:.3f}"
        assert tab.locator(f".sums .{stage} tfoot").inner_text().endswith(f"= {value['nDCG@10']:.3f}")
    assert tab.locator(".tau b").count() == 2


def test_the_keyboard_alone(open_page, run):
    tab = open_page(run)
    body = tab.locator("body")
    body.press("Home")
    assert tab.locator("#scrub").input_value() == "0"
    body.press("ArrowRight")
    body.press("ArrowRight")
    assert tab.locator("#scrub").input_value() == "2"
    body.press("ArrowLeft")
    assert tab.locator("#scrub").input_value() == "1"
    body.press("Space")
    assert tab.locator("#play").get_attribute("aria-label") == "pause"
    body.press("Space")
    body.press("End")
    assert tab.locator("#scrub").input_value() == str(len(run))
    tab.locator(".slope .track").first.focus()
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.activeElement.classList.contains('card')")
    tab.locator(".chapter[data-stage=pointwise]").focus()
    tab.keyboard.press("Enter")
    assert int(tab.locator("#scrub").input_value()) == after(run, ev.Pointwise)
    assert tab.locator("[role=status]").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_does_not_scroll_sideways(open_page, run, scheme):
    tab = open_page(run, "phone", scheme, "#end")
    assert tab.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert not tab.locator("svg.slope").is_visible()
    assert tab.locator(".twin-narrow table").is_visible()
    assert tab.evaluate(SMALL) == []
    assert tab.evaluate("document.body.classList.contains('dark')") == (scheme == "dark")


def test_a_run_that_failed_says_so(open_page):
    failing = Pipeline(scorer=FakeScorer(), generator=FakeGenerator(fail_after=40), settings=Settings())
    events = list(failing.run("why is the sky blue", [Passage(id, text) for id, text in TEXTS.items()]))
    tab = open_page(events, anchor="#end")
    assert "Listwise failed." in tab.locator("#notes").inner_text()
    assert tab.locator("#reasoning .badge.failed").count() == 1
    assert order(tab) == [hit.id for hit in events[-1].hits]
    cut = open_page(events[: after(events, ev.Pointwise)], anchor="#end")  # a run that was stopped has no last event
    assert order(cut) == [hit.id for hit in events[after(events, ev.Pointwise) - 1].hits]


def test_attacks_stay_text(open_page):
    """All canaries at once in query, passages, ids, titles and, quoted by the scripted model, its answer."""
    passages = [Passage(f"c{n} {canary}", f"A canary {canary} in the text, number {n}.", f"canary {canary}") for n, canary in enumerate(CANARIES)]
    events = recorded(passages, f"canary {' '.join(CANARIES[:4])}"[:300], window=4, stride=2)
    tab = open_page(events)
    for place in range(0, len(events) + 1, max(1, len(events) // 60)):
        scrub(tab, place)
    scrub(tab, len(events))
    tab.evaluate("for (const details of document.querySelectorAll('details')) details.open = true")
    for item in tab.locator(".card .names, .term, .need, q, h3").all()[:40]:
        item.hover(force=True, timeout=2_000) if item.is_visible() else None
    assert tab.evaluate("window.canary === undefined")
    assert tab.locator("body img, body style, body [onmouseover], body script:not([type]) ~ script").count() == 0
    assert tab.locator(".card").count() == len(CANARIES)
    assert "onerror" in tab.locator("#candidates").inner_text()
    assert "onerror" in tab.locator("#reasoning").inner_text()
    assert tab.evaluate("[...document.body.textContent].filter(c => /[\\u202a-\\u202e\\u2066-\\u2069]/.test(c)).length") == 0


def test_weighted_words_are_marked_within_quotes(open_page, run):
    """The word at the edge of the quote is split there; nothing of the text is lost or said twice."""
    piece = next(e for event in run if isinstance(event, ev.WindowEnd) for e in event.rationale.evidence if e.grounded)
    text = TEXTS[piece.passage_id]
    term = TermWeight("any", 1.0, ((piece.start, piece.start + 3), (piece.end - 2, min(len(text), piece.end + 2))))

    def weighted(event):
        hits = tuple(replace(hit, terms=(term,)) if hit.id == piece.passage_id else hit for hit in getattr(event, "hits", ()))
        return replace(event, hits=hits) if hits else event

    tab = open_page([weighted(event) for event in run], anchor="#end")
    quote = tab.locator("mark.ev.quoted:not(.legend *)")
    assert quote.inner_text() == text[piece.start : piece.end]
    assert quote.locator("mark.ev.lexical").all_inner_texts() == [text[piece.start : piece.start + 3], text[piece.end - 2 : piece.end]]
    assert tab.locator(".card .text:has(mark.quoted)").text_content() == text
