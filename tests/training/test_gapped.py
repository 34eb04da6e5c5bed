"""A passage without the sentences that answer: what is taken out, what stays, and where there is nothing to take."""

from __future__ import annotations

from training.gapped import LEAST, Answers, plain, with_gapped
from training.groups import Candidate, Group

REST = "It stands on a rock at the mouth of the bay, where ships turned north. Gulls nest on it in spring, and a keeper lived in it until lamps came."
TEXT = f"The lighthouse was finished in 1786 by a mason from Kent. {REST}"
QUERY = "When was the lighthouse finished?"


def test_a_labelled_sentence_is_taken_out():
    answers = Answers({plain(QUERY): {plain("The lighthouse was finished in 1786 by a mason from Kent.")}}, {})
    assert answers.gapped(QUERY, TEXT) == REST


def test_every_sentence_with_the_answers_string_is_taken_out():
    answers = Answers({}, {plain(QUERY): {"1786"}})
    assert answers.gapped("when was the lighthouse FINISHED", TEXT + " A plate says 1786.") == REST
    assert "17865" in (answers.gapped(QUERY, TEXT + " Some 17865 ships have passed.") or ""), "part of another word is no answer"


def test_nothing_where_no_answer_is_known_or_too_little_is_left():
    answers = Answers({}, {plain(QUERY): {"1786"}})
    assert answers.gapped("who was the keeper", TEXT) is None
    assert answers.gapped(QUERY, REST) is None
    short = "It was 1786. " + " ".join(["word"] * (LEAST - 1)) + "."
    assert answers.gapped(QUERY, short) is None


def test_the_copy_stands_beside_its_passage_and_below_it():
    answers = Answers({}, {plain(QUERY): {"1786"}})
    passages = (Candidate("a/1", "Light", REST, 0, 1.8), Candidate("a/2", "Light", TEXT, 3, 9.0), Candidate("a/3", "", "1786 it was.", 3, 7.2))
    found = with_gapped(Group("q", QUERY, "judged/nq", passages), answers, 9.0)
    assert found.passages[:3] == passages
    assert found.passages[3] == Candidate("a/2/gapped", "Light", REST, 1, 3.6)
    useless = Group("q", QUERY, "judged/nq", passages[:1])
    assert with_gapped(useless, answers, 9.0) == useless
