"""The engines without a model behave like engines."""

import numpy as np
import pytest

from dear.engines import Scorer, Session, TokenGenerator
from dear.engines.fake import EOS, FakeGenerator, FakeScorer, overlap
from dear.errors import EngineError
from dear.listwise import Ranked, prepare, rank
from dear.parse import parse
from dear.types import Passage

PASSAGES = [
    Passage("sea", "The sea is deep."),
    Passage("sky", 'The sky is blue since air "scatters" blue light.', "Sky"),
    Passage("paint", "Blue paint dries."),
]
QUERY = "why is the sky blue"


def write(generator, ids, limit=2000):
    session, out = generator.open(ids), []
    while len(out) < limit and (token := int(np.argmax(session.logits()))) not in generator.eos_ids:
        session.append([token])
        out.append(token)
    return generator.decode(out)


def test_they_keep_the_protocols():
    generator = FakeGenerator()
    assert isinstance(FakeScorer(), Scorer)
    assert isinstance(generator, TokenGenerator)
    assert isinstance(generator.open(generator.encode("x")), Session)


def test_overlap_orders_and_fails_when_told():
    texts, titles = [p.text for p in PASSAGES], [p.title for p in PASSAGES]
    scores = {i: s for batch in FakeScorer(batch_size=2).score(QUERY, texts, titles) for i, s in zip(batch.indices, batch.scores, strict=True)}
    assert sorted(scores, key=scores.get) == [0, 2, 1]
    assert overlap("", "x") == 0.0
    failing = FakeScorer(fail_after=2, batch_size=1).score(QUERY, texts, titles)
    assert [next(failing).indices, next(failing).indices] == [(0,), (1,)]
    with pytest.raises(EngineError, match="fails after 2"):
        next(failing)


def test_the_default_answer_parses_and_quotes_what_is_there():
    generator = FakeGenerator()
    window = prepare(QUERY, PASSAGES, generator, max_tokens=800)
    answer = parse(write(generator, generator.encode(window.prompt)), 3)
    assert (answer.permutation, answer.status) == ((2, 3, 1), "complete")
    assert answer.requirements
    assert {c.identifier for c in answer.citations} == {2, 3}
    for citation in answer.citations:
        assert citation.quote in PASSAGES[citation.identifier - 1].text


@pytest.mark.parametrize("reasoning", [True, False])
def test_a_window_is_ranked_in_both_modes(reasoning):
    generator = FakeGenerator()
    window = prepare(QUERY, PASSAGES, generator, max_tokens=800)
    result = next(item for item in rank(window, generator, reasoning=reasoning, max_tokens=800) if isinstance(item, Ranked))
    assert result.permutation == ("sky", "paint", "sea")
    assert result.status == "complete"


def test_forced_text_falls_back_to_overlap():
    generator = FakeGenerator("I ramble. " * 100)
    window = prepare(QUERY, PASSAGES, generator, max_tokens=60)
    result = next(item for item in rank(window, generator, max_tokens=60) if isinstance(item, Ranked))
    assert (result.permutation, result.status) == (("sky", "paint", "sea"), "repaired")


def test_a_session_depends_on_its_tokens_alone():
    generator = FakeGenerator("héllo")
    ids = generator.encode(generator.render([{"role": "user", "content": "x"}]))
    assert write(generator, ids) == "héllo"
    session = generator.open(ids)
    first = session.logits()
    session.append(generator.encode("hé!"))
    session.rewind(len(ids))
    assert len(session) == len(ids)
    assert np.array_equal(session.logits(), first)
    assert first.shape == (EOS + 1,)
    assert first.dtype == np.float32
    with pytest.raises(EngineError, match="rewind"):
        session.rewind(len(ids) + 1)


def test_it_fails_in_mid_answer_when_told():
    generator = FakeGenerator("a long answer", fail_after=4)
    with pytest.raises(EngineError, match="fails after 4"):
        write(generator, generator.encode(generator.render([{"role": "user", "content": "x"}])))
