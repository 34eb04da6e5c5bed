"""Steps on the base as NF4 rounds it: bitsandbytes' own values, in a share of the steps, and the base in full again after each."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from dear.errors import BadInput
from training import listwise, pointwise, recipes
from training.cot import write_rows
from training.cot_augment import Mix, augment, teaching_queries
from training.groups import write_groups
from training.prepare import teaching_groups
from training.rounding import RoundedSteps, as_nf4, frozen_linear

FEW = ["model.base_sha256=''", "listwise.max_length=4000", "listwise.rows_per_step=2", "listwise.gradient_accumulation=1", "listwise.save_steps=2"]
FEW += ["listwise.precision=fp32", "listwise.log_steps=1", "output.dtype=fp32", "listwise.lora_rank=4", "listwise.max_steps=4", "listwise.dev=''"]

SCORING = ["pointwise.layers=1", "pointwise.kl=0", "pointwise.precision=fp32", "pointwise.log_steps=1", "pointwise.lora_rank=4", "pointwise.dev=''"]


@pytest.fixture(scope="module")
def groups_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("groups") / "groups.jsonl"
    write_groups(path, list(teaching_groups("dev"))[:6])
    return path


@pytest.fixture(scope="module")
def rows_file(tmp_path_factory, teaching) -> Path:
    path = tmp_path_factory.mktemp("rows") / "cot.jsonl"
    write_rows(path, augment(teaching_queries(teaching, "train"), 16, "nano", Mix(min_k=2, max_k=4, seed=1)))
    return path


def recipe_for(base: Path, rows: Path, out: Path, *more: str) -> recipes.Recipe:
    return recipes.load("nano-cpu", [*FEW, f"model.base={base}", f"listwise.train={rows}", f"output.folder={out}", *more])


def test_rounding_keeps_shape_and_type_and_sixteen_values_a_block():
    torch.manual_seed(0)
    weight = torch.randn(96, 64, dtype=torch.bfloat16)
    rounded = as_nf4(weight)
    assert rounded.shape == weight.shape
    assert rounded.dtype == weight.dtype
    assert max(len(block.unique()) for block in rounded.reshape(-1, 64)) <= 16
    assert 0.05 < (rounded.float() - weight.float()).norm() / weight.float().norm() < 0.15


def test_rounded_weights_are_those_of_a_base_loaded_in_nf4(base):
    from bitsandbytes.functional import dequantize_4bit
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    four_bits = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)
    whole = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    four = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, quantization_config=four_bits, device_map={"": "cpu"})
    packed = [module.weight for module in four.modules() if hasattr(getattr(module, "weight", None), "quant_state")]
    linear = frozen_linear(whole.requires_grad_(False))
    assert len(packed) == len(linear) > 0
    for code, weight in zip(packed, linear, strict=True):
        found = as_nf4(weight)
        assert not torch.equal(found, weight)
        assert torch.allclose(dequantize_4bit(code.data, code.quant_state).float(), found, atol=1e-6)


def test_a_share_of_the_steps_is_rounded_and_always_the_same():
    some = RoundedSteps(0.5, seed=3)
    chosen = [some.rounds(step) for step in range(200)]
    assert 70 < sum(chosen) < 130
    assert chosen == [RoundedSteps(0.5, seed=3).rounds(step) for step in range(200)]
    assert chosen != [RoundedSteps(0.5, seed=4).rounds(step) for step in range(200)]
    assert all(RoundedSteps(1.0, seed=3).rounds(step) for step in range(50))


class Watch(TrainerCallback):
    """Notes a base weight as each step finds it, and as it leaves it."""

    def __init__(self) -> None:
        self.within: list[torch.Tensor] = []
        self.after: list[torch.Tensor] = []

    def on_pre_optimizer_step(self, args, state, control, model=None, **others):
        self.within.append(frozen_linear(model)[0].clone())

    def on_log(self, args, state, control, model=None, **others):
        self.after.append(frozen_linear(model)[0].clone())


@pytest.mark.parametrize("stage", [pointwise, listwise], ids=["pointwise", "listwise"])
def test_steps_read_both_and_leave_the_base_in_full(base, rows_file, groups_file, tmp_path, monkeypatch, stage):
    name = stage.__name__.rpartition(".")[2]
    trainer = pointwise.PointwiseTrainer if stage is pointwise else listwise.ListwiseTrainer
    watch, init = Watch(), trainer.__init__

    def watched(self, *args, **options):
        init(self, *args, **options)
        self.add_callback(watch)

    monkeypatch.setattr(trainer, "__init__", watched)
    recipe = recipe_for(base, rows_file, tmp_path, *SCORING, f"pointwise.train={groups_file}", f"{name}.rounded=0.5", f"{name}.max_steps=8")
    model, _ = stage.build(recipe, base)
    full = frozen_linear(model)[0].clone()
    stage.train(recipe)
    expected = [RoundedSteps(0.5, getattr(recipe, name).seed).rounds(step) for step in range(8)]
    assert 0 < sum(expected) < 8
    assert [not torch.equal(weight, full) for weight in watch.within] == expected
    assert all(torch.equal(weight, as_nf4(full)) for weight, rounded in zip(watch.within, expected, strict=True) if rounded)
    assert watch.after
    assert all(torch.equal(weight, full) for weight in watch.after)


def test_a_run_that_goes_on_meets_the_same_steps(base, rows_file, tmp_path):
    mixed = ("listwise.rounded=0.5", "listwise.scheduler=constant")
    whole = listwise.train(recipe_for(base, rows_file, tmp_path / "whole", *mixed))
    listwise.train(recipe_for(base, rows_file, tmp_path / "cut", *mixed, "listwise.max_steps=2"))
    again = listwise.train(recipe_for(base, rows_file, tmp_path / "cut", *mixed))
    one, other = (load_file(folder / "adapter_model.safetensors") for folder in (whole, again))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    never = listwise.train(recipe_for(base, rows_file, tmp_path / "never", "listwise.scheduler=constant"))
    plain = load_file(never / "adapter_model.safetensors")
    assert any(not torch.equal(value, plain[name]) for name, value in one.items()), "rounding changes what is learnt"


def test_rounding_beside_a_base_in_nf4_is_refused(base, rows_file, tmp_path):
    with pytest.raises(BadInput, match=r"listwise\.rounded is 0\.5 beside listwise\.quantise nf4"):
        listwise.train(recipe_for(base, rows_file, tmp_path, "listwise.rounded=0.5", "listwise.quantise=nf4"))
    assert not (tmp_path / "listwise").exists()
