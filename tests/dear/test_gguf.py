"""The small GGUF reader against the reference implementation's writer and dequantiser."""

import numpy as np
import pytest

from dear.errors import CheckpointError
from dear.gguf import GGUF

gguf = pytest.importorskip("gguf")


@pytest.fixture
def written(tmp_path):
    """A file with a tensor of each kind the reader knows, and what the reference reads from it."""
    rng = np.random.default_rng(0)
    kinds = {
        "token_embd.weight": gguf.GGMLQuantizationType.Q8_0,
        "blk.0.ffn_up.weight": gguf.GGMLQuantizationType.Q4_1,
        "blk.0.attn_norm.weight": gguf.GGMLQuantizationType.F32,
        "output_norm.weight": gguf.GGMLQuantizationType.F16,
    }
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_token_list(["a", "ü", "漢"])
    writer.add_array("dear.numbers", [1, 2, 3])
    expected = {}
    for name, kind in kinds.items():
        values = rng.normal(size=(6, 64) if "norm" not in name else (64,)).astype(np.float32)
        packed = gguf.quantize(values, kind)
        writer.add_tensor(name, packed, raw_dtype=kind)
        expected[name] = gguf.dequantize(packed, kind).reshape(values.shape)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tmp_path / "m.gguf", expected


def test_metadata_and_every_kind_of_tensor(written):
    path, expected = written
    file = GGUF(path)
    assert file.metadata["general.architecture"] == "llama"
    assert file.metadata["tokenizer.ggml.tokens"] == ["a", "ü", "漢"]
    assert file.metadata["dear.numbers"] == [1, 2, 3]
    names = {
        "token_embd.weight": "model.embed_tokens.weight",
        "blk.0.ffn_up.weight": "model.layers.0.mlp.up_proj.weight",
        "blk.0.attn_norm.weight": "model.layers.0.input_layernorm.weight",
        "output_norm.weight": "model.norm.weight",
    }
    found = dict(file.tensors())
    assert set(found) == set(names.values())
    for name, values in expected.items():
        assert np.array_equal(found[names[name]], values), name


def test_blocks_are_the_matrices_as_they_are_stored(written):
    path, expected = written
    found = dict(GGUF(path).blocks())
    assert {name: blocks.bits for name, blocks in found.items()} == {"model.embed_tokens.weight": 8, "model.layers.0.mlp.up_proj.weight": 4}
    for name, stored in (("token_embd.weight", "model.embed_tokens.weight"), ("blk.0.ffn_up.weight", "model.layers.0.mlp.up_proj.weight")):
        blocks = found[stored]
        assert blocks.codes.shape == (6, 2, 32)
        values = blocks.codes * blocks.scale[..., None] + blocks.least[..., None]
        np.testing.assert_allclose(values.reshape(6, 64), expected[name], atol=1e-6)


@pytest.mark.parametrize("keep", [3, 40, 0.5, 0.95])
def test_a_damaged_file_is_an_error_with_its_name(written, tmp_path, keep):
    data = written[0].read_bytes()
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(data[: keep if keep > 1 else int(keep * len(data))])
    with pytest.raises(CheckpointError, match=r"cut\.gguf"):
        dict(GGUF(cut).tensors())


def test_other_files_are_refused(tmp_path):
    (tmp_path / "x.gguf").write_bytes(b"PK\3\4" + bytes(100))
    with pytest.raises(CheckpointError, match="signature"):
        GGUF(tmp_path / "x.gguf")
