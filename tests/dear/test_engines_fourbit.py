"""The base file's own 4 bits: taken apart without loss, the adapter beside them, and the graph the same model as in full precision."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_llama import save_llama, save_lora

from dear import embedded, zoo
from dear.engines import fourbit
from dear.engines import onnx as engine
from dear.engines.transformers import TransformersGenerator
from dear.errors import EngineError
from dear.gguf import BLOCK, Blocks
from dear.loading import load_causal

HAS_BASE = pytest.mark.skipif(embedded._wheel() is None, reason=f"needs the base model: {embedded.INSTALL}")


def blocks(seed, rows, count, *, offset=0.5):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 16, (rows, count, BLOCK), dtype=np.uint8)
    scale = rng.uniform(0.001, 0.1, (rows, count)).astype(np.float32)
    return Blocks(codes, scale, -scale * 15 * rng.uniform(0, offset * 2, (rows, count)).astype(np.float32), 4)


def weights(stored):
    return (stored.codes * stored.scale[..., None] + stored.least[..., None]).reshape(len(stored.codes), -1)


def kernel_weights(apart):
    """What the kernel multiplies by: scale * (code - zero point)."""
    return apart.scale[..., None] * (apart.codes.astype(np.float32) - apart.zeros[..., None])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), rows=st.integers(1, 5), count=st.integers(1, 5), offset=st.floats(0, 2))
def test_nothing_is_lost_when_blocks_are_taken_apart(seed, rows, count, offset):
    stored = blocks(seed, rows, count, offset=offset)
    apart = fourbit.split(stored)
    back = (kernel_weights(apart) + apart.rest[..., None]).reshape(rows, -1)
    np.testing.assert_allclose(back, weights(stored), atol=1e-5)
    if offset <= 0.5:  # zero is within reach of the codes: what is left is at most half a step
        assert np.all(np.abs(apart.rest) <= 0.5 * stored.scale + 1e-6)


def test_a_block_of_equal_weights():
    """Its scale is 0, and its offset goes to the rest whole."""
    stored = Blocks(np.zeros((1, 1, BLOCK), np.uint8), np.zeros((1, 1), np.float32), np.full((1, 1), 0.3, np.float32), 4)
    apart = fourbit.split(stored)
    assert apart.rest[0, 0] == np.float32(0.3)
    assert not kernel_weights(apart).any()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 3), size=st.floats(0, 100))
def test_two_matrices_of_four_bits_hold_a_hundredth(seed, count, size):
    values = (np.random.default_rng(seed).normal(size=(3, count * BLOCK)) * size).astype(np.float32)
    values[0] = 0
    coarse, fine = fourbit.in_two(values)
    for part in (coarse, fine):
        assert part.codes.max() <= 15
        assert np.all(part.zeros == 8)
    left = np.abs(sum(kernel_weights(part) for part in (coarse, fine)) - values.reshape(3, count, BLOCK)).max(axis=2)
    assert np.all(left <= np.abs(values).reshape(3, count, BLOCK).max(axis=2) / 150 + 1e-6)


def test_packing_is_two_codes_a_byte_the_first_below():
    codes = np.random.default_rng(0).integers(0, 16, (3, 2, BLOCK), dtype=np.uint8)
    packed = fourbit.pack(codes)
    assert packed.shape == (3, 2, BLOCK // 2)
    assert np.array_equal(np.stack([packed & 15, packed >> 4], axis=-1).reshape(codes.shape), codes)


def test_kernel_and_what_stands_beside_it_make_base_and_adapter():
    """Three matrices that read the same x, two of them side by side, adapters on two: kernel([x, P x, P x]) against (W + s B A) x."""
    rng = np.random.default_rng(3)
    stored = {"model.q": blocks(1, 6, 3), "model.v": blocks(2, 4, 3), "model.up": blocks(4, 5, 3)}
    adapter = {
        name: (rng.normal(size=(rank, 96)).astype(np.float32), rng.normal(size=(len(stored[name].codes), rank)).astype(np.float32))
        for name, rank in (("model.v", 2), ("model.up", 16))
    }
    down, places = fourbit._down(list(stored), stored, adapter)
    assert down.shape == (96, 2 * BLOCK)  # ranks 2 and 16 in one block, the sums of three blocks in another
    x = rng.normal(size=(7, 96)).astype(np.float32)
    for names in (["model.q", "model.v"], ["model.up"]):
        apart = [fourbit.split(stored[name]) for name in names]
        rest = np.concatenate([one.rest for one in apart])
        up = fourbit._up(names, [len(one.codes) for one in apart], rest, adapter, places, down.shape[1])
        kernel = np.concatenate([kernel_weights(one).reshape(-1, 96) for one in apart])
        coarse, fine = (kernel_weights(part).reshape(len(kernel), -1) for part in fourbit.in_two(up))
        longer = np.concatenate([x, x @ down, x @ down], axis=1)
        given_ = longer @ np.concatenate([kernel, coarse, fine], axis=1).T
        whole = np.concatenate([weights(stored[name]) + (adapter[name][1] @ adapter[name][0] if name in adapter else 0) for name in names])
        np.testing.assert_allclose(x @ kernel.T + x @ down @ up.T, x @ whole.T, rtol=1e-3, atol=1e-3)
        assert np.abs(given_ - x @ whole.T).max() < 0.02 * np.abs(x @ whole.T).max()


def test_whose_bits_are_kept(tmp_path):
    """The embedded base and plain adapters on it; not a cut in depth, not another base, not an adapter that must be merged."""
    nano = zoo.nano().listwise
    assert fourbit.keeps_own_bits(nano)
    assert fourbit.keeps_own_bits(replace(nano, path=None, base=zoo.EMBEDDED, adapter=False))
    assert not fourbit.keeps_own_bits(replace(nano, layers=16))
    base = save_llama(tmp_path / "base")
    adapter = save_lora(tmp_path / "lora", base, head="vocabulary")
    other = zoo.resolve(str(adapter)).listwise
    assert not fourbit.keeps_own_bits(other)
    assert not fourbit.keeps_own_bits(zoo.resolve(str(base)).listwise)
    assert fourbit.keeps_own_bits(replace(other, base=zoo.EMBEDDED))
    config = zoo.read_json(adapter / "adapter_config.json")
    for change in ({"use_dora": True}, {"rank_pattern": {"q_proj": 4}}, {"target_modules": ["q_proj", "lm_head"]}, {"target_modules": "all-linear"}):
        (adapter / "adapter_config.json").write_text(json.dumps(config | change), encoding="utf-8")
        assert not fourbit.keeps_own_bits(replace(other, base=zoo.EMBEDDED)), change


def test_an_adapter_is_read_with_its_scale(tmp_path):
    from safetensors.numpy import load_file

    folder = save_lora(tmp_path / "lora", save_llama(tmp_path / "base"), head="vocabulary")
    config = zoo.read_json(folder / "adapter_config.json")
    tensors = load_file(folder / "adapter_model.safetensors")
    found = fourbit.read_adapter(folder)
    assert len(found) == sum(key.endswith("lora_A.weight") for key in tensors)
    name, (a, b) = next(iter(found.items()))
    stem = "base_model.model." + name.removesuffix(".weight")
    assert np.array_equal(a, tensors[f"{stem}.lora_A.weight"])
    np.testing.assert_allclose(b, tensors[f"{stem}.lora_B.weight"] * config["lora_alpha"] / config["r"])


def test_a_graph_of_another_layout_is_refused(tmp_path):
    onnx = pytest.importorskip("onnx")
    node = onnx.helper.make_node("Add", ["x", "x"], ["y"], name="/model/layers.0/attn/q/Sum")
    values = [onnx.helper.make_tensor_value_info(name, 1, [1]) for name in "xy"]
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], "g", values[:1], values[1:])), str(tmp_path / "model.onnx"))
    with pytest.raises(EngineError, match="choose precision int8"):
        fourbit.rewrite(tmp_path, {}, {})


@pytest.mark.model
@HAS_BASE
def test_the_student_in_its_own_bits_is_the_student_in_full_precision():
    """Along a greedy answer of the trained student after a listwise prompt; merged and quantised again the divergence is above 0.1."""
    pytest.importorskip("onnxruntime_genai")
    from dear import prompts
    from dear.types import Passage

    passages = [
        Passage("a", "Air scatters blue light much more than red light.", "Scattering"),
        Passage("b", "Sunsets are red because the blue has been scattered out of the way.", "Sunset"),
        Passage("c", "Tomatoes are red since they hold lycopene.", "Tomato"),
    ]
    checkpoint = zoo.nano().listwise
    onnx = engine.OnnxGenerator(checkpoint, precision="int4")
    full = TransformersGenerator(load_causal(checkpoint, precision="fp32"))
    ids = onnx.encode(onnx.render(prompts.listwise("why is the sky blue", passages, checkpoint.family)))
    ours, theirs = onnx.open(ids), full.open(ids)
    divergence, same, steps = 0.0, 0, 32
    for _ in range(steps):
        p, q = (_log_softmax(session.logits()) for session in (theirs, ours))
        divergence += float((np.exp(p) * (p - q)).sum())
        token = int(p.argmax())
        same += token == int(q.argmax())
        ours.append([token])
        theirs.append([token])
    onnx.close()
    assert divergence / steps < 0.01
    assert same >= steps - 2


def _log_softmax(logits):
    shifted = logits.astype(np.float64) - logits.max()
    return shifted - np.log(np.exp(shifted).sum())
