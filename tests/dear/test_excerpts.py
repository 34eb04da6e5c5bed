"""What is read of a passage that is too long: whole sentences of it, the ones that share most words with the query."""

from hypothesis import given
from hypothesis import strategies as st

from dear.excerpts import excerpt

LONG = (
    "The harbour was dug by hand over many winters. Ships from the north brought timber and salt. "
    "The lighthouse was finished in 1742 by a local mason. Its lamp burned whale oil for a century. Gulls nest on it now."
)


def test_the_sentence_that_shares_most():
    assert excerpt("who finished the lighthouses", LONG, 12) == "The lighthouse was finished in 1742 by a local mason."
    assert excerpt("WHICH GULL NESTS THERE", LONG, 6) == "Gulls nest on it now."


def test_neighbours_fill_the_room_that_is_left():
    kept = excerpt("who finished the lighthouse", LONG, 20)
    assert "1742" in kept
    assert 12 < len(kept.split()) <= 20


def test_a_short_passage_is_read_whole():
    assert excerpt("lighthouse", LONG, len(LONG.split())) == LONG
    assert excerpt("lighthouse", LONG, len(LONG.split()) - 1) != LONG


def test_nothing_shared_is_read_from_the_head():
    assert excerpt("quantum chromodynamics", LONG, 10).startswith("The harbour")


def test_a_sentence_longer_than_the_room_stays_whole_and_a_text_without_sentences_too():
    assert excerpt("harbour", LONG, 3) == "The harbour was dug by hand over many winters."
    assert excerpt("q", "", 5) == ""
    assert excerpt("q", " \n", 5) == " \n"


@given(query=st.text(max_size=30), text=st.text(max_size=300), words=st.integers(1, 40))
def test_it_is_a_part_of_the_text_word_for_word(query, text, words):
    assert excerpt(query, text, words) in text


@given(
    text=st.lists(st.sampled_from(["Gulls nest here.", "The sea is cold.", "Salt was dear then."]), min_size=1, max_size=30), words=st.integers(4, 60)
)
def test_it_keeps_to_the_words_it_may_have(text, words):
    assert len(excerpt("cold gulls", " ".join(text), words).split()) <= words
