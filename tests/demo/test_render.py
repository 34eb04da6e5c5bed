"""Renderers: any text stays text, every hit appears once, every state has its words. Pure: gradio is not imported."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from demo_parts import CANARIES, QUERY, ROOT, Words, passages, pipeline
from hypothesis import given, settings
from hypothesis import strategies as st

from dear import events as ev
from dear.engines.fake import FakeGenerator, FakeScorer
from dear.pipeline import Pipeline
from dear.types import Evidence, Hit, Passage, Rationale, TermWeight
from demo.handlers import View, failed, reduce_all, start, stopped
from demo.markup import esc, excerpt, highlight, shorten
from demo.render import Panels, alert, engines, header, loading, panels

VOID = {"img", "br", "path", "circle", "line", "input", "meta"}
TAGS = frozenset(
    [
        "a",
        "b",
        "bdi",
        "button",
        "caption",
        "circle",
        "defs",
        "desc",
        "details",
        "div",
        "g",
        "h1",
        "h2",
        "h3",
        "header",
        "i",
        "kbd",
        "li",
        "line",
        "mark",
        "marker",
        "nav",
        "ol",
        "p",
        "path",
        "pre",
        "q",
        "section",
        "span",
        "summary",
        "svg",
        "table",
        "tbody",
        "td",
        "text",
        "tfoot",
        "th",
        "thead",
        "title",
        "tr",
        "ul",
    ]
)
ATTRIBUTES = re.compile(r"(aria|data)-[a-z]+|[a-zA-Z]+|(text|marker)-[a-z]+")


class Strict(HTMLParser):
    """Fails on a tag or attribute that the renderers do not write, and on tags that do not nest."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag, attrs):
        assert tag in TAGS, tag
        for name, value in attrs:
            assert not name.startswith("on"), (tag, name)
            assert name not in ("src", "srcdoc", "xlink:href"), (tag, name)
            assert name != "href" or value.startswith("#card-"), value
            assert name != "style" or re.fullmatch(r"(width|--fill|--w):[\d.]+%?", value), value
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def parsed(html: str) -> str:
    parser = Strict()
    parser.feed(html)
    parser.close()
    assert not parser.open, parser.open
    return "".join(parser.text)


def check(view: View) -> Panels:
    shown = panels(view)
    for part in shown.values():
        parsed(part)
        assert "${" not in part
        assert "`" not in part
        assert "{{" not in part
    return shown


@given(st.text())
def test_esc_is_inert_and_shows_the_text(text):
    html = esc(text)
    assert not set("<>\"'`${}") & set(html)
    shown = parsed(f"<p>{html}</p>")
    kept = re.sub("[\u202a-\u202e\u2066-\u2069\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]", "\ufffd", text)
    assert shown == kept


def test_esc_takes_lone_surrogates():
    assert esc("a\ud800b").encode() == "a\ufffdb".encode()


_kinds = st.sampled_from(["quoted", "lexical", "occlusion"])
_spans = st.lists(st.tuples(st.integers(-2, 40), st.integers(-2, 40), st.booleans(), _kinds), max_size=6)


@given(st.text(max_size=40), _spans, st.integers(0, 40), st.integers(0, 40))
def test_highlight_adds_marks_and_loses_nothing(text, spans, start_, end):
    evidence = [Evidence("p", "q", kind, a, b, g) for a, b, g, kind in spans]
    start_, end = sorted((min(start_, len(text)), min(end, len(text))))
    assert parsed(f"<p>{highlight(text, evidence, start_, end)}</p>") == parsed(f"<p>{esc(text[start_:end])}</p>")


def test_marks_of_other_kinds_nest_and_split():
    """The word "blue" lies in the quote, "is skylike" crosses its end; both are in the sentence that was left out."""
    text = "Why? The blue sky is skylike. End."
    spans = (("lexical", 9, 13), ("quoted", 5, 20), ("lexical", 18, 28), ("occlusion", 5, 29))
    evidence = [Evidence("p", text[a:b], kind, a, b, grounded=True) for kind, a, b in spans]
    word = '<mark class="ev lexical">'
    assert highlight(text, evidence) == (
        f'Why? <mark class="ev occlusion"><mark class="ev quoted">The {word}blue</mark> sky {word}is</mark></mark>{word} skylike</mark>.</mark> End.'
    )


