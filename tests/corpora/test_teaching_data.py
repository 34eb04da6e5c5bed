"""The quality bar of the bundled corpus: what its data card promises, checked on the files themselves."""

import re
from collections import Counter

import pytest

from corpora.teaching import load
from dear.metrics import evaluate
from dear.types import Passage

SPLITS = {"train": 36, "dev": 6, "test": 8}
KINDS = {"full", "partial", "near-miss", "other-words", "outdated", "contradiction", "wrong-entity", "stuffed", "injection", "background"}
PHENOMENA = {"keyword", "question", "comparison", "how-why", "number-date", "ambiguous", "negated"}

teaching = load()
by_id = {passage.id: passage for passage in teaching.passages}
queries = {query.id: query for query in teaching.queries}
own = {q.id: {p: g for p, g in teaching.qrels[q.id].items() if teaching.topics[p] == q.topic} for q in teaching.queries}


def words(text):
    return re.findall(r"[\w'’\-]+", text)


def test_fifty_topics_of_twelve_passages_and_six_queries():
    assert set(Counter(teaching.topics.values()).values()) == {12}
    assert set(Counter(q.topic for q in teaching.queries).values()) == {6}
    topics = {(q.topic, q.split) for q in teaching.queries}
    assert Counter(split for _, split in topics) == SPLITS
    assert {topic for topic, _ in topics} == set(teaching.topics.values())
    assert len(teaching.topics) == 600


def test_passages_are_of_their_length_and_say_their_kind():
    for passage in teaching.passages:
        assert 50 <= len(words(passage.text)) <= 110, passage.id
        assert passage.title
        assert set(teaching.tags[passage.id]) <= KINDS
        assert teaching.tags[passage.id]
    for topic in set(teaching.topics.values()):
        kinds = Counter(kind for id, of in teaching.topics.items() if of == topic for kind in set(teaching.tags[id]))
        assert kinds["injection"] >= 1, topic
        assert kinds["near-miss"] >= 1, topic


def test_no_two_passages_share_twelve_words_in_a_row():
    seen = {}
    for passage in teaching.passages:
        tokens = [word.lower() for word in words(passage.text)]
        for gram in {tuple(tokens[i : i + 12]) for i in range(len(tokens) - 11)}:
            assert seen.setdefault(gram, passage.id) == passage.id


@pytest.mark.parametrize("query", teaching.queries, ids=lambda query: query.id)
def test_judgments_and_reasoning_agree(query):
    judged, written = own[query.id], teaching.rationales[query.id]
    assert len(judged) == 12
    assert set(teaching.qrels[query.id].values()) <= {0, 1, 2, 3}
    assert 3 in judged.values()
    assert sum(grade == 0 for grade in judged.values()) >= 3
    assert query.split in SPLITS
    assert query.tags
    assert set(query.tags) <= PHENOMENA
    grades = teaching.qrels[query.id]
    assert {support.passage for support in written.evidence} == {id for id, grade in grades.items() if grade > 0}
    stated = [grades[support.passage] for support in written.evidence]
    assert stated == sorted(stated, reverse=True), "the stated order follows the grades"
    assert 1 <= len(written.needs) <= 3
    for support in written.evidence:
        assert support.quote in by_id[support.passage].text
        assert 3 <= len(words(support.quote)) <= 20
        assert support.meets
        assert set(support.meets) <= set(range(1, len(written.needs) + 1))
        assert 5 <= len(words(support.why)) <= 40
    met = {need for support in written.evidence if grades[support.passage] >= 2 for need in support.meets}
    assert met == set(range(1, len(written.needs) + 1)), "each need is met by a passage of grade 2 or 3"
    assert grades[written.near_miss] == 0
    assert written.near_miss_why


def test_reasons_are_written_not_filled_in():
    reasons = Counter(support.why for written in teaching.rationales.values() for support in written.evidence)
    assert max(reasons.values()) == 1
    openings = Counter(" ".join(words(why)[:4]).lower() for why in reasons)
    assert max(openings.values()) <= 0.02 * len(reasons)


def test_an_injection_is_never_relevant():
    for query in teaching.queries:
        assert all(grade == 0 for id, grade in teaching.qrels[query.id].items() if "injection" in teaching.tags[id])


def test_splits_share_no_topic_and_no_judged_passage():
    split_of = {q.topic: q.split for q in teaching.queries}
    for query in teaching.queries:
        assert split_of[query.topic] == query.split
        for id in teaching.qrels[query.id]:
            assert split_of[teaching.topics[id]] == query.split, "a judged passage lies in its query's split"


@pytest.mark.model
def test_no_query_leaks_into_another_split():
    from corpora.dense import embed

    vectors = embed([q.text for q in teaching.queries])
    near = vectors @ vectors.T
    splits = [q.split for q in teaching.queries]
    worst = max((float(near[i, j]), i, j) for i in range(len(splits)) for j in range(i) if splits[i] != splits[j])
    assert worst[0] < 0.9, (teaching.queries[worst[1]].text, teaching.queries[worst[2]].text)


def test_bm25_finds_it_neither_easy_nor_hopeless():
    from corpora.registry import open_corpus

    retriever = open_corpus("teaching").retriever("bm25")
    run = {q.id: {hit.id: -hit.rank for hit in retriever.search(q.text, 10)} for q in teaching.queries}
    assert 0.55 <= evaluate(run, teaching.qrels)["nDCG@10"] <= 0.80


@pytest.mark.model
def test_an_embedding_model_leaves_room():
    from corpora.dense import embed

    vectors = embed([p.full_text for p in teaching.passages])
    questions = embed([q.text for q in teaching.queries])
    run = {q.id: dict(zip(by_id, map(float, row), strict=True)) for q, row in zip(teaching.queries, questions @ vectors.T, strict=True)}
    assert evaluate(run, teaching.qrels)["nDCG@10"] <= 0.90


def test_reading_a_passage_by_hand():
    assert isinstance(by_id["sky-colour-01"], Passage)
    assert any(q.text == "why is the sky blue" for q in teaching.queries)


def test_the_data_card_counts_what_is_there():
    card = (teaching.folder / "DATA_CARD.md").read_text(encoding="utf-8")
    judgments = sum(len(grades) for grades in teaching.qrels.values())
    single = sum(sum(grade > 0 for grade in grades.values()) == 1 for grades in teaching.qrels.values())
    assert f"{judgments:,} graded judgments" in card
    assert f"{single} of the 300 have exactly one" in card
    assert not re.search(r"@[A-Z]+@", card)
