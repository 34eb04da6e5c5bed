"""The practice topics are what their data card says, and nothing of a test set is in them."""

import re
from collections import Counter

from corpora import teaching
from training import practice
from training.cot_augment import Mix, augment, teaching_queries
from training.cot_check import check_rows, held_out
from training.prepare import practice_groups

topics = practice.load()
by_id = {p.id: p for p in topics.passages}


def test_every_query_has_its_topic_judged_whole():
    of_topic = Counter(topics.topics.values())
    for query in topics.queries:
        grades = topics.qrels[query.id]
        assert len(grades) == of_topic[query.topic], query.id
        assert {topics.topics[id] for id in grades} == {query.topic}
        assert max(grades.values()) == 3, query.id
        assert sum(grade > 0 for grade in grades.values()) <= (8 if query.topic.startswith("news-") else 5), query.id
        assert not [id for id, grade in grades.items() if grade and {"stuffed", "injection"} & set(topics.tags[id])], query.id


def test_splits_share_no_topic_and_groups_are_of_one_split():
    splits = {query.topic: query.split for query in topics.queries}
    assert set(splits.values()) == {"train", "dev"}
    assert all(splits[query.topic] == query.split for query in topics.queries)
    dev = list(practice_groups("dev"))
    assert len(dev) == sum(query.split == "dev" for query in topics.queries)
    assert {topics.topics[c.id] for g in dev for c in g.passages} == {topic for topic, split in splits.items() if split == "dev"}


def test_passages_and_queries_are_not_repeated():
    assert len({p.text for p in topics.passages}) == len(topics.passages)
    assert len({(q.topic, q.text.lower()) for q in topics.queries}) == len(topics.queries)
    assert len({q.text.lower() for q in topics.queries}) >= 0.995 * len(topics.queries)
    assert all(p.text == p.text.strip() and "\n" not in p.text for p in topics.passages)


def test_an_order_says_nothing_about_a_grade():
    for size in (10, 12):
        graded = [list(topics.qrels[q.id].values()) for q in topics.queries if len(topics.qrels[q.id]) == size]
        places = Counter(place for grades in graded for place, grade in enumerate(grades) if grade == 3)
        mean = sum(places.values()) / size
        assert mean > 20
        assert all(abs(places[place] - mean) < 0.35 * mean for place in range(size)), places


def test_reasons_agree_with_grades_and_passages():
    """The evidence is what is relevant, best first; each quote is verbatim, each need met, and the near miss does not help."""
    assert len(topics.rationales) > 700
    for id, written in topics.rationales.items():
        grades = topics.qrels[id]
        assert {e.passage for e in written.evidence} == {passage for passage, grade in grades.items() if grade}, id
        stated = [grades[e.passage] for e in written.evidence]
        assert stated == sorted(stated, reverse=True), id
        assert all(e.quote in by_id[e.passage].text and 3 <= len(e.quote.split()) <= 24 for e in written.evidence), id
        met = {need for e in written.evidence if grades[e.passage] >= 2 for need in e.meets}
        assert met == set(range(1, len(written.needs) + 1)), id
        assert grades[written.near_miss] == 0
    reasons = [e.why for written in topics.rationales.values() for e in written.evidence]
    assert len(set(reasons)) == len(reasons)


def test_rows_of_stage_2_name_their_source():
    rows = list(augment(teaching_queries(topics, "train", "practice"), 30, "nano", Mix(3, 10)))
    assert {row.source for row in rows} == {"practice"}
    assert check_rows(rows, held_out([], 8, teaching.load(), ("dev", "test"))).ok


def test_nothing_of_a_test_set_is_in_them(shared):
    """No query of a test set, and no eight words in a row of a test passage; the teaching corpus' dev and test topics count as tests."""
    tests = held_out([shared / "test" / "noveleval", shared / "test" / "dl-sub"], 8, teaching.load(), ("dev", "test"))
    assert [(p.id, tests.in_text(p.text)) for p in topics.passages if tests.in_text(p.text)] == []
    words = [" ".join(re.findall(r"\w+", query.text.lower())) for query in topics.queries]
    assert not tests.queries & set(words)
    known = teaching.load()
    held = {known.topics[p.id] for p in known.passages} - {query.topic for query in known.queries if query.split == "train"}
    assert not held & set(topics.topics.values())