def test_query_words_are_marked_in_every_card_and_explained():
    shown = check(reduce_all(pipeline().run(QUERY), start(QUERY))).cards
    words = re.findall(r'<mark class="ev lexical">(\w+)</mark>', shown)
    assert {word.lower() for word in words} == {"sky", "blue", "word"}, "the words that were weighted, and the legend's own"
    assert "the search weighted" in shown
    plain = check(reduce_all(Pipeline(generator=FakeGenerator()).run(QUERY, passages()), start(QUERY))).cards
    assert "lexical" not in plain, "no words were weighted, so none are marked"


@given(st.text(max_size=600), st.integers(0, 600), st.integers(1, 80))
def test_excerpt_holds_the_first_evidence(text, at, length):
    at = min(at, len(text))
    spans = [Evidence("p", "q", start=at, end=min(len(text), at + length), grounded=True)]
    a, b = excerpt(text, spans, 150)
    assert 0 <= a <= b <= len(text)
    if spans[0].start < spans[0].end:
        assert a <= spans[0].start < b


@given(st.text(max_size=80), st.integers(2, 40))
def test_shorten(text, limit):
    assert len(shorten(text, limit)) <= limit


_any = st.one_of(st.text(max_size=40), st.sampled_from(CANARIES))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(_any, _any, _any), min_size=1, max_size=12, unique_by=lambda row: row[0]), _any, _any, st.data())
def test_any_text_anywhere_stays_text_and_every_hit_appears_once(rows, query, answer, data):
    hits = tuple(
        Hit(Passage(id_, text, title), rank, {"retrieval": -float(rank)}, {"retrieval": rank}, (TermWeight(title, 1.5), TermWeight(text, -2.0)))
        for rank, (id_, title, text) in enumerate(rows, 1)
    )
    names = tuple(hit.id for hit in hits)
    ends, found = st.integers(-1, 6), st.booleans()
    evidence = tuple(Evidence(name, answer, start=0, end=data.draw(ends), grounded=data.draw(found), meets=(1, 2)) for name in names)
    rationale = Rationale(answer, (answer, query), evidence, dict.fromkeys(names, answer))
    status = data.draw(st.sampled_from(["complete", "repaired", "failed"]))
    scored = tuple(dataclasses.replace(hit, scores={**hit.scores, "pointwise": 1.0}, ranks={**hit.ranks, "pointwise": hit.rank}) for hit in hits)
    events = [
        ev.Started(query, {"pointwise": answer, "listwise": answer}),
        ev.Retrieved(hits),
        ev.PointScore(names[0], 0.5, 1, len(names)),
        ev.Pointwise(scored),
        ev.WindowStart(1, 1, (0, len(names)), names, query + answer),
        ev.Token(answer + "[1] [99]"),
        ev.WindowEnd(tuple(reversed(names)), status, rationale),
        ev.Notice("listwise", answer),
        ev.Metrics({"retrieval": {"nDCG@10": 0.5}}, {"retrieval": 2}),
        ev.Timing({"retrieval": ev.StageTime(0.01), "listwise": ev.StageTime(2.0, 10, 20)}),
        ev.Failed("listwise", answer),
        ev.Final(scored),
    ]
    judged = {name: data.draw(st.integers(0, 3)) for name in names[::2]}
    for length in (2, 3, 4, 6, 7, len(events)):
        view = reduce_all(events[:length], start(query, judgments=judged))
        shown = check(view)
        cards = re.findall(r'<li class="card" id="card-(\d+)"', shown.cards)
        assert sorted(map(int, cards)) == list(range(1, len(names) + 1))
        assert shown.graph.count('<g class="track') == len(names)
    check(stopped(view, answer))
    check(failed(view, "listwise", answer))


def test_real_run(run_events):
    for length in range(len(run_events) + 1):
        check(reduce_all(run_events[:length], start(QUERY)))
    shown = panels(reduce_all(run_events))
    assert "complete" in shown.progress
    assert 'class="found"' in shown.written
    assert "Show prompt" in shown.written
    assert "nDCG@10" in shown.report
    assert "unjudged" in shown.report
    assert "τ" in shown.report
    assert shown.status.count('role="status"') == 1
    assert "aria-live" not in shown.status


