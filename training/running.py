"""What both trainers share: the Trainer's settings, precision, batches of like lengths, the last whole checkpoint."""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch.utils.data import Sampler
from transformers import TrainerCallback, TrainingArguments

from dear.errors import BadInput
from training.recipes import Listwise, Pointwise, Recipe, as_dict
from training.saving import write_json

logger = logging.getLogger(__name__)

RUN = "run.json"  # beside the checkpoints: what they are checkpoints of
MAY_CHANGE = {"max_steps", "epochs", "log_steps", "save_steps", "eval_steps", "dev", "compile", "attention", "gradient_checkpointing", "excerpt"}
POOL = 50  # batches' worth of examples that are sorted by length together


def uses_bf16(precision: str) -> bool:
    """Whether to compute in bf16: as the recipe says, or, for "auto", where the machine multiplies in it.

    That is a CUDA device of compute capability 8, or a CPU with AVX-512 BF16 or AMX; elsewhere bf16 is slower than fp32.
    """
    if precision != "auto":
        return precision == "bf16"
    if torch.cuda.is_available():
        found = torch.cuda.get_device_capability()[0] >= 8
    else:
        cpu = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        found = bool(cpu.get("avx512_bf16") or cpu.get("amx_bf16"))
    logger.info("precision auto: %s", "bf16, the device multiplies in it" if found else "fp32, the device has no fast bf16")
    return found


def arguments(recipe: Recipe, settings: Pointwise | Listwise, folder: Path, batch: int) -> TrainingArguments:
    """The Trainer's settings of a stage; `batch` is how many groups or rows a device reads at once.

    Raises `BadInput` where one process would be given several GPUs: its batches would be split in ways that neither loss bears.
    """
    found = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=batch,
        per_device_eval_batch_size=batch,
        gradient_accumulation_steps=settings.gradient_accumulation,
        learning_rate=settings.learning_rate,
        num_train_epochs=settings.epochs,
        max_steps=settings.max_steps,
        warmup_steps=settings.warmup_ratio,
        lr_scheduler_type=settings.scheduler,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        gradient_checkpointing=settings.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False} if settings.gradient_checkpointing else None,
        bf16=uses_bf16(settings.precision),
        use_cpu=not torch.cuda.is_available(),
        seed=settings.seed,
        data_seed=settings.seed,
        logging_steps=settings.log_steps,
        save_steps=settings.save_steps,
        save_total_limit=recipe.output.keep,
        eval_strategy="steps" if settings.dev else "no",
        eval_steps=settings.eval_steps,
        prediction_loss_only=isinstance(settings, Listwise),  # stage 1 measures nDCG over its dev groups
        remove_unused_columns=False,
        label_names=["labels"],
        dataloader_num_workers=0,
        report_to=[recipe.output.log_to] if recipe.output.log_to != "none" else [],
    )
    if found.n_gpu > 1:
        remedy = "start it with `accelerate launch` and one of training/configs, or set CUDA_VISIBLE_DEVICES=0"
        raise BadInput(f"one process sees {found.n_gpu} GPUs, the limit is 1: {remedy}")
    return found


def identity(recipe: Recipe, stage: str) -> dict[str, Any]:
    """What a run's weights depend on: base, the stage's settings, the training file's content; not how long it goes on or how it is watched."""
    settings = as_dict(getattr(recipe, stage))
    kept = {f"{stage}.{key}": value for key, value in settings.items() if key not in MAY_CHANGE}
    # what a step reads counts, however it is shared out: two processes with half the accumulation read the same
    kept[f"{stage}.gradient_accumulation"] = settings["gradient_accumulation"] * int(os.environ.get("WORLD_SIZE") or 1)
    kept[f"{stage}.train"] = _content(Path(settings["train"]))
    if settings["start"]:
        kept[f"{stage}.start"] = _content(Path(settings["start"]) / "adapter_model.safetensors")
    return kept | {"model.base": recipe.model.base, "model.base_sha256": recipe.model.base_sha256}


