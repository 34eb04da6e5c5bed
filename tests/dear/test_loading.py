"""Every way a checkpoint can be stored ends as the same student: whole, LoRA merged, NF4, LoRA kept apart on NF4."""

import json
import shutil

import pytest
from tiny_llama import save_llama, save_lora

from dear import zoo
from dear.errors import BadInput, CheckpointError
from dear.loading import load_causal, load_sequence_classifier
from dear.pairs import encode_pair
from dear.weights import base_digest, check_weights, fetch, head_of

torch = pytest.importorskip("torch")
PAIR = ("why is the sky blue", "Light", "Short waves of sunlight scatter most in clear air.")


def score(student):
    ids = torch.tensor([encode_pair(student.tokenizer, *PAIR)])
    with torch.inference_mode(), student.active():
        return float(student.logits(student.decode(ids, use_cache=False).last_hidden_state[:, -1])[0, 0])


def logits(student, ids=(5, 6, 7, 8, 9)):
    with torch.inference_mode(), student.active():
        return student.logits(student.decode(torch.tensor([ids]), use_cache=False).last_hidden_state[0, -1])


def reference_score(folder, adapter=None, **options):
    """The score as transformers and PEFT give it by themselves, adapter not merged."""
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1, dtype=torch.float32, **options)
    if adapter:
        model = PeftModel.from_pretrained(model, adapter)
    ids = torch.tensor([encode_pair(tokenizer, *PAIR)])
    with torch.inference_mode():
        return float(model.eval()(input_ids=ids).logits[0, 0])


def nf4():
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
        llm_int8_skip_modules=["score", "lm_head"],
    )


def pointwise(folder):
    return zoo.resolve(str(folder)).pointwise


def listwise(folder):
    return zoo.resolve(str(folder)).listwise


def test_a_whole_scorer(tiny_scorer):
    student = load_sequence_classifier(pointwise(tiny_scorer))
    assert (student.head, student.trained, student.precision, student.device) == ("score", True, "fp32", "cpu")
    assert score(student) == pytest.approx(reference_score(tiny_scorer), abs=1e-5)
    assert student.tokenizer.padding_side == "right"


def test_a_lora_scorer_is_merged_and_scores_as_peft_does(tiny_causal, tiny_score_adapter):
    student = load_sequence_classifier(pointwise(tiny_score_adapter))
    assert student.trained
    assert student._adapter is None
    assert not any("lora" in name for name, _ in student._host.model.named_parameters())
    expected = reference_score(tiny_causal, tiny_score_adapter)
    assert score(student) == pytest.approx(expected, abs=1e-4)
    bf16 = load_sequence_classifier(pointwise(tiny_score_adapter), precision="bf16")
    assert score(bf16) == pytest.approx(expected, abs=0.25)


def test_nf4_and_lora_on_nf4(tiny_causal, tiny_scorer, tiny_score_adapter):
    pytest.importorskip("bitsandbytes")
    whole = load_sequence_classifier(pointwise(tiny_scorer), precision="nf4")
    assert any(type(module).__name__ == "Linear4bit" for module in whole._host.model.modules())
    assert type(whole._head).__name__ == "Linear"
    assert score(whole) == pytest.approx(reference_score(tiny_scorer, quantization_config=nf4()), abs=1e-3)
    kept = load_sequence_classifier(pointwise(tiny_score_adapter), precision="nf4")
    assert kept._adapter is not None
    assert score(kept) == pytest.approx(reference_score(tiny_causal, tiny_score_adapter, quantization_config=nf4()), abs=1e-3)


def test_two_stages_share_one_nf4_base(tiny_score_adapter, tiny_list_adapter):
    pytest.importorskip("bitsandbytes")
    scorer = load_sequence_classifier(pointwise(tiny_score_adapter), precision="nf4")
    alone, before = score(scorer), scorer._host
    writer = load_causal(listwise(tiny_list_adapter), precision="nf4")
    again = load_causal(listwise(tiny_list_adapter), precision="nf4")
    assert writer._host is scorer._host is again._host is before
    assert len(before.adapters) == 2
    first = logits(writer)
    assert score(scorer) == alone
    assert torch.equal(logits(writer), first)
    assert not torch.equal(logits(writer), logits(load_causal(listwise(tiny_list_adapter))))
    scorer.close()
    assert torch.equal(logits(writer), first)
    with pytest.raises(CheckpointError, match="closed"):
        score(scorer)


def test_a_lora_writer(tiny_causal, tiny_list_adapter):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    student = load_causal(listwise(tiny_list_adapter))
    assert (student.head, student.trained) == ("vocabulary", True)
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_causal, dtype=torch.float32), tiny_list_adapter).eval()
    with torch.inference_mode():
        expected = model(input_ids=torch.tensor([[5, 6, 7, 8, 9]])).logits[0, -1]
    assert torch.allclose(logits(student), expected, atol=1e-4)


def test_a_merged_student_saves_whole(tmp_path, tiny_list_adapter):
    student = load_causal(listwise(tiny_list_adapter))
    student.save(tmp_path / "merged")
    again = load_causal(listwise(tmp_path / "merged"))
    assert torch.allclose(logits(again), logits(student), atol=1e-5)


