"""The onnx engine: exported once, the same ids and nearly the same numbers as transformers, sessions that rewind."""

import numpy as np
import pytest
from tiny_llama import save_llama, save_lora

from dear import embedded, zoo
from dear.cache import MARKER
from dear.engines import Session, TokenGenerator
from dear.engines import onnx as engine
from dear.engines.transformers import TransformersGenerator
from dear.errors import CheckpointError, EngineError
from dear.loading import load_causal

pytest.importorskip("onnxruntime_genai")
pytest.importorskip("onnx_ir")


def listwise(folder):
    return zoo.resolve(str(folder)).listwise


@pytest.fixture(scope="module")
def cached(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEAR_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    """An adapter of one layer on a base of two, so that merging, cutting and exporting all happen."""
    base = save_llama(tmp_path_factory.mktemp("onnx") / "base")
    return save_lora(tmp_path_factory.mktemp("onnx") / "lora", base, head="vocabulary", layers=1, card={"context": 256})


@pytest.fixture(scope="module")
def both(cached, adapter):
    checkpoint = listwise(adapter)
    generator = engine.OnnxGenerator(checkpoint, precision="int8")
    yield generator, TransformersGenerator(load_causal(checkpoint, precision="fp32"))
    generator.close()


def test_it_is_the_adapters_model(both):
    onnx, torch_ = both
    assert isinstance(onnx, TokenGenerator)
    assert (onnx.info.engine, onnx.info.precision, onnx.info.trained, onnx.context) == ("onnx", "int8", True, 256)
    text = onnx.render([{"role": "user", "content": "why is the sky blue"}])
    assert text == torch_.render([{"role": "user", "content": "why is the sky blue"}])
    ids = onnx.encode(text)
    assert ids == torch_.encode(text)
    assert onnx.eos_ids == torch_.eos_ids
    ours, theirs = onnx.open(ids).logits(), torch_.open(ids).logits()
    assert ours.dtype == np.float32
    assert ours.shape == theirs.shape
    assert np.corrcoef(ours, theirs)[0, 1] > 0.999
    assert np.argmax(ours) == np.argmax(theirs)


def test_append_and_rewind_equal_a_fresh_session(both):
    """Tolerance: int8 kernels round a row differently with the number of rows beside it."""
    onnx, _ = both
    ids = onnx.encode("why is the sky blue, and " * 10)

    def fresh(tokens):
        return engine.OnnxSession(onnx._model, tokens, onnx.context, None).logits()

    session = onnx.open(ids)
    assert isinstance(session, Session)
    assert np.array_equal(session.logits(), fresh(ids))
    expected = list(ids)
    for what, value in (
        ("append", [5, 6, 7]),
        ("append", [8]),
        ("rewind", len(ids)),
        ("append", [9]),
        ("rewind", 70),
        ("rewind", 3),
        ("append", [4]),
    ):
        getattr(session, what)(value)
        expected = expected[:value] if what == "rewind" else expected + value
        np.testing.assert_allclose(session.logits(), fresh(expected), atol=0.2)


def test_a_kept_prefix_changes_nothing(both):
    onnx, _ = both
    prefix = onnx.encode("The sea is deep. " * 20)[:150]
    fresh = [engine.OnnxSession(onnx._model, [*prefix, end], onnx.context, None).logits() for end in (5, 6)]
    first = onnx.open([*prefix, 5])
    assert np.array_equal(first.logits(), fresh[0])
    first.append([9])
    first.logits()
    second = onnx.open([*prefix, 6])
    assert len(second._cached) == 128
    assert np.array_equal(second.logits(), fresh[1])
    with pytest.raises(EngineError, match="ended"):
        first.logits()
    with pytest.raises(EngineError, match="context of 256"):
        second.append([1] * 200)


def test_a_closed_generator_says_so(both, adapter):
    generator = engine.OnnxGenerator(listwise(adapter), precision="int8")
    session = generator.open([5, 6])
    generator.close()
    with pytest.raises(EngineError, match="ended"):
        session.logits()
    with pytest.raises(EngineError, match="closed"):
        generator.open([5])


def test_what_cannot_be_exported(cached, tiny_scorer, tiny_causal, tmp_path):
    from dataclasses import replace

    with pytest.raises(EngineError, match="score with transformers"):
        engine.export(replace(zoo.resolve(str(tiny_scorer)).pointwise, stage="listwise"))
    with pytest.raises(EngineError, match="'nf4'"):
        engine.export(listwise(tiny_causal), precision="nf4")
    broken = save_llama(tmp_path / "broken")
    (broken / "model.safetensors").write_bytes((broken / "model.safetensors").read_bytes()[:-9])
    with pytest.raises(CheckpointError, match="truncated"):
        engine.export(listwise(broken))


def test_the_graph_is_built_once_and_again_when_damaged(both, adapter, monkeypatch):
    folder = engine.export(listwise(adapter))
    built = []
    monkeypatch.setattr(engine, "_export", lambda checkpoint, precision, work: built.append(work) or (work / "model.onnx").touch())
    assert engine.export(listwise(adapter)) == folder
    assert built == []
    assert (folder / MARKER).is_file()
    data = (folder / "model.onnx.data").read_bytes()
    (folder / "model.onnx.data").write_bytes(data[:-7])
    assert engine.export(listwise(adapter)) == folder
    assert len(built) == 1


@pytest.mark.model
@pytest.mark.skipif(embedded._wheel() is None, reason=f"needs the base model: {embedded.INSTALL}")
def test_the_embedded_model_in_both_engines():
    """The same greedy answer on the embedded model: int8 keeps the distribution (KL below 0.05 a token on this text)."""
    checkpoint = zoo.nano().listwise
    onnx = engine.OnnxGenerator(checkpoint, precision="int8")
    torch_ = TransformersGenerator(load_causal(checkpoint, precision="fp32"))
    ids = onnx.encode(onnx.render([{"role": "user", "content": "Why is the sky blue? Answer in one sentence."}]))
    ours, theirs = onnx.open(ids), torch_.open(ids)
    divergence, same, steps = 0.0, 0, 24
    for _ in range(steps):
        left, right = ours.logits().astype(np.float64), theirs.logits().astype(np.float64)
        p, q = np.exp(right - right.max()), np.exp(left - left.max())
        p, q = p / p.sum(), q / q.sum()
        divergence += float((p * (np.log(p + 1e-12) - np.log(q + 1e-12))).sum())
        token = int(right.argmax())
        same += token == int(left.argmax())
        ours.append([token])
        theirs.append([token])
    assert divergence / steps < 0.05
    assert same >= steps - 3
    onnx.close()
