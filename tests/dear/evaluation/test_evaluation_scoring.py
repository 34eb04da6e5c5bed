"""Nothing is asked of a model twice, nothing is mixed up, and a run that was cut goes on to the same end."""

from dataclasses import replace

import pytest

from dear.engines import Scored
from dear.engines.fake import FakeGenerator, FakeScorer
from dear.errors import EngineError
from dear.evaluation.scoring import CachedLister, CachedScorer, identity, weights_of
from dear.evaluation.store import Store
from dear.pipeline import Settings
from dear.types import Passage

TEXTS = ["short waves scatter, so the sky is blue", "bread rises", "the blue sea", "a blue sky over the sea"]
TITLES = ["Light", "", "", ""]
QUERY = "why is the sky blue"


class Counting(FakeScorer):
    """Counts the pairs it is asked for."""

    asked = 0

    def score(self, query, texts, titles):
        self.asked += len(texts)
        yield from super().score(query, texts, titles)


def scores(scorer, texts=TEXTS, titles=TITLES, query=QUERY):
    found = {}
    for batch in scorer.score(query, texts, titles):
        found.update(zip(batch.indices, batch.scores, strict=True))
    return [found[i] for i in range(len(texts))]


def test_a_second_run_asks_nothing_and_tells_the_same_scores_and_seconds():
    inner = Counting(delay=0.01)
    first = CachedScorer(inner, Store())
    expected = scores(FakeScorer())
    assert scores(first) == expected
    assert inner.asked == len(TEXTS) + 1  # one to warm up
    again = Counting()
    second = CachedScorer(again, Store())
    assert scores(second) == expected
    assert again.asked == 0
    assert second.seconds == pytest.approx(first.seconds)
    assert first.seconds >= 0.01


def test_another_template_or_other_code_is_another_answer(monkeypatch):
    info = FakeScorer().info
    before = identity(info)
    with monkeypatch.context() as patch:
        patch.setattr("dear.prompts.pair", lambda query, title, text: ("another", "template"))
        assert identity(info) != before
    with monkeypatch.context() as patch:
        patch.setattr("dear.evaluation.scoring._code", lambda sources: ["changed"])
        assert identity(info) != before
    assert identity(info) == before


def test_only_what_is_missing_is_asked():
    scores(CachedScorer(FakeScorer(), Store()), TEXTS[:2], TITLES[:2])
    inner = Counting()
    assert scores(CachedScorer(inner, Store())) == scores(FakeScorer())
    assert inner.asked == 2 + 1


def test_query_title_text_model_and_weights_are_told_apart():
    scorer = FakeScorer()
    base = identity(scorer.info, "w")
    for other in ({"model": "other"}, {"precision": "fp32"}, {"engine": "onnx"}, {"prompt": "rankllama"}, {"device": "cuda"}):
        assert identity(replace(scorer.info, **other), "w") != base
    assert identity(scorer.info, "v") != base
    server, cuda = replace(scorer.info, engine="openai", device="host:1"), replace(scorer.info, device="cuda:0")
    assert identity(server) != identity(replace(server, device="host:2"))  # another server, another model
    assert identity(cuda) == identity(replace(cuda, device="cuda:1")) != identity(scorer.info)
    inner = Counting()
    cached = CachedScorer(inner, Store())
    scores(cached, ["text"], [""])
    for query, texts, titles in (("another", ["text"], [""]), (QUERY, ["text"], ["title"]), (QUERY, ["texts"], [""])):
        before = inner.asked
        scores(cached, texts, titles, query)
        assert inner.asked == before + 1


def test_a_query_that_fails_in_the_middle_leaves_nothing_half():
    with pytest.raises(EngineError):
        scores(CachedScorer(FakeScorer(fail_after=2, batch_size=2), Store()))
    inner = Counting()
    scores(CachedScorer(inner, Store()))
    assert inner.asked == len(TEXTS) + 1


def test_an_engine_that_stops_early_is_caught():
    class Short(FakeScorer):
        def score(self, query, texts, titles):
            yield Scored((0,), (1.0,), 1)

    with pytest.raises(EngineError, match="1 of 4 pairs"):
        scores(CachedScorer(Short(), Store()))


def test_new_weights_under_an_old_name_are_another_model(tiny_score_adapter, tmp_path):
    import shutil

    import torch
    from safetensors.torch import load_file, save_file

    copy = shutil.copytree(tiny_score_adapter, tmp_path / "adapter")
    before = weights_of(str(copy), "pointwise")
    assert weights_of(str(copy), "pointwise") == before
    file = copy / "adapter_model.safetensors"
    weights = load_file(str(file))
    name = sorted(weights)[0]
    save_file({**weights, name: weights[name] + torch.ones_like(weights[name])}, str(file))
    assert weights_of(str(copy), "pointwise") != before


def test_a_real_scorer_gives_the_same_scores_through_the_store(tiny_scorer):
    from dear.engines.choice import open_scorer

    scorer = open_scorer(str(tiny_scorer), engine="transformers")
    expected = scores(scorer)
    for _ in range(2):
        assert scores(CachedScorer(scorer, Store(), weights_of(str(tiny_scorer), "pointwise"))) == expected


SETTINGS = Settings(depth=4, window=4, stride=2, max_tokens=4000, stages=("retrieval", "listwise"))
PASSAGES = [Passage(str(i), text, title) for i, (text, title) in enumerate(zip(TEXTS, TITLES, strict=True))]


def test_a_list_is_ranked_once_and_comes_back_whole():
    first = CachedLister(FakeGenerator(), Store(), SETTINGS).rank(QUERY, PASSAGES)
    assert sorted(first.ids) == ["0", "1", "2", "3"]
    assert first.windows[0].status == "complete"
    assert first.given == (("0", "1", "2", "3"),)
    again = CachedLister(FakeGenerator(fail_after=0), Store(), SETTINGS).rank(QUERY, PASSAGES)  # would fail if it were asked
    assert again == first
    assert again.windows[0].rationale.evidence


def test_another_order_text_or_mode_is_another_list():
    CachedLister(FakeGenerator(), Store(), SETTINGS).rank(QUERY, PASSAGES)
    failing = CachedLister(FakeGenerator(fail_after=0), Store(), SETTINGS)
    for passages in (PASSAGES[::-1], [replace(PASSAGES[0], text="x"), *PASSAGES[1:]]):
        with pytest.raises(EngineError, match="listwise failed"):
            failing.rank(QUERY, passages)
    with pytest.raises(EngineError):
        CachedLister(FakeGenerator(fail_after=0), Store(), replace(SETTINGS, max_tokens=3000)).rank(QUERY, PASSAGES)
