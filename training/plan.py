"""What a run will take, before a cent is spent: parameters, memory per GPU by component, tokens, hours. From shapes alone.

The model is built on the meta device (no weights). Everything that is assumed is printed with the result; nothing here was measured
except where it says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dear import zoo
from dear.errors import BadInput, DearError
from training.recipes import Listwise, Pointwise, Recipe

GB = 1e9
OVERHEAD = 1.5 * GB  # CUDA context, workspaces, fragmentation: a common allowance
LIST_TOKENS = 150  # tokens of a passage in a list, its identifier included, where no file of rows is there to count
ANSWER_TOKENS = 250
GROUPS, GROUP = 50_000, 16  # groups and passages a group, where no file of groups is there to count


@dataclass(frozen=True, slots=True)
class Gpu:
    """A device: memory in GB, peak dense bf16 TFLOP/s, the share of it that training reaches (assumed), and where the peak is from."""

    memory: float
    tflops: float
    share: float
    source: str


GPUS = {
    "h200": Gpu(141, 989, 0.35, "NVIDIA H200 data sheet, bf16 without sparsity"),
    "h100": Gpu(80, 989, 0.35, "NVIDIA H100 SXM data sheet, bf16 without sparsity"),
    "a100": Gpu(80, 312, 0.40, "NVIDIA A100 data sheet, bf16"),
    "a100-40": Gpu(40, 312, 0.40, "NVIDIA A100 data sheet, bf16"),
    "l40s": Gpu(48, 362, 0.35, "NVIDIA L40S data sheet, bf16 without sparsity"),
    "a10g": Gpu(24, 70, 0.40, "AWS G5 instances, NVIDIA A10G, bf16"),
    "l4": Gpu(24, 121, 0.35, "NVIDIA L4 data sheet, bf16 without sparsity"),
    "rtx4090": Gpu(24, 165, 0.40, "NVIDIA Ada white paper, bf16 with fp32 accumulation"),
    "cpu-bf16": Gpu(24, 0.25, 1.0, "measured: two EPYC cores with AVX-512 BF16, the 135M base, 480 tokens/s in rows of 950"),
    "cpu": Gpu(24, 0.06, 1.0, "measured: two EPYC cores with AVX2, fp32, the 135M base, 134 tokens/s"),
}


@dataclass(frozen=True, slots=True)
class Shape:
    """What the counts need of a model, read off its meta-device modules."""

    parameters: int
    linear: int  # weights of the layers' linear maps
    trainable: int
    layers: int
    hidden: int
    kv: int
    ffn: int
    vocabulary: int
    targets_in: int  # summed input widths of a layer's LoRA targets


@dataclass(frozen=True, slots=True)
class Plan:
    """The result: sizes in bytes by component (with the formula), tokens, hours."""

    stage: str
    shape: Shape
    memory: dict[str, tuple[float, str]]
    tokens: float
    hours: float
    assumptions: tuple[str, ...]

    @property
    def total(self) -> float:
        """Bytes on one GPU."""
        return sum(size for size, _ in self.memory.values())


def plan(recipe: Recipe, stage: str, *, gpu: str = "h100", gpus: int = 1, sharded: bool = False) -> Plan:
    """The plan of a stage ("pointwise" or "listwise") on `gpus` devices, weights split over them when `sharded` (FSDP, ZeRO-3).

    Raises `BadInput` on an unknown GPU, or a base whose shape is neither on this disk nor in the zoo.
    """
    device = device_of(gpu)
    if gpus < 1:
        raise BadInput(f"gpus {gpus} is below 1: give at least one")
    section = getattr(recipe, stage)
    shape = shape_of(recipe.model.base, section, head=stage == "pointwise")
    work = _pointwise_work(section) if stage == "pointwise" else _listwise_work(recipe)
    memory = _memory(shape, section, work, gpus if sharded else 1, gpu)
    rows = rows_of(section.train) or (asked_groups(recipe) if stage == "pointwise" else 0) or work.rows
    tokens = section.epochs * rows * work.tokens
    if section.max_steps > 0:
        rows_at_once = section.groups_per_step if stage == "pointwise" else section.rows_per_step
        tokens = section.max_steps * rows_at_once * work.tokens * section.gradient_accumulation * gpus
    flops = tokens * _flops_per_token(shape, section, work.length)
    hours = flops / (device.tflops * 1e12 * device.share * gpus) / 3600
    said = (
        f"{gpu}: {device.tflops:g} TFLOP/s ({device.source}), {device.share:.0%} of it reached; {gpus} in all",
        f"{rows:,} rows"
        + ("" if rows_of(section.train) else f" (assumed, {section.train} is not there)")
        + f", {work.tokens:,.0f} tokens each ({work.said})",
        "LoRA: the frozen weights need no gradient of their own, so a token costs 4 FLOPs a weight"
        + (", and 2 more for the layers computed again by checkpointing" if section.gradient_checkpointing else ""),
        "dropout keeps a copy of every LoRA input; attention keeps no matrix (SDPA); the output layer's time is left out",
    )
    return Plan(stage, shape, memory, tokens, hours, said)


@dataclass(frozen=True, slots=True)
class _Work:
    rows: int  # where no file says
    tokens: float  # a row
    at_once: float  # tokens on a device in one forward pass
    length: int  # of a sequence
    logits: float  # output positions computed at once, times their width
    said: str


def _pointwise_work(section: Pointwise) -> _Work:
    length = section.q_len + section.p_len
    passages = _group_size(section.train) or GROUP
    pairs = section.groups_per_step * passages
    return _Work(GROUPS, passages * length, pairs * length, length, pairs, f"{passages:g} passages of at most {length}")


def _listwise_work(recipe: Recipe) -> _Work:
    section = recipe.listwise
    k = (recipe.cot.min_k + recipe.cot.max_k) / 2
    length = min(section.max_length, round(k * LIST_TOKENS + ANSWER_TOKENS))
    full = section.rows_per_step * section.max_length  # memory must hold the longest rows, hours count the usual ones
    return _Work(recipe.cot.rows + recipe.cot.quoted_rows, length, full, section.max_length, section.rows_per_step * ANSWER_TOKENS, f"{k:g} passages")


def shape_of(base: str, section: Pointwise | Listwise, *, head: bool) -> Shape:
    """Counts from the meta-device model: nothing is loaded, and a gated base need not be here."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    config = _config(base)
    config.num_hidden_layers = section.layers or config.num_hidden_layers
    config.num_labels = 1
    with torch.device("meta"):
        model: Any = (AutoModelForSequenceClassification if head else AutoModelForCausalLM).from_config(config)
    linear = trainable = targets_in = 0
    for name, module in model.base_model.named_modules():
        if isinstance(module, torch.nn.Linear):
            linear += module.weight.numel()
            if name.rpartition(".")[2] in section.lora_targets:
                trainable += section.lora_rank * (module.in_features + module.out_features)
                targets_in += module.in_features
    if not trainable:
        raise BadInput(f"lora_targets {', '.join(section.lora_targets)} are no modules of {base}: use for instance q_proj, v_proj")
    heads = config.num_key_value_heads * (getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
    total = sum(p.numel() for p in model.parameters())
    return Shape(
        total,
        linear,
        trainable + (config.hidden_size if head else 0),
        config.num_hidden_layers,
        config.hidden_size,
        heads,
        config.intermediate_size,
        config.vocab_size,
        targets_in // config.num_hidden_layers,
    )


def _config(base: str) -> Any:
    from transformers import AutoConfig, LlamaConfig

    for shape in (zoo.LLAMA_3B, zoo.LLAMA_8B, zoo.LLAMA_13B):
        if base == shape.id:
            head = 128 if shape.kv % 128 == 0 else 64
            return LlamaConfig(
                vocab_size=shape.vocabulary,
                hidden_size=shape.hidden,
                intermediate_size=shape.ffn,
                num_hidden_layers=shape.layers,
                num_attention_heads=shape.hidden // head,
                num_key_value_heads=shape.kv // head,
                head_dim=head,
                tie_word_embeddings=shape.tied,
            )
    from dear.weights import fetch

    try:
        return AutoConfig.from_pretrained(fetch(base), local_files_only=True, trust_remote_code=False)
    except DearError as error:
        raise BadInput(f"model.base {base!r} is not on this disk and its shape is not in the zoo ({error}): fetch its config.json first") from error


def _memory(shape: Shape, section: Any, work: _Work, shards: int, gpu: str) -> dict[str, tuple[float, str]]:
    cpu = gpu.startswith("cpu")
    wide = 4 if section.precision == "fp32" or (section.precision == "auto" and gpu == "cpu") else 2
    four = getattr(section, "quantise", "none") == "nf4" and not cpu
    rest = shape.parameters - shape.linear
    if four:
        weights = shape.linear * zoo.NF4_BITS / 8 + rest * 2
        said = f"(linear {shape.linear:,} x {zoo.NF4_BITS / 8:.3f} + other {rest:,} x 2)"
    else:
        weights, said = shape.parameters * wide, f"parameters {shape.parameters:,} x {wide}"
    layer = wide * (7 * shape.hidden + 2 * shape.kv + 4 * shape.ffn) + (wide + 1) * shape.targets_in * (section.lora_dropout > 0)
    if section.gradient_checkpointing:
        active = work.at_once * (shape.layers * shape.hidden * wide + layer)
        how = f"tokens {work.at_once:,.0f} x (layers {shape.layers} x hidden {shape.hidden} x {wide} + one layer {layer:,})"
    else:
        active, how = work.at_once * shape.layers * layer, f"tokens {work.at_once:,.0f} x layers {shape.layers} x {layer:,}"
    found = {
        "base weights": (weights / shards, said + (f" / {shards}" if shards > 1 else "")),
        "adapter": (shape.trainable * 4 / shards, f"trainable {shape.trainable:,} x 4 (fp32)"),
        "gradients": (shape.trainable * 4 / shards, f"trainable {shape.trainable:,} x 4"),
        "Adam": (shape.trainable * 8 / shards, f"trainable {shape.trainable:,} x 2 x 4"),
        "activations": (active, how),
    }
    if isinstance(section, Listwise):
        found["output layer"] = (
            work.logits * shape.vocabulary * (wide + 8),
            f"answer tokens {work.logits:,.0f} x vocabulary {shape.vocabulary:,} x ({wide} + 4 + 4)",
        )
    return found if cpu else found | {"overhead": (OVERHEAD, "CUDA context, workspaces, fragmentation")}


def _flops_per_token(shape: Shape, section: Any, length: int) -> float:
    """Forward 2 a weight, backward 2 more (activations only), checkpointing 2 more; attention 2 x length x hidden a layer and pass, causal."""
    passes = 2 + section.gradient_checkpointing
    return passes * (2 * (shape.linear + 2 * shape.trainable) + 2 * length * shape.hidden * shape.layers)


def device_of(gpu: str) -> Gpu:
    """The device of this name; raises `BadInput` on an unknown one."""
    if gpu not in GPUS:
        raise BadInput(f"unknown gpu {gpu!r}: use one of {', '.join(GPUS)}")
    return GPUS[gpu]


def asked_groups(recipe: Recipe) -> int:
    """How many groups the recipe asks of its sets; 0 where it takes all of one."""
    return sum(recipe.data.train.values()) if all(recipe.data.train.values()) else 0


def rows_of(path: str) -> int:
    """How many rows the file has; 0 where there is none."""
    from training.report import describe

    return describe("train", Path(path)).rows if Path(path).is_file() else 0


def _group_size(path: str) -> float:
    from training.groups import read_groups

    if not Path(path).is_file():
        return 0
    sizes = [len(group.passages) for group in read_groups(path)]
    return sum(sizes) / max(1, len(sizes))


def text(found: Plan, gpu: str) -> str:
    """The plan as lines for a terminal."""
    shape = found.shape
    lines = [
        f"{found.stage}: {shape.parameters / 1e6:,.1f}M parameters in {shape.layers} layers, "
        f"{shape.trainable / 1e6:,.2f}M trainable ({shape.trainable / shape.parameters:.2%})"
    ]
    lines += [f"  {name:13s} {size / GB:8.2f} GB  {said}" for name, (size, said) in found.memory.items()]
    memory = GPUS[gpu].memory
    fits = "fits" if found.total / GB <= memory else "does NOT fit"
    lines.append(f"  {'together':13s} {found.total / GB:8.2f} GB  {fits} {memory:g} GB")
    lines.append(f"  tokens {found.tokens:,.0f}, about {hours_text(found.hours)}")
    return "\n".join(lines + [f"  assumed: {said}" for said in found.assumptions])


def hours_text(hours: float) -> str:
    """A duration for people."""
    if not math.isfinite(hours) or hours <= 0:
        return "no time: there are no rows yet, make them or name a file"
    return f"{hours:,.1f} hours" if hours >= 1 else f"{hours * 60:,.0f} minutes" if hours * 60 >= 1 else "under a minute"