def test_quotes_are_marked_found_or_not():
    """The second quote is put in afterwards: the student is kept from writing one that is not in its passage."""
    answer = 'Needs: 1. what scatters\n[2] meets 1: "a shade of paint" - It names it.\nRanking: ' + " > ".join(f"[{i}]" for i in range(1, 7))
    made_up = Evidence("sun", "pigs can fly high", meets=(1,))

    def with_made_up(event):
        if isinstance(event, ev.WindowEnd):
            return dataclasses.replace(event, rationale=dataclasses.replace(event.rationale, evidence=(made_up, *event.rationale.evidence)))
        if isinstance(event, ev.Final):
            return dataclasses.replace(
                event, hits=tuple(dataclasses.replace(hit, evidence=(made_up,)) if hit.id == "sun" else hit for hit in event.hits)
            )
        return event

    run = Pipeline(Words(passages()), generator=FakeGenerator(answer)).run(QUERY)
    shown = panels(reduce_all(map(with_made_up, run), start(QUERY)))
    assert "not in the passage" in shown.written
    assert "found in the passage" in shown.written
    assert "not in the passage" in shown.cards
    assert '<mark class="ev quoted">a shade of paint</mark>' in shown.cards


def test_identifiers_link_to_the_card_of_their_own_window():
    view = reduce_all(pipeline(depth=6, window=3, stride=2, max_tokens=2000).run(QUERY), start(QUERY))
    shown = panels(view)
    for window in view.windows:
        for place, id_ in enumerate(window.ids, 1):
            assert f'data-d="{view.number(id_)}" aria-label="passage {place}, D{view.number(id_)}">[{place}]</a>' in shown.written


def test_more_than_ten_cards_are_folded_not_lost():
    texts = [Passage(str(i), f"sky number {i}") for i in range(23)]
    view = reduce_all(Pipeline(Words(texts), scorer=FakeScorer()).run(QUERY), start(QUERY))
    shown = panels(view).cards
    assert shown.count('class="card"') == 20
    assert "10 more, from rank 11" in shown
    assert '<ol class="cards" start="11">' in shown


def test_which_sentences_of_a_long_passage_were_scored():
    filler = "Gulls nest on the pier all year. " * 20
    texts = [Passage("long", f"{filler}The sky is blue. {filler}"), Passage("short", "The sky is blue.")]
    scorer = FakeScorer(info=dataclasses.replace(FakeScorer.info, excerpt=40))
    view = reduce_all(Pipeline(Words(texts), scorer=scorer).run(QUERY), start(QUERY))
    said = re.findall(r"Longer than 40 words: the pointwise student read sentences (\d+) to (\d+) of 41,", panels(view).cards)
    assert len(said) == 1
    first, last = map(int, said[0])
    assert first <= 21 <= last < first + 10
    for other in ("", "0", "-3", "1e9", "4" * 5_000, "<b>"):
        assert "Longer than" not in panels(dataclasses.replace(view, config={**view.config, "excerpt": other})).cards


def test_a_run_of_a_student_that_reads_the_head_says_nothing_of_excerpts():
    texts = [Passage("long", "Gulls nest on the pier all year. " * 40)]
    view = reduce_all(Pipeline(Words(texts), scorer=FakeScorer()).run(QUERY), start(QUERY))
    assert "excerpt" not in view.config
    assert "Longer than" not in panels(view).cards


def test_sentences_read_are_counted_where_a_text_repeats_itself():
    """The excerpt's place is known, not looked up: of two equal sentences the one that was read is named."""
    text = "Ships came. The sky is grey. " * 8 + "The sky is blue. Ships came. The sky is grey."
    scorer = FakeScorer(info=dataclasses.replace(FakeScorer.info, excerpt=9))
    view = reduce_all(Pipeline(Words([Passage("long", text)]), scorer=scorer).run(QUERY), start(QUERY))
    first, last = map(int, re.findall(r"read sentences? (\d+)(?: to (\d+))?", panels(view).cards)[0])
    assert first <= 17 <= last


def test_no_hits_say_what_to_do():
    view = reduce_all([ev.Started(QUERY), ev.Notice("retrieval", "No passage matches"), ev.Retrieved(()), ev.Final(())], start(QUERY))
    assert "dense retriever" in check(view).cards


@pytest.mark.parametrize("canary", CANARIES)
def test_small_pieces(canary):
    for piece in (alert(canary), header([(canary, f"{canary} · int4")]), engines([(canary, canary, canary)]), loading([(canary, "failed", canary)])):
        parsed(piece)
        assert "${" not in piece


def test_chip_shows_zero_shot():
    assert '<span class="zero">zero-shot</span>' in header([("", "dear-nano · int8 · CPU · zero-shot")])


def test_loading_is_empty_when_all_is_ready():
    assert loading([("Lucene index", "ready", "")]) == ""


def test_renderers_do_not_import_gradio():
    code = "import sys, demo.render, demo.session, demo.resources, demo.boot; print(sorted({'gradio', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
