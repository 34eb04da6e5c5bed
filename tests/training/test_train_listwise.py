"""Stage 2 end to end on a tiny model: the loss is on the answer alone, the folder is whole, and it loads again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dear.engines.chat import encode_plain, render_chat
from dear.errors import BadInput
from dear.loading import load_tokenizer
from training import listwise, recipes
from training.cot import messages, read_rows, write_rows
from training.cot_augment import Mix, augment, teaching_queries

TINY = ["model.base_sha256=''", "listwise.max_length=4000", "listwise.rows_per_step=2", "listwise.gradient_accumulation=1", "listwise.save_steps=2"]
TINY += ["listwise.precision=fp32", "listwise.log_steps=1", "listwise.eval_steps=3", "output.dtype=fp32", "listwise.lora_rank=4", "listwise.seed=3"]


@pytest.fixture(scope="session")
def rows_file(tmp_path_factory, teaching) -> Path:
    path = tmp_path_factory.mktemp("rows") / "cot.jsonl"
    write_rows(path, augment(teaching_queries(teaching, "train"), 24, "nano", Mix(min_k=2, max_k=4, fast=0.3, seed=1)))
    return path


def recipe_for(base: Path, rows: Path, out: Path, *more: str) -> recipes.Recipe:
    paths = [f"model.base={base}", f"listwise.train={rows}", f"listwise.dev={rows}", f"output.folder={out}"]
    return recipes.load("nano-cpu", [*TINY, *paths, "listwise.max_steps=4", *more])


def test_encode_row_reads_what_inference_writes(base, rows_file):
    tokenizer = load_tokenizer(base, family="nano")
    for row in read_rows(rows_file):
        example = listwise.encode_row(tokenizer, row, "nano")
        prompt = render_chat(tokenizer, messages(row))
        given = "Ranking:" if row.output.startswith("Ranking:") else ""
        assert list(example.ids[: example.answer]) == encode_plain(tokenizer, prompt + given)
        assert tokenizer.decode(example.ids[example.answer :]) == row.output[len(given) :] + "<|im_end|>"


def test_rows_of_another_format_are_refused(base, rows_file):
    tokenizer = load_tokenizer(base, family="dear")
    with pytest.raises(BadInput, match=r"not in listwise\.prompt's format 'dear'.*cot\.format"):
        listwise.Examples(list(read_rows(rows_file))[:2], tokenizer, "dear", 4000)


def test_loss_is_the_models_own_on_the_answer_alone(base, rows_file):
    from transformers import AutoModelForCausalLM

    tokenizer = load_tokenizer(base, family="nano")
    examples = [listwise.encode_row(tokenizer, row, "nano") for row in list(read_rows(rows_file))[:3]]
    model = AutoModelForCausalLM.from_pretrained(base).eval()
    batch = listwise.collate(examples, tokenizer.pad_token_id)
    with torch.no_grad():
        logits = model(input_ids=batch["input_ids"], logits_to_keep=batch["keep"]).logits
        found = listwise.answer_loss(logits, batch["labels"], batch["keep"])
        expected = 0.0
        for example in examples:  # one by one, without padding
            labels = torch.tensor([example.ids])
            labels[0, : example.answer] = -100
            expected += model(input_ids=torch.tensor([example.ids]), labels=labels).loss * (len(example.ids) - example.answer)
    assert found.item() == pytest.approx(float(expected), rel=1e-4)


def test_train_leaves_a_whole_folder_that_loads(base, rows_file, tmp_path):
    from dear import zoo
    from dear.loading import load_causal

    folder = listwise.train(recipe_for(base, rows_file, tmp_path))
    names = {path.name for path in folder.iterdir()}
    wanted = {"adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "recipe.yaml", "versions.json", "data.json", "losses.csv"}
    assert wanted | {"losses.png", "dear.json", "README.md", "scores.json"} <= names
    assert not any(name.endswith((".bin", ".pt", ".pth")) for name in names)
    card = json.loads((folder / "dear.json").read_text())
    assert card["stage"] == "listwise"
    assert card["prompt"] == "nano"
    assert card["base_sha256"] == recipes.digest(str(base))
    assert recipes.load(folder / "recipe.yaml") == recipe_for(base, rows_file, tmp_path)
    student = load_causal(zoo.resolve(str(folder)).listwise)
    assert student.trained
    with student.active():
        hidden = student.decode(torch.tensor([[1, 2, 3]])).last_hidden_state
        assert student.logits(hidden).shape[-1] > 256


def test_training_lowers_the_loss(base, rows_file, tmp_path):
    listwise.train(recipe_for(base, rows_file, tmp_path, "listwise.max_steps=12", "listwise.learning_rate=0.01", "listwise.dev=''"))
    lines = (tmp_path / "listwise" / "losses.csv").read_text().splitlines()
    at = lines[0].split(",").index("loss")
    losses = [float(line.split(",")[at]) for line in lines[1:] if line.split(",")[at]]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_dtype_of_the_saved_adapter(base, rows_file, tmp_path, dtype):
    folder = listwise.train(recipe_for(base, rows_file, tmp_path, f"output.dtype={dtype}", "listwise.max_steps=1", "listwise.dev=''"))
    kinds = {value.dtype for value in load_file(folder / "adapter_model.safetensors").values()}
    assert kinds == {torch.float16 if dtype == "fp16" else torch.bfloat16}


def test_rows_that_are_too_long_are_refused_before_training(base, rows_file, tmp_path):
    with pytest.raises(BadInput, match=r"exceed listwise.max_length 64.*raise max_length"):
        listwise.train(recipe_for(base, rows_file, tmp_path, "listwise.max_length=64"))


def test_wrong_base_hash_is_refused_before_training(base, rows_file, tmp_path):
    with pytest.raises(BadInput, match="base_sha256 is abc"):
        listwise.train(recipe_for(base, rows_file, tmp_path, "model.base_sha256=abc"))
    assert not (tmp_path / "listwise").exists()


def test_start_goes_on_from_an_adapter(base, rows_file, tmp_path):
    first = listwise.train(recipe_for(base, rows_file, tmp_path / "a", "listwise.max_steps=2", "listwise.dev=''"))
    recipe = recipe_for(base, rows_file, tmp_path / "b", f"listwise.start={first}", "listwise.dev=''")
    model, _ = listwise.build(recipe, base)
    begun = {name: value for name, value in model.named_parameters() if "lora_B" in name}
    assert all(value.abs().sum() > 0 for value in begun.values())
    saved = load_file(first / "adapter_model.safetensors")
    name, value = next(iter(begun.items()))
    assert torch.equal(value, saved[name.replace(".default", "")])


def test_start_of_another_shape_is_refused(base, rows_file, tmp_path):
    first = listwise.train(recipe_for(base, rows_file, tmp_path / "a", "listwise.max_steps=1", "listwise.dev=''"))
    with pytest.raises(BadInput, match="another shape"):
        listwise.build(recipe_for(base, rows_file, tmp_path / "b", f"listwise.start={first}", "listwise.lora_rank=8"), base)
    with pytest.raises(BadInput, match=r"holds no adapter_model\.safetensors"):
        listwise.build(recipe_for(base, rows_file, tmp_path / "b", f"listwise.start={tmp_path}"), base)


def test_checkpoints_of_another_run_are_not_gone_on_from(base, rows_file, tmp_path):
    """A run goes on from its own checkpoints alone: more steps are the same run, another rate or other data are not."""
    first = recipe_for(base, rows_file, tmp_path / "out", "listwise.dev=''", "listwise.max_steps=2")
    folder = listwise.train(first)
    assert (folder / "checkpoint-2").is_dir()
    other = tmp_path / "other.jsonl"
    write_rows(other, list(read_rows(rows_file))[:8])
    for changed, said in (
        ("listwise.learning_rate=0.5", "learning_rate"),
        (f"listwise.train={other}", "train"),
        ("listwise.lora_rank=2", "lora_rank"),
    ):
        with pytest.raises(BadInput, match=rf"another run \(listwise.{said} changed\): .*--fresh"):
            listwise.train(recipe_for(base, rows_file, tmp_path / "out", "listwise.dev=''", "listwise.max_steps=2", changed))
    longer = listwise.train(recipe_for(base, rows_file, tmp_path / "out", "listwise.dev=''", "listwise.max_steps=4"))
    steps = [int(line.split(",")[0]) for line in (longer / "losses.csv").read_text().splitlines()[1:]]
    assert max(steps) == 4
    fresh = recipe_for(base, rows_file, tmp_path / "out", "listwise.dev=''", "listwise.max_steps=2", "listwise.learning_rate=0.5")
    listwise.train(fresh, resume=False)
    assert [path.name for path in folder.glob("checkpoint-*")] == ["checkpoint-2"], "the earlier run's are gone"
    assert listwise.train(fresh) == folder, "and the new run's are its own"


def test_a_resumed_run_saves_as_often_as_its_recipe_says(base, rows_file, tmp_path):
    """Also where the run it goes on from saved less often."""
    same = ("listwise.dev=''", "output.keep=9")
    folder = listwise.train(recipe_for(base, rows_file, tmp_path / "out", *same, "listwise.save_steps=2", "listwise.max_steps=2"))
    listwise.train(recipe_for(base, rows_file, tmp_path / "out", *same, "listwise.save_steps=1", "listwise.max_steps=5"))
    assert sorted(path.name for path in folder.glob("checkpoint-*")) == ["checkpoint-2", "checkpoint-3", "checkpoint-4", "checkpoint-5"]
