"""DPR's answer match."""

import pytest

from dear.evaluation.answers import body, has_answer, tokens
from dear.types import Passage

CASES = [
    ("Gustave Eiffel built it.", ["gustave eiffel"], True),
    ("Gustave  EIFFEL, engineer", ["Gustave Eiffel"], True),
    ("Gustav Eiffel built it.", ["Gustave Eiffel"], False),
    ("There are 3.5 million.", ["3.5"], True),
    ("There are 35 million.", ["3.5"], False),
    ("In 1889 it opened", ["188"], False),  # a part of a token is no match
    ("U.S. Senate", ["US"], False),
    ("the Élan vital", ["élan"], True),
    ("E\u0301lan", ["Élan"], True),  # composed and decomposed are the same
    ("anything", [], False),
    ("anything", ["", "  "], False),
    ("", ["a"], False),
]


@pytest.mark.parametrize(("text", "answers", "holds"), CASES)
def test_match(text, answers, holds):
    assert has_answer(text, answers) is holds


@pytest.mark.parametrize("text", [text for text, _, _ in CASES] + ["a-b c_d  it's 10%\n\u200b¿qué?"])
def test_tokens_are_those_of_pyserini(text):
    evaluate = pytest.importorskip("pyserini.eval.evaluate_dpr_retrieval")
    import unicodedata

    theirs = evaluate.SimpleTokenizer().tokenize(unicodedata.normalize("NFD", text)).words(uncased=True)
    assert tokens(text) == theirs


@pytest.mark.parametrize(
    ("passage", "text"),
    [
        (Passage("1", '"Aaron"\nHe was a prophet.'), "He was a prophet."),
        (Passage("1", "He was a prophet.", "Aaron"), "He was a prophet."),
        (Passage("1", "One line\nand another."), "One line\nand another."),
    ],
)
def test_titles_hold_no_answer(passage, text):
    assert body(passage) == text
    assert not has_answer(body(passage), ["Aaron"])
