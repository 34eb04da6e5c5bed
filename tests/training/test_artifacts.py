"""Merge, plan, report and command line."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys

import pytest
import torch

from dear.errors import BadInput, CheckpointError
from training import plan as planning
from training import plan_teacher, recipes, report
from training.merge import average, merge
from training.running import Buckets, last_checkpoint


@pytest.fixture(scope="module", params=["CAUSAL_LM", "SEQ_CLS"])
def adapter(request, base, tmp_path_factory):
    """A random adapter with its dear.json, cut to one layer for the scorer; and the model it sits in."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

    from training import saving

    head = request.param == "SEQ_CLS"
    config = AutoConfig.from_pretrained(base)
    if head:
        config.num_hidden_layers, config.num_labels = 1, 1
    kind = AutoModelForSequenceClassification if head else AutoModelForCausalLM
    torch.manual_seed(1)
    lora = LoraConfig(task_type=request.param, r=4, target_modules=["q_proj", "down_proj"], modules_to_save=["score"] if head else None)
    model = get_peft_model(kind.from_pretrained(base, config=config), lora)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    folder = tmp_path_factory.mktemp("adapter") / ("pointwise" if head else "listwise")
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    saving.tidy(folder, base=str(base))
    card = {"stage": folder.name, "base": str(base), "base_sha256": recipes.digest(str(base)), "layers": 1 if head else None, "prompt": "nano"}
    (folder / "dear.json").write_text(json.dumps(card))
    return folder, model.eval()


def test_merged_checkpoint_gives_the_adapters_numbers(adapter, tmp_path):
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    folder, model = adapter
    out = merge(folder, tmp_path / "whole", dtype="fp32")
    kind = AutoModelForSequenceClassification if folder.name == "pointwise" else AutoModelForCausalLM
    whole = kind.from_pretrained(out).eval()
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        torch.testing.assert_close(whole(input_ids=ids).logits, model(input_ids=ids).logits, atol=1e-5, rtol=1e-4)
    assert (out / "tokenizer.json").is_file()
    card = json.loads((out / "dear.json").read_text())
    assert "base_sha256" not in card
    assert card["stage"] == folder.name
    half = kind.from_pretrained(merge(folder, tmp_path / "half", dtype="bf16"))
    assert half.dtype == torch.bfloat16
    with pytest.raises(BadInput, match="already holds a model"):
        merge(folder, out)


def test_merge_refuses_another_base(adapter, tmp_path, tmp_path_factory):
    from tests.training.conftest import make_base

    other = make_base(tmp_path_factory.mktemp("other"), seed=9)
    with pytest.raises(CheckpointError, match="is another: use the base"):
        merge(adapter[0], tmp_path / "x", base=str(other))
    assert not (tmp_path / "x").exists()


def test_the_mean_of_two_adapters(adapter, tmp_path):
    """Every weight lies between the two by the share; the folder opens as an adapter; another rank, a taken folder and a wild share are refused."""
    from safetensors.torch import load_file, save_file

    folder, _ = adapter
    other, narrow = tmp_path / "other", tmp_path / "narrow"
    for copy in (other, narrow):
        shutil.copytree(folder, copy)
    weights = load_file(folder / "adapter_model.safetensors")
    save_file({name: weight + 1 for name, weight in weights.items()}, other / "adapter_model.safetensors", metadata={"format": "pt"})
    out = average(folder, other, tmp_path / "mean", share=0.25)
    mean = load_file(out / "adapter_model.safetensors")
    assert mean.keys() == weights.keys()
    for name, weight in weights.items():
        torch.testing.assert_close(mean[name], weight + 0.25, atol=2e-3, rtol=2e-3)
        assert mean[name].dtype == weight.dtype
    assert merge(out, tmp_path / "whole", dtype="fp32").is_dir()
    config = json.loads((narrow / "adapter_config.json").read_text()) | {"lora_alpha": 99}
    (narrow / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="other weights, rank or alpha"):
        average(folder, narrow, tmp_path / "x")
    with pytest.raises(BadInput, match="already holds an adapter"):
        average(folder, other, out)
    with pytest.raises(BadInput, match="from 0 to 1"):
        average(folder, other, tmp_path / "x", share=1.5)
    assert not (tmp_path / "x").exists()


def test_plan_counts_what_is_really_there(base):
    from peft import LoraConfig, TaskType, get_peft_model
    from transformers import AutoModelForCausalLM

    section = recipes.load("nano-cpu").listwise
    shape = planning.shape_of(str(base), section, head=False)
    model = AutoModelForCausalLM.from_pretrained(base)
    assert shape.parameters == sum(p.numel() for p in model.parameters())
    lora = LoraConfig(task_type=TaskType.CAUSAL_LM, r=section.lora_rank, target_modules=list(section.lora_targets))
    peft = get_peft_model(model, lora)
    assert shape.trainable == sum(p.numel() for p in peft.parameters() if p.requires_grad)


