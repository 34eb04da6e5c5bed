"""Rendered rows parse as complete, rank by the rule, quote what is there; augmentation never repeats; checks find what is wrong."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpora.teaching import Support, Written
from dear import prompts
from dear.errors import BadInput
from dear.explain import find_quote
from dear.parse import parse
from dear.types import Passage
from training.cot import forced, messages, read_rows, render, write_rows
from training.cot_augment import Mix, augment, draw, teaching_queries
from training.cot_check import check_rows, held_out, passages_of, query_of
from training.cot_quoted import find_evidence, quoted, read_hints, reason_about
from training.groups import Candidate, Group

FAMILIES = ("nano", "dear")
P = {id: Passage(id, f"Words of passage {id}: the {id} evidence is in these very words, “so to speak”.", f"Title {id}") for id in "abcdef"}
W = Written(
    "q",
    ("first need; with a mark.", "second need"),
    (
        Support("a", (1,), "the a evidence is in", "It says “a” - and [2] says more."),
        Support("b", (1, 2), "these very words, “so to", "Covers both."),
        Support("c", (2,), "the c evidence is in", "Comes later."),
    ),
    "d",
    "Near and not it.",
)
GRADES = {"a": 2, "b": 2, "c": 3}


@pytest.mark.parametrize("family", FAMILIES)
@given(ids=st.permutations(list("abcdef")), k=st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_any_subset_in_any_order_gives_a_sound_row(family, ids, k):
    passages = [P[id] for id in ids[:k]]
    row = render("what is it", passages, GRADES, W, family)
    answer = parse(row.output, k)
    assert answer.status == "complete"
    assert answer.requirements == ("first need, with a mark", "second need")
    assert messages(row) == prompts.listwise("what is it", passages, family)
    assert [passages[i - 1].id for i in answer.permutation][: len(set("abc") & set(ids[:k]))] == [id for id in "cba" if id in ids[:k]]
    assert {passages[c.identifier - 1].id for c in answer.citations} == set("abc") & set(ids[:k])
    for citation in answer.citations:
        assert find_quote(citation.quote, passages[citation.identifier - 1].text)
    assert dict(passages_of(row)).keys() == set(range(1, k + 1))
    assert check_rows([row]).ok


@pytest.mark.parametrize("family", FAMILIES)
def test_rest_stays_in_input_order_the_near_miss_too(family):
    row = render("q", [P[i] for i in "fecd"], GRADES, W, family)
    assert parse(row.output, 4).permutation == (3, 1, 2, 4)
    assert parse(row.output, 4).near_misses == ((4, "Near and not it."),)


@pytest.mark.parametrize("family", FAMILIES)
def test_honest_about_what_is_missing(family):
    assert "No passage here answers the query." in render("q", [P["e"], P["f"]], GRADES, W, family).output
    assert "No passage here meets 2." in render("q", [P["a"], P["f"]], GRADES, W, family).output
    assert "No passage" not in render("q", [P["b"], P["f"]], GRADES, W, family).output


def test_compact_format_letter_for_letter():
    row = render("q", [P["f"], P["b"], P["d"], P["a"]], GRADES, W, "nano")
    assert row.output.splitlines() == [
        "Needs: 1. first need, with a mark; 2. second need",
        '[2] meets 1, 2: "these very words, ‘so to" - Covers both.',
        '[4] meets 1: "the a evidence is in" - It says ‘a’ - and (2) says more.',
        "Not [3]: Near and not it.",
        "Ranking: [2] > [4] > [1] > [3]",
    ]


def test_ranking_alone_has_its_marker_given():
    row = render("q", [P["f"], P["b"]], GRADES, W, "nano", reasoning=False)
    assert row.output == "Ranking: [2] > [1]"
    assert forced(row, "nano") == ("Ranking:", " [2] > [1]")
    assert forced(render("q", [P["f"], P["b"]], GRADES, W, "nano"), "nano")[0] == ""


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_in_dear_cots_schema_round_trip(tmp_path, family, teaching):
    rows = list(augment(teaching_queries(teaching, "train"), 10, family, Mix(2, 4)))
    path = tmp_path / "rows.jsonl"
    assert write_rows(path, rows) == 10
    assert list(read_rows(path)) == rows
    data = json.loads(path.read_text().splitlines()[0])
    assert {"system", "instruction", "input", "output", "history", "think"} <= data.keys()
    assert data["input"] == ""
    foreign = {key: data[key] for key in ("system", "instruction", "input", "output")} | {"history": None}
    path.write_text(json.dumps(foreign) + "\n{\n")
    reader = read_rows(path)
    assert next(reader).ids == ()
    with pytest.raises(BadInput, match="line 2: not a DeAR-CoT row"):
        next(reader)


def test_augmentation_never_repeats_is_seeded_and_stops_when_dry(teaching, caplog):
    queries = teaching_queries(teaching, "train")
    assert {q.query_id for q in queries} == {"sky-q1", "sky-q2"}  # sea-q1 has no rationale, soap is test
    mix = Mix(2, 4, seed=5)
    rows = list(augment(queries, 60, "nano", mix))
    assert rows == list(augment(queries, 60, "nano", mix))
    assert rows != list(augment(queries, 60, "nano", replace(mix, seed=6)))
    keys = [(r.query_id, r.ids, r.output.startswith("Ranking")) for r in rows]
    assert len(set(keys)) == 60
    assert not any(id.startswith("soap") for r in rows for id in r.ids)
    assert {len(r.ids) for r in rows} == {2, 3, 4}
    few = list(augment(queries, 10_000, "nano", Mix(2, 2, fast=0.0)))
    assert len(few) < 10_000
    assert "no new subset or order is left" in caplog.text


def test_bundled_corpus_gives_sound_rows_in_both_formats():
    from corpora import teaching

    queries = teaching_queries(teaching.load(), "train")
    assert len(queries) > 100
    for family in FAMILIES:
        report = check_rows(augment(queries, 400, family, Mix(3, 20)), held_out([], 8, teaching.load(), ("dev", "test")))
        assert report.ok, str(report)
        assert report.rows == 400
        assert report.quotes == report.grounded > 200


def test_check_finds_what_is_wrong(teaching):
    rows = list(augment(teaching_queries(teaching, "train"), 20, "nano", Mix(3, 4, empty=0.0, fast=0.0)))
    good = rows[0]
    quote = next(q for r in rows for q in [r] if '"' in r.output)
    cases = {
        "repeated row": [good, good],
        "schema": [replace(good, system="")],
        "ranking is not a permutation of all passages": [replace(good, output=good.output.rsplit(" > ", 1)[0])],
        "quote not in its passage": [replace(quote, output=quote.output.replace('"', '"never said so ', 1))],
    }
    for kind, bad in cases.items():
        report = check_rows(bad)
        assert set(report.problems) == {kind}, str(report)
        assert kind in str(report)
    lines = quote.output.splitlines()
    backwards = " > ".join(reversed(lines[-1].removeprefix("Ranking: ").split(" > ")))
    assert (
        "a passage with evidence ranks below one without"
        in check_rows([replace(quote, output="\n".join([*lines[:-1], f"Ranking: {backwards}"]))]).problems
    )


def test_leaks_are_found(teaching):
    test = held_out([], 8, teaching, ("test",))
    rows = list(augment(teaching_queries(teaching, "train"), 10, "nano", Mix(2, 4)))
    assert check_rows(rows, test).ok
    soap = next(p for p in teaching.passages if p.id == "soap-1")
    leaked = render("why is the sky blue", [soap, P["a"]], {}, W, "nano")
    assert set(check_rows([leaked], test).problems) == {"test passage"}
    asked = render("How does soap clean?", [P["a"], P["b"]], {}, W, "nano")
    assert query_of(asked) == "How does soap clean?"
    assert set(check_rows([asked], test).problems) == {"test query"}
    asked = render("How does soap clean", [P["a"], P["b"]], {}, W, "dear")
    assert "test query" in check_rows([asked], test).problems
    with pytest.raises(BadInput, match=r"has no corpus.jsonl"):
        held_out([teaching.folder / "none"], 8)


GROUP = Group(
    "squad/7",
    "Who built the dome of Florence?",
    "squad",
    (
        Candidate("x", "", "Florence is large. It has many domes, towers and a river, and visitors come in spring.", 0, 4.0),
        Candidate(
            "g", "Dome", "It is old. The dome of Florence was built by Filippo Brunelleschi [3] after a long and bitter quarrel. It stands.", 1, 9.0
        ),
        Candidate("y", "", "Filippo Brunelleschi was a goldsmith before he was anything else at all.", 0, 5.0),
    ),
)


def test_quoted_rows_say_only_what_can_be_checked():
    reasoned = reason_about(GROUP, ["Filippo Brunelleschi"])
    assert reasoned.written.needs == ("who built the dome of Florence",)
    assert reasoned.written.evidence[0].why == "Gives Filippo Brunelleschi."
    assert "Brunelleschi" in reasoned.written.evidence[0].quote
    assert reasoned.written.near_miss == "x"  # y scores higher but holds the answer's words
    rows = list(quoted([GROUP] * 3, {"who built the dome of florence": ["Filippo Brunelleschi"]}, "nano", Mix(2, 5, empty=0.0, fast=0.0)))
    assert len(rows) == 3
    report = check_rows(rows)
    assert report.ok, str(report)
    assert report.grounded == 3
    assert all(row.source == "quoted/squad" for row in rows)


def test_no_quote_no_row():
    assert reason_about(GROUP, ["Michelangelo"]) is None  # the known answer is not in the gold passage
    silent = replace(GROUP, passages=(Candidate("g", "", "Nothing here.", 1), GROUP.passages[0]))
    assert reason_about(silent, []) is None


@given(st.text(max_size=400), st.text(max_size=60))
@settings(max_examples=100, deadline=None)
def test_evidence_is_always_verbatim_and_short(text, query):
    found = find_evidence(query, text)
    if found:
        assert len(found.quote.split()) <= 20
        assert find_quote(prompts.neutralise(found.quote), prompts.neutralise(text))


def test_long_sentences_are_cut_to_twenty_words():
    text = " ".join(f"word{i}" for i in range(60)) + " the needle lies here, " + " ".join(f"tail{i}" for i in range(60)) + "."
    found = find_evidence("where lies the needle", text)
    assert "needle lies" in found.quote
    assert len(found.quote.split()) <= 20


def test_hints_of_absent_data_are_empty(tmp_path):
    assert read_hints(tmp_path) == {}


def test_ordered_rows_come_as_an_imperfect_first_stage_ranks(teaching):
    query = next(q for q in teaching_queries(teaching, "train") if q.query_id == "sky-q2")
    draws = [draw(query, Mix(min_k=4, max_k=4, distractors=0, empty=0, ordered=share), random.Random(i)) for share in (0.0, 1.0) for i in range(300)]
    first = [query.grades.get(passages[0].id, 0) > 0 for passages in draws]
    shuffled, ordered = sum(first[:300]), sum(first[300:])
    assert 45 < shuffled < 110
    assert 180 < ordered < 285