def resumable(folder: Path, run: dict[str, Any]) -> str | None:
    """The checkpoint to go on from, or None; raises `BadInput` where the checkpoints in `folder` belong to another run."""
    last = last_checkpoint(folder)
    if last is None:
        return None
    before = json.loads((folder / RUN).read_text(encoding="utf-8")) if (folder / RUN).is_file() else {}
    if before != run:
        changed = sorted(key for key in before.keys() | run.keys() if before.get(key) != run.get(key))
        remedy = "start again with --fresh, which deletes them, or set output.folder=ANOTHER"
        raise BadInput(f"{folder} holds checkpoints of another run ({', '.join(changed[:4])} changed): {remedy}")
    return last


def claim(folder: Path, run: dict[str, Any], trainer: Any, *, resume: bool) -> None:
    """Say beside the checkpoints whose they are, and delete earlier ones of a run that starts again; on the main process, the others wait."""
    if trainer.is_world_process_zero():
        folder.mkdir(parents=True, exist_ok=True)
        if not resume:
            for old in folder.glob("checkpoint-*"):
                shutil.rmtree(old)
        write_json(folder / RUN, run)
    trainer.accelerator.wait_for_everyone()


def _content(path: Path) -> str:
    """The SHA-256 of a file's content, uncompressed; empty where there is no such file."""
    if not path.is_file():
        return ""
    found = hashlib.sha256()
    with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()


def start_from(model: Any, folder: str) -> None:
    """Load the adapter in `folder` into a freshly built model; raises `BadInput` where it is absent or of another shape."""
    from peft import set_peft_model_state_dict

    path = Path(folder) / "adapter_model.safetensors"
    if not path.is_file():
        raise BadInput(f"start {folder!r} holds no adapter_model.safetensors: name a folder that training wrote, or leave it empty")
    try:
        found = set_peft_model_state_dict(model, {name: value.float() for name, value in load_file(path).items()})
    except RuntimeError as error:
        raise BadInput(f"the adapter in {folder!r} has another shape than the recipe's (rank, layers or targets): {error}") from error
    missing = [name for name in found.missing_keys if "lora_" in name or "modules_to_save" in name]
    if missing or found.unexpected_keys:
        raise BadInput(f"the adapter in {folder!r} does not fit: {len(missing)} parts missing, {len(found.unexpected_keys)} unknown")


class Buckets(Sampler[int]):
    """Indices in an order whose runs of `batch` are of like length: shuffled, sorted by length within pools, batches shuffled.

    The order depends on seed and epoch alone, so every process and every resumed run sees the same one.
    """

    def __init__(self, lengths: Sequence[int], batch: int, seed: int) -> None:
        self.lengths, self.batch, self.seed, self.epoch = list(lengths), batch, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next pass is for."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(1_000_003 * self.epoch + self.seed)
        order = torch.randperm(len(self.lengths), generator=generator).tolist()
        size = self.batch * POOL
        ordered: list[int] = []
        for start in range(0, len(order), size):
            ordered += sorted(order[start : start + size], key=lambda i: -self.lengths[i])
        batches = [ordered[i : i + self.batch] for i in range(0, len(ordered), self.batch)]
        whole, rest = [b for b in batches if len(b) == self.batch], [b for b in batches if len(b) < self.batch]
        for i in torch.randperm(len(whole), generator=generator).tolist():
            yield from whole[i]
        for some in rest:
            yield from some


class EpochOf(TrainerCallback):
    """Tells the sampler its epoch; accelerate does not reach it below the wrappers of a resumed, distributed run."""

    def __init__(self, sampler: Buckets) -> None:
        self.sampler = sampler

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Called by the Trainer before it iterates."""
        self.sampler.set_epoch(int((state.epoch or 0) + 1e-6))


class StepsOf(TrainerCallback):
    """How often a run logs, measures and saves is the recipe's also after a resume, where the Trainer takes it from the checkpoint's state."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Called by the Trainer after it has read the checkpoint."""
        state.compute_steps(args, state.max_steps)


def last_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint that is whole, or None: a kill may leave a half-written one, which is passed over."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2] or 0), reverse=True)
    for path in found:
        if _is_whole(path):
            return str(path)
        logger.warning("%s is not whole: going on from the one before", path)
    return None


def _is_whole(path: Path) -> bool:
    weights = [*path.glob("*.safetensors"), *path.glob("pytorch_model_fsdp*"), *path.glob("global_step*")]
    try:
        json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
        for file in path.glob("*.safetensors"):
            with safe_open(file, "pt") as handle:
                handle.keys()
    except (OSError, ValueError, SafetensorError):
        return False
    return bool(weights)
