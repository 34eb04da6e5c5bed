import re

from hypothesis import given
from hypothesis import strategies as st

from dear.explain import find_quote, ground
from dear.parse import Answer, parse
from dear.types import Passage

NANO = """Needs: 1. what scatters light; 2. why violet does not win
[3] meets 1: "short waves scatter most" - Gives the law asked for.
[1] meets 1, 2: "our eyes see less violet" - Adds the second half.
Not [2]: It is about the sea.
Ranking: [3] > [1] > [2]"""

PAPER = """### Step 1: List the information requirements
1. What scatters light.
2. Why violet does not win.

### Step 2: Passages for each requirement
1. What scatters light: [3] says "short waves scatter most" - the law; the year 1871 [sic] does not matter.
2. Why violet does not win: passage [1] "our eyes see less violet".

### Step 3: Rank
### Final Reranking: [3] > [1] > [2]"""


@given(st.text(), st.integers(1, 40))
def test_any_text_gives_a_permutation(text, n):
    answer = parse(text, n)
    assert sorted(answer.permutation) == list(range(1, n + 1))
    assert answer.status in ("complete", "repaired", "failed")
    assert all(1 <= citation.identifier <= n for citation in answer.citations)


@given(st.lists(st.integers(0, 12), max_size=15), st.integers(1, 10))
def test_any_chain_gives_a_permutation_that_honours_it(written, n):
    answer = parse("Ranking: " + " > ".join(f"[{i}]" for i in written), n)
    assert sorted(answer.permutation) == list(range(1, n + 1))
    wanted = [i for i in dict.fromkeys(written) if 1 <= i <= n]
    assert list(answer.permutation[: len(wanted)]) == wanted
    assert (answer.status == "complete") == (sorted(written) == list(range(1, n + 1)))


@given(st.permutations(list(range(1, 9))))
def test_a_written_permutation_comes_back_complete(order):
    answer = parse("Because of [1] > [2] in 1999.\nRanking: " + " > ".join(f"[{i}]" for i in order), 8)
    assert answer.permutation == tuple(order)
    assert answer.status == "complete"


def test_nano_format():
    answer = parse(NANO, 3)
    assert answer.permutation == (3, 1, 2)
    assert answer.requirements == ("what scatters light", "why violet does not win")
    assert [(c.identifier, c.meets, c.quote) for c in answer.citations] == [
        (3, (1,), "short waves scatter most"),
        (1, (1, 2), "our eyes see less violet"),
    ]
    assert answer.citations[0].why == "Gives the law asked for."
    assert answer.near_misses == ((2, "It is about the sea."),)


def test_paper_format():
    answer = parse(PAPER, 3)
    assert (answer.permutation, answer.status) == ((3, 1, 2), "complete")
    assert answer.requirements == ("What scatters light", "Why violet does not win")
    assert [(c.identifier, c.meets, c.quote) for c in answer.citations] == [
        (3, (1,), "short waves scatter most"),
        (1, (2,), "our eyes see less violet"),
    ]


def test_years_steps_and_bare_numbers_are_no_ranking():
    assert parse("In 1986 > 1990, step 2. See [2].", 3).status == "failed"
    assert parse("", 3) == Answer((1, 2, 3), "failed")
    assert parse("Ranking: 3 1 2", 3).status == "failed"


def test_only_the_last_chain_counts():
    assert parse("[1] > [2] > [3] at first.\nRanking: [2] > [3] > [1]", 3).permutation == (2, 3, 1)


def test_a_single_passage_needs_no_arrow():
    assert parse("Ranking: [1]", 1) == Answer((1,), "complete")


def test_quotes_are_checked_against_the_cited_passage():
    passages = [Passage("a", "Our eyes, see less violet."), Passage("b", "The sea."), Passage("c", "Long waves scatter least.")]
    rationale = ground(parse(NANO, 3), passages, NANO)
    by_id = {e.passage_id: e for e in rationale.evidence}
    assert by_id["a"].grounded
    assert passages[0].text[by_id["a"].start : by_id["a"].end] == "Our eyes, see less violet"
    assert not by_id["c"].grounded
    assert by_id["c"].start == -1
    assert dict(rationale.reasons) == {"c": "Gives the law asked for.", "a": "Adds the second half.", "b": "It is about the sea."}


@given(st.lists(st.sampled_from(["sky", "blue", "waves", "scatter", "Light", "été"]), min_size=3, max_size=12), st.data())
def test_a_stretch_of_a_text_is_found_where_it_stands(words, data):
    text = ", ".join(words) + "."
    start = data.draw(st.integers(0, len(words) - 3))
    quote = " ".join(words[start : start + 3]).upper()
    span = find_quote(quote, text)
    assert span is not None
    assert re.findall(r"\w+", text[span[0] : span[1]].casefold()) == re.findall(r"\w+", quote.casefold())


def test_two_words_are_no_evidence():
    assert find_quote("the sky", "the sky is blue") is None


def test_a_quote_ends_where_the_reason_begins_whatever_either_holds():
    (plain,) = parse('Needs: 1. a\n[1] meets 1: "short waves scatter" - It calls this "the law".\nRanking: [1] > [2]', 2).citations
    assert (plain.quote, plain.why) == ("short waves scatter", 'It calls this "the law".')
    (inner,) = parse('Needs: 1. a\n[2] meets 1: "he said "no" to it twice" - Says no.\nRanking: [2] > [1]', 2).citations
    assert (inner.quote, inner.why) == ('he said "no" to it twice', "Says no.")
