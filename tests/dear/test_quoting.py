"""A quote can only be words of the passage it cites, whatever the model prefers."""

from __future__ import annotations

import random
import string

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dear.decoding import stream_text
from dear.explain import find_quote, sentences
from dear.quoting import AHEAD, MAX_QUOTE_WORDS, Citations, quotable

TEXTS = ["Short waves scatter most, so the sky is blue.", 'He said "no" twice; see [4].', "Tiny.", " ".join(f"word{i}" for i in range(60))]


@pytest.mark.parametrize(
    ("written", "piece", "allowed"),
    [
        ("", "[1] meets 1", True),
        ("", "[5]", False),
        ("", "[0", False),
        ("", "[3", False),  # one word: nothing to quote
        ("", "Not [3", True),
        ("", "Needs: [9] is free text", True),
        ("[1] meets 1: \"a\"\n", "[1", False),  # cited above
        ("[1] meets 1: \"a\"\n", "Not [1", False),
        ("[1] meets 1: \"a\"\n", "Not [2]: why", True),
        ('[1] meets 1: "', "Short", True),
        ('[1] meets 1: "', "hort", False),
        ('[1] meets 1: "', " Short", False),
        ('[1] meets 1: "', '"', False),
        ('[1] meets 1: "Short waves', '"', False),  # two words are evidence of nothing
        ('[1] meets 1: "Short waves scat', '"', False),  # half a word
        ('[1] meets 1: "Short waves scatter', '" - Says why.', True),
        ('[1] meets 1: "Short waves scatter', "\n", False),
        ('[1] meets 1: "the sky is', " green", False),
        ('[1] meets 1: "', "is blue", False),  # too near the end for three words
        ("[2] meets 1", '\nRanking:', False),
        ('[2] meets 1: "He said', " 'no' twice", True),
        ('[2] meets 1: "He said', ' "no', False),
        ('[2] meets 1: "twice; see', " (4).", True),
        ('[1] meets 1: "Short waves scatter" - why', "\nRanking:", True),
        ('[1] meets 1: "Short waves', "�", True),  # half a character: the next token decides
    ],
)  # fmt: skip
def test_what_may_follow(written, piece, allowed):
    assert Citations(TEXTS).allows(written, piece) is allowed


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1, 2, 4]))
def test_any_path_the_guide_allows_ends_in_a_quote_that_is_found(seed, identifier):
    guide, rng = Citations(TEXTS), random.Random(seed)
    text = f'[{identifier}] meets 1: "'
    alphabet = sorted(set("".join(map(quotable, TEXTS))) | {'"', "\n"} | set(string.ascii_lowercase[:5]))
    for _ in range(400):
        choices = [char for char in alphabet if guide.allows(text, char)]
        assert choices, f"dead end after {text!r}"
        text += '"' if '"' in choices and rng.random() < 0.2 else rng.choice(choices)
        if text.endswith('"'):
            break
    quote = text.split('"')[1]
    assert text.endswith('"')
    assert len(quote.split()) <= MAX_QUOTE_WORDS
    assert quote in quotable(TEXTS[identifier - 1])
    assert find_quote(quote, TEXTS[identifier - 1])


class Typist:
    """A generator over characters that wants to write `script`, whatever it has written so far."""

    eos_ids = frozenset({127})

    def __init__(self, script):
        self.script, self.ids = script, []

    def encode(self, text):
        return [ord(char) for char in text]

    def decode(self, ids):
        return "".join(map(chr, ids))

    def logits(self):
        values = np.linspace(0.1, 0, 128, dtype=np.float32)
        at = len(self.ids)
        values[ord(self.script[at]) if at < len(self.script) else 127] = 1
        return values

    def append(self, ids):
        self.ids += ids


def test_a_made_up_quote_is_steered_into_the_passage():
    script = '[1] meets 1: "Short waves are nice to look at" - Because.\nRanking:'
    typist = Typist(script)
    text = "".join(stream_text(typist, typist, max_tokens=200, stop="\nRanking:", guide=Citations(TEXTS)))
    written = text.split('"')[1]
    assert written.startswith("Short waves ")
    assert find_quote(written, TEXTS[0])
    free = Typist(script)
    assert "".join(stream_text(free, free, max_tokens=200, stop="\nRanking:")) == script


class Bytes(Typist):
    """The same over UTF-8 bytes, so that a character may take three tokens."""

    eos_ids = frozenset({0})

    def __init__(self, script):
        self.script, self.ids = script.encode(), []

    def encode(self, text):
        return list(text.encode())

    def decode(self, ids):
        return bytes(ids).decode(errors="replace")

    def logits(self):
        values = np.linspace(0.1, 0, 256, dtype=np.float32)
        at = len(self.ids)
        values[self.script[at] if at < len(self.script) else 0] = 1
        return values


def test_characters_of_several_tokens_can_be_quoted():
    passage = "The café’s owner – a Swede – said naïve things."
    script = '[1] meets 1: "café’s owner – a Swede" - Says who.\nRanking:'
    typist = Bytes(script)
    assert "".join(stream_text(typist, typist, max_tokens=200, stop="\nRanking:", guide=Citations([passage]))) == script