def test_only_the_first_layers_are_kept(tmp_path, tiny_causal):
    folder = save_lora(tmp_path / "one", tiny_causal, head="score", layers=1)
    student = load_sequence_classifier(pointwise(folder))
    assert student._host.model.config.num_hidden_layers == 1
    (folder / "dear.json").write_text(json.dumps({"layers": 9, "stage": "pointwise"}))
    with pytest.raises(CheckpointError, match=r"layers 9 is outside 1\.\.2"):
        load_sequence_classifier(pointwise(folder))


def test_a_bare_language_model_scores_zero_shot(tiny_causal):
    student = load_sequence_classifier(pointwise(tiny_causal))
    assert (student.head, student.trained) == ("vocabulary", False)
    assert "zero-shot" in student.notes[0]


def test_a_tokenizer_without_pad_pads_with_its_end(tmp_path):
    folder = save_llama(tmp_path / "m", head="score", pad=False, bos=True)
    student = load_sequence_classifier(pointwise(folder))
    assert student.tokenizer.pad_token_id == student.tokenizer.eos_token_id == student._host.model.config.pad_token_id


def test_an_adapter_belongs_to_one_base(tmp_path, tiny_causal):
    other = save_llama(tmp_path / "other", seed=9)
    folder = save_lora(tmp_path / "lora", tiny_causal, head="score")
    settings = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(settings | {"base_model_name_or_path": str(other)}))
    with pytest.raises(CheckpointError, match=rf"{base_digest(tiny_causal)[:12]}.*{base_digest(other)[:12]}"):
        load_sequence_classifier(pointwise(folder))
    (folder / "adapter_config.json").write_text(json.dumps(settings | {"base_model_name_or_path": None}))
    with pytest.raises(CheckpointError, match="names no base"):
        load_sequence_classifier(pointwise(folder))


def test_an_adapter_of_another_shape_is_refused(tmp_path, tiny_causal):
    deep = save_llama(tmp_path / "deep", layers=3)
    folder = save_lora(tmp_path / "lora", deep, head="vocabulary", card={"base_sha256": None})
    settings = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(settings | {"base_model_name_or_path": str(tiny_causal)}))
    with pytest.raises(CheckpointError, match="does not fit its base"):
        load_causal(listwise(folder))


@pytest.mark.parametrize("keep", [0.5, 0.999, 0.0001])
def test_a_truncated_file_is_named(tmp_path, tiny_scorer, keep):
    folder = tmp_path / "cut"
    shutil.copytree(tiny_scorer, folder)
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[: int(keep * file.stat().st_size)])
    with pytest.raises(CheckpointError, match=r"model\.safetensors.*(copy|download)"):
        load_sequence_classifier(pointwise(folder))


def test_a_truncated_adapter_is_named(tmp_path, tiny_list_adapter):
    folder = tmp_path / "cut"
    shutil.copytree(tiny_list_adapter, folder)
    file = folder / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"adapter_model\.safetensors has"):
        load_causal(listwise(folder))


def test_a_missing_shard_and_pickles(tmp_path, tiny_causal):
    folder = tmp_path / "sharded"
    shutil.copytree(tiny_causal, folder)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "model-00001-of-00002.safetensors"}}))
    with pytest.raises(CheckpointError, match=r"model-00001-of-00002.*missing"):
        check_weights(folder)
    (folder / "model.safetensors.index.json").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="pickles"):
        load_causal(listwise(folder))


def test_missing_weights_are_never_left_random(tmp_path, tiny_scorer):
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "part"
    shutil.copytree(tiny_scorer, folder)
    weights = load_file(folder / "model.safetensors")
    for name, said in (("model.layers.1.mlp.up_proj.weight", "lacks 1 weights"), ("score.weight", r"no score\.weight")):
        save_file({k: v for k, v in weights.items() if k != name}, folder / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(CheckpointError, match=said):
            load_sequence_classifier(pointwise(folder))


def test_a_pointwise_adapter_without_its_head(tmp_path, tiny_score_adapter):
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "headless"
    shutil.copytree(tiny_score_adapter, folder)
    weights = load_file(folder / "adapter_model.safetensors")
    save_file({k: v for k, v in weights.items() if "score" not in k}, folder / "adapter_model.safetensors")
    with pytest.raises(CheckpointError, match="without its score head"):
        load_sequence_classifier(pointwise(folder))


def test_a_scorer_cannot_write(tiny_scorer):
    from dataclasses import replace

    with pytest.raises(CheckpointError, match="pointwise stage"):
        load_causal(replace(pointwise(tiny_scorer), stage="listwise"))


def test_wishes_and_sources_are_checked(tiny_scorer, tmp_path):
    with pytest.raises(BadInput, match="int3"):
        load_sequence_classifier(pointwise(tiny_scorer), precision="int3")
    with pytest.raises(CheckpointError, match="does not exist"):
        fetch(str(tmp_path / "nothing"))
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["BertModel"]}))
    with pytest.raises(CheckpointError, match="BertModel"):
        head_of(tmp_path)


def test_a_hub_checkpoint_offline_says_what_to_do(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match=r"cannot be fetched.*dear-nano"):
        load_sequence_classifier(zoo.known("dear-3b-reranker-ce-v1"))


def test_a_head_with_several_classes_is_refused(tmp_path, tiny_scorer):
    """Its first class may well be the irrelevant one: the ranking would be upside down."""
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "classes"
    shutil.copytree(tiny_scorer, folder)
    weights = load_file(folder / "model.safetensors")
    weights["score.weight"] = torch.cat([weights["score.weight"]] * 2)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="2 classes, not in one score"):
        load_sequence_classifier(zoo.resolve(str(folder)).pointwise)