def test_plan_of_the_published_sizes():
    recipe = recipes.load("8b")
    found = planning.plan(recipe, "listwise", gpu="h100")
    assert found.shape.parameters == pytest.approx(8.03e9, rel=0.001)
    assert found.memory["base weights"][0] == pytest.approx(5.7e9, rel=0.02)  # NF4: linear maps in half a byte, embedding and output in bf16
    assert found.hours > 0
    text = planning.text(found, "h100")
    assert "fits 80 GB" in text
    assert "assumed" in text
    assert planning.plan(recipe, "pointwise", gpus=8, sharded=True).memory["base weights"][0] == pytest.approx(
        planning.plan(recipe, "pointwise").memory["base weights"][0] / 8
    )
    two = planning.plan(recipe, "pointwise", gpus=2).hours
    assert two == pytest.approx(planning.plan(recipe, "pointwise").hours / 2)
    with pytest.raises(BadInput, match="unknown gpu 'b17'"):
        planning.plan(recipe, "listwise", gpu="b17")
    assert planning.plan(recipes.load("3b"), "pointwise").shape.parameters == pytest.approx(3.2e9, rel=0.01)
    assert planning.plan(recipes.load("teacher-13b"), "pointwise").shape.parameters == pytest.approx(12.9e9, rel=0.01)


def test_plan_of_the_teachers_scoring():
    found = plan_teacher.plan_teacher(recipes.load("8b", ["teacher.precision=nf4"]), gpu="h200")
    assert found.texts == 40_000 * 32
    assert found.tokens == found.texts * 228
    assert found.memory == pytest.approx(7.0e9 + planning.OVERHEAD, rel=0.05)  # 12.9e9 weights in half a byte, embedding in two
    assert found.hours == pytest.approx(found.tokens * 2 * 12.7e9 / (989e12 * plan_teacher.READING) / 3600, rel=0.01)
    half = plan_teacher.plan_teacher(recipes.load("8b"), gpu="h200", gpus=2)
    assert half.hours == pytest.approx(found.hours / 2)
    assert half.memory == pytest.approx(25.6e9 + planning.OVERHEAD, rel=0.01)
    assert "pairs to score" in plan_teacher.text(half)
    assert plan_teacher.plan_teacher(recipes.load("nano-cpu"), gpu="cpu").memory == pytest.approx(90.9e6, rel=0.01)
    unknown = plan_teacher.plan_teacher(recipes.load("nano-cpu", ["teacher.model=bi-encoder:some/where"]))
    assert unknown.hours is None
    assert "not known before it is opened" in plan_teacher.text(unknown)
    assert plan_teacher.plan_teacher(recipes.load("nano-cpu", ["data.train={}"])) is None
    with pytest.raises(BadInput, match="unknown gpu 'b17'"):
        plan_teacher.plan_teacher(recipes.load("8b"), gpu="b17")


HISTORY = [
    {"step": 1, "loss": 3.0, "loss_kl": 1.0, "learning_rate": 1e-4, "epoch": 0.1},
    {"step": 2, "loss": 2.0, "loss_kl": 0.5, "learning_rate": 1e-4, "epoch": 0.2},
    {"step": 2, "eval_loss": 2.5},
    {"step": 2, "train_runtime": 12.0, "train_loss": 2.5},
]