def test_a_part_of_a_character_the_passage_lacks_is_no_way_out():
    passage = "A café’s owner bakes bread at night."
    typist = Bytes('[1] meets 1: "A 😀 smile at night" - Says who.\nRanking:')
    text = "".join(stream_text(typist, typist, max_tokens=200, stop="\nRanking:", guide=Citations([passage])))
    assert "�" not in text
    assert find_quote(text.split('"')[1], passage)


class FarOff(Bytes):
    """Wants a text of its own, and rates every byte of the passage below all other tokens of a large vocabulary."""

    eos_ids = frozenset({50_000})

    def decode(self, ids):
        return "".join(chr(i) if i < 256 else "~" for i in ids)

    def logits(self):
        values = np.full(50_001, 0.5, dtype=np.float32)
        values[:256] = np.linspace(0.1, 0, 256)
        at = len(self.ids)
        values[self.script[at] if at < len(self.script) else 50_000] = 1
        return values


def test_a_quote_goes_on_however_unlikely_its_words_are():
    passage = "The winners were named on Sunday."
    typist = FarOff('[1] meets 1: "The  best film of all" - It won.\nRanking:')
    text = "".join(stream_text(typist, typist, max_tokens=200, stop="\nRanking:", guide=Citations([passage])))
    assert find_quote(text.split('"')[1], passage)


@pytest.mark.parametrize("kind", [Typist, Bytes])
def test_a_quote_that_reaches_its_limit_ends_in_the_passage(kind):
    """The passage has more words than a quote may, and the model would go on into words of its own; there is no way out but the mark."""
    passage = " ".join(f"word{i}" for i in range(40)) + "."
    typist = kind(f'[1] meets 1: "{passage[:-1]} and then some" - Says so.\nRanking:')
    text = "".join(stream_text(typist, typist, max_tokens=900, stop="\nRanking:", guide=Citations([passage])))
    quote = text.split('"')[1]
    assert find_quote(quote, passage)
    assert len(quote.split()) == MAX_QUOTE_WORDS


@pytest.mark.parametrize("kind", [Typist, Bytes])
def test_a_start_too_near_the_end_of_the_passage_is_not_taken(kind):
    """`a` stands twice; where the model would go on, two words are left, and a quote needs three."""
    passage = "a genus of trees with soft wood. The wood of a spruce."
    assert Citations([passage]).following('[1] meets 1: "a') == [" genus of trees with soft wood. The wood of a spruce."[:AHEAD]]
    typist = kind('[1] meets 1: "a spruce is a tree" - Says so.\nRanking:')
    text = "".join(stream_text(typist, typist, max_tokens=200, stop="\nRanking:", guide=Citations([passage])))
    assert find_quote(text.split('"')[1], passage)


class Ending(FarOff):
    """Wants to end inside a quote, by a token that writes nothing, as special tokens do; and rates another such token next."""

    def decode(self, ids):
        return "".join(chr(i) if i < 256 else "" if i >= 49_990 else "~" for i in ids)

    def logits(self):
        values = super().logits()
        values[49_999] = 0.9
        return values


def test_no_quote_is_left_open_at_the_end_of_the_text():
    passage = "The winners were named on Sunday."
    typist = Ending('[1] meets 1: "The ')
    text = "".join(stream_text(typist, typist, max_tokens=200, stop="\nRanking:", guide=Citations([passage])))
    assert find_quote(text.split('"')[1], passage)
    assert not {49_999, 50_000} & set(typist.ids)
    free = Ending("Needs: 1. who won")
    assert "".join(stream_text(free, free, max_tokens=200, stop="\nRanking:", guide=Citations([passage]))) == "Needs: 1. who won"


CHINESE = "大气中的分子散射蓝光，所以天空是蓝色的。"
THAI = "ท้องฟ้าเป็นสีฟ้า"


def test_quotes_in_scripts_without_blanks_and_with_vowel_signs():
    assert find_quote("大气中的分子散射蓝光", CHINESE) == (0, 10)
    assert find_quote("大气中的分子散射红光", CHINESE) is None
    assert find_quote(THAI[:8], THAI) is not None
    assert find_quote("नदी का पानी", "नदी के पानी में") is None, "vowel signs count"
    assert find_quote("नदी के पानी", "नदी के पानी में") == (0, 11)


def test_the_guide_lets_such_passages_be_cited():
    guide = Citations([CHINESE, "天空"])
    assert guide.allows("[", "1")
    assert not guide.allows("[", "2"), "two characters are evidence of nothing"
    assert guide.allows('[1] meets 1: "', "分子散射")
    assert guide.allows('[1] meets 1: "分子散射', '"')
    assert not guide.allows('[1] meets 1: "分子散射', "红")
    assert CHINESE[8:][:AHEAD] in guide.following('[1] meets 1: "分子散射')
    assert any(text.startswith("分子散射蓝光") for text in guide.following('[1] meets 1: "'))


def test_sentences_end_as_their_script_ends_them():
    for text, count in (("天空是蓝色的。海是深的。山很高！", 3), ("आसमान नीला है। समुद्र गहरा है।", 2), ("لماذا السماء زرقاء؟ البحر عميق.", 2)):
        assert len(sentences(text)) == count
