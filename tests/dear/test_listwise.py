import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dear.decoding import Trie, constrained_chain, identifier_scores
from dear.engines import EngineInfo
from dear.engines.fake import FakeGenerator
from dear.errors import BadInput
from dear.listwise import Ranked, prepare, rank
from dear.types import Passage

PASSAGES = [Passage(f"p{i}", f"passage number {i} about the sky " * (i + 1), "T") for i in range(5)]


class Random:
    """A generator with arbitrary but fixed logits over characters: constrained decoding must hold whatever a model prefers."""

    info = EngineInfo("fake", "random", "none", "cpu")
    context = 4096
    eos_ids = frozenset({127})

    def __init__(self, seed):
        self.seed = seed

    def render(self, messages):
        return "\n".join(m["content"] for m in messages) + "\n"

    def encode(self, text):
        return [min(ord(char), 126) for char in text]

    def decode(self, ids):
        return "".join(chr(i) for i in ids if i != 127)

    def open(self, ids):
        return RandomSession(self.seed, list(ids))


class RandomSession:
    def __init__(self, seed, ids):
        self.seed, self.ids = seed, ids

    def logits(self):
        return np.random.default_rng([self.seed, len(self.ids), sum(self.ids)]).normal(size=128).astype(np.float32) * 5

    def append(self, ids):
        assert len(ids) > 0
        self.ids += ids

    def catch_up(self):
        yield

    def rewind(self, length):
        assert length <= len(self.ids)
        del self.ids[length:]

    def __len__(self):
        return len(self.ids)


@given(st.integers(0, 10_000), st.integers(1, 25))
def test_a_constrained_chain_is_a_permutation_whatever_the_model_prefers(seed, n):
    generator = Random(seed)
    session = generator.open(generator.encode("x"))
    pieces = list(constrained_chain(generator, session, n))
    assert sorted(identifier for _, identifier, _ in pieces) == list(range(1, n + 1))
    text = "".join(text for text, _, _ in pieces)
    assert generator.decode(session.ids) == "x" + text


@given(st.integers(0, 10_000), st.integers(1, 25))
def test_identifier_scores_are_log_probabilities_and_leave_the_session_alone(seed, n):
    generator = Random(seed)
    session = generator.open(generator.encode("prompt"))
    scores = identifier_scores(generator, session, n)
    assert sorted(scores) == list(range(1, n + 1))
    assert all(score <= 0 for score in scores.values())
    assert sum(np.exp(list(scores.values()))) <= 1 + 1e-6 or n == 1
    assert generator.decode(session.ids) == "prompt"


def test_a_trie_shares_prefixes():
    trie = Trie.of({1: [7, 1, 9], 12: [7, 1, 2, 9], 3: [7, 3, 9]})
    assert set(trie.children) == {7}
    assert set(trie.children[7].children) == {1, 3}
    assert trie.children[7].children[1].children[9].leaf == 1


@given(st.integers(0, 1000), st.booleans())
def test_any_model_ends_in_a_permutation_of_the_window(seed, reasoning):
    generator = Random(seed)
    window = prepare("why is the sky blue", PASSAGES, generator, max_tokens=40)
    *pieces, ranked = rank(window, generator, reasoning=reasoning, max_tokens=40)
    assert isinstance(ranked, Ranked)
    assert sorted(ranked.permutation) == sorted(p.id for p in PASSAGES)
    assert ranked.rationale.text == "".join(pieces)
    assert not reasoning or "Ranking:" in ranked.rationale.text


def test_a_window_that_fits_is_left_whole():
    window = prepare("sky", PASSAGES, FakeGenerator(), max_tokens=50)
    assert window.trimmed == 0
    assert all(p.text.strip()[:20] in window.prompt for p in PASSAGES)


def test_the_longest_passages_are_cut_first():
    generator = Random(1)
    whole = prepare("sky", PASSAGES, generator, max_tokens=50)
    generator.context = len(whole.prompt) + 50 + 8 * 5 + 16 - 60
    window = prepare("sky", PASSAGES, generator, max_tokens=50)
    assert 1 <= window.trimmed < len(PASSAGES)
    assert PASSAGES[0].text.strip() in window.prompt
    assert PASSAGES[4].text.strip() not in window.prompt
    assert len(generator.encode(window.prompt)) + 50 + 8 * 5 + 16 <= generator.context
    assert window.passages == tuple(PASSAGES)


def test_a_window_that_cannot_fit_names_the_remedy():
    generator = Random(1)
    generator.context = 300
    with pytest.raises(BadInput, match="use a smaller window"):
        prepare("sky", PASSAGES, generator, max_tokens=100)


def test_text_without_blanks_is_trimmed_at_the_token_not_to_its_first_word():
    passages = [Passage("a", "2011年3月11日 " + "大きな地震が東北地方を襲った。" * 60), Passage("b", "東京 " + "都は首都である。" * 60)]
    generator = FakeGenerator(context=2_000)
    window = prepare("いつ", passages, generator, max_tokens=100)
    assert window.trimmed == 2
    assert all(len(shown.text) > 100 for shown in window.shown)
    assert all("\ufffd" not in shown.text and full.text.startswith(shown.text.strip()) for shown, full in zip(window.shown, passages, strict=True))


class Server:
    """A `TextGenerator` that notes what it was asked."""

    info = EngineInfo("openai", "m", "remote", "here")
    context = 8_000

    def __init__(self):
        self.asked = []

    def count(self, text):
        return len(text) // 3

    def stream(self, messages, *, max_tokens):
        self.asked.append((messages[-1]["content"], max_tokens))
        yield "Ranking: **[2]** > **[1]**"


def test_fast_mode_on_a_server_asks_for_the_ranking_alone():
    server = Server()
    passages = [Passage("a", "x"), Passage("b", "y")]
    window = prepare("q", passages, server, max_tokens=0)
    ranked = list(rank(window, server, reasoning=False))[-1]
    assert ranked.permutation == ("b", "a")
    assert ranked.status == "complete", "bold as chat models write it"
    ((asked, budget),) = server.asked
    assert asked.endswith("Write the ranking line only.")
    assert budget < 32
    list(rank(window, server, reasoning=True, max_tokens=320))
    assert not server.asked[-1][0].endswith("only.")