def test_report_says_what_was_done(tmp_path, monkeypatch):
    data = tmp_path / "data"
    data.mkdir()
    (data / "SOURCES.tsv").write_text("set\tlicence\nsquad\tCC BY-SA 4.0\n")
    monkeypatch.setenv("DEAR_DATA", str(data))
    (tmp_path / "rows.jsonl").write_text('{"source": "quoted/squad"}\n{"source": "teaching"}\n')
    recipe = recipes.load("nano-cpu", [f"output.folder={tmp_path / 'out'}"])
    folder = recipe.folder("listwise")
    report.write_beside(folder, recipe, HISTORY, {"train": tmp_path / "rows.jsonl", "dev": ""}, {"dev": {"nDCG@10": 0.8123}}, stage="listwise")
    card = (folder / "README.md").read_text()
    assert "CC BY-SA 4.0" in card
    assert "dev: nDCG@10 | 0.8123" in card
    assert "steps 2, first loss 3, last loss 2, last dev loss 2.5, best dev loss 2.5, seconds since the last start 12" in card
    assert str(tmp_path) not in card.replace("out/nano", "")
    (described,) = json.loads((folder / "data.json").read_text())["files"]
    assert described["rows"] == 2
    report.add_scores(folder, {"noveleval": {"nDCG@10": 0.7}})
    assert json.loads((folder / "scores.json").read_text()) == {"dev": {"nDCG@10": 0.8123}, "noveleval": {"nDCG@10": 0.7}}
    again = (folder / "README.md").read_text()
    assert "noveleval: nDCG@10 | 0.7" in again
    assert again.replace("| noveleval: nDCG@10 | 0.7 |\n", "") == card
    assert json.loads((folder / "versions.json").read_text())["torch"] == torch.__version__
    with (folder / "losses.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["loss"] for row in rows] == ["3.0", "2.0"]
    assert rows[1]["eval_loss"] == "2.5"
    assert (folder / "losses.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(BadInput, match=r"data file train .* does not exist"):
        report.write_beside(folder, recipe, HISTORY, {"train": tmp_path / "gone"}, stage="listwise")


def test_report_of_a_run_that_is_going(tmp_path):
    recipe = recipes.load("nano-cpu", [f"output.folder={tmp_path}"])
    with pytest.raises(BadInput, match="holds no run"):
        report.rebuild(recipe)
    for step in (2, 10):
        place = tmp_path / "listwise" / f"checkpoint-{step}"
        place.mkdir(parents=True)
        (place / "trainer_state.json").write_text(json.dumps({"log_history": HISTORY[: step // 2]}))
    (run,) = report.rebuild(recipe)
    assert not run.ended
    assert len(run.history) == 4
    assert "listwise" in report.table([run])
    assert (tmp_path / "listwise" / "losses.png").is_file()


def test_last_checkpoint_passes_over_a_broken_one(tmp_path):
    from safetensors.torch import save_file

    assert last_checkpoint(tmp_path) is None
    for step in (8, 10, 12):
        place = tmp_path / f"checkpoint-{step}"
        place.mkdir()
        save_file({"w": torch.ones(3)}, place / "adapter_model.safetensors")
        (place / "trainer_state.json").write_text("{}")
    (tmp_path / "checkpoint-12" / "trainer_state.json").write_text('{"cut')
    assert last_checkpoint(tmp_path).endswith("checkpoint-10")
    path = tmp_path / "checkpoint-10" / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    assert last_checkpoint(tmp_path).endswith("checkpoint-8")


def test_buckets_are_a_permutation_of_like_lengths():
    lengths = [(37 * i) % 100 for i in range(403)]
    sampler = Buckets(lengths, 4, seed=1)
    first = list(sampler)
    assert sorted(first) == list(range(403))
    assert list(sampler) == first
    sampler.set_epoch(1)
    assert list(sampler) != first
    spread = [max(lengths[i] for i in first[b : b + 4]) - min(lengths[i] for i in first[b : b + 4]) for b in range(0, 400, 4)]
    assert sum(spread) / len(spread) < 5


def cli(*arguments: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, "-m", "training", *arguments], capture_output=True, text=True, timeout=120, check=False, env=environment)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("listwise", "nano-cpu", "listwise.trian=x"), "error: unknown key 'listwise.trian' in the recipe: did you mean 'train'?"),
        (("pointwise", "nano-cpu", "pointwise.train=gone.jsonl"), "error: pointwise.train 'gone.jsonl' does not exist: make it with"),
        (("cot", "nano-cpu", "--only", "generate", "cot.groups=gone"), "error: cot.groups 'gone' does not exist"),
        (("report", "nano-cpu", "output.folder=gone"), "error: gone holds no run"),
        (("merge", "nano-cpu", "output.folder=gone"), "error: gone/listwise holds no adapter_config.json"),
        (("average", "gone", "gone", "new"), "error: gone holds no adapter_config.json"),
        (("mine", "nano-cpu", "data.root=gone"), "error: data.train names 'squad', and gone/train has neither"),
        (("teacher", "nano-cpu", "mining.out=gone"), "error: mining.out 'gone' does not exist"),
    ],
)
def test_errors_are_one_line_and_exit_code_2(arguments, message, monkeypatch):
    monkeypatch.delenv("DEAR_DATA", raising=False)
    done = cli(*arguments)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line]
    assert line.startswith(message)


def test_cot_and_plan_from_the_command_line(tmp_path):
    out, dev = tmp_path / "cot.jsonl", tmp_path / "dev.jsonl"
    small = ["cot.rows=30", "cot.quoted_rows=0", "cot.dev_rows=5", f"cot.out={out}", f"cot.dev_out={dev}", "data.test=[]"]
    done = cli("cot", "nano-cpu", *small)
    assert done.returncode == 0, done.stderr
    assert "30 rows in" in done.stdout
    assert done.stdout.count("ok\n") == 2
    assert len(out.read_text().splitlines()) == 30
    done = cli("plan", "nano-cpu", "--gpu", "cpu")
    assert done.returncode == 0, done.stderr
    assert "together" in done.stdout
