"""Stage 1: a compact student learns to score pairs, from labels and from the teacher's scores (section 3.1 of the paper).

The base is cut to `layers`, gets LoRA and a fresh score head, and reads groups: every passage of a query in one step, so that
the three losses see the same list that the teacher scored. transformers' Trainer does the rest: mixed precision, resuming,
one GPU or many.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset
from transformers import Trainer, set_seed

from dear.errors import BadInput
from dear.loading import load_tokenizer
from dear.metrics import evaluate
from dear.pairs import encode_pair
from training import practice, recipes, report, saving
from training.groups import Group, collate, padded, read_groups, scatter, without_titles
from training.losses import Weights, hybrid
from training.rounding import round_steps
from training.running import Buckets, EpochOf, StepsOf, arguments, claim, identity, resumable, start_from, uses_bf16

logger = logging.getLogger(__name__)

DEV_BATCH = 16  # pairs
TOGETHER = 12  # pairs a CPU reads at once in training


class Groups(Dataset):
    """Groups in memory, with their length in pairs x characters for bucketing.

    A share of them, `untitled`, drawn by query id and seed, is read without titles: a student that always had one leans on it, and
    passages of the web, as in MS MARCO, have none. In another share, `planted`, a passage of no use has an order to rank it first before its
    text, from the practice topics, and keeps its label and score.
    """

    def __init__(self, groups: Sequence[Group], untitled: float = 0.0, seed: int = 0, planted: float = 0.0) -> None:
        self.groups = [without_titles(g) if random.Random(f"{seed}/{g.query_id}").random() < untitled else g for g in groups]
        if planted:
            orders = practice.orders("train")
            draws = [random.Random(f"{seed}/planted/{g.query_id}") for g in groups]
            self.groups = [_planted(g, draw, orders) if draw.random() < planted else g for g, draw in zip(self.groups, draws, strict=True)]
        self.lengths = [max(min(len(c.title) + len(c.text), 1200) for c in g.passages) for g in self.groups]

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, index: int) -> Group:
        return self.groups[index]


def _planted(group: Group, draw: random.Random, orders: Sequence[str]) -> Group:
    useless = [c for c in group.passages if not c.label]
    if not useless:
        return group
    target, order = draw.choice(useless), draw.choice(orders)
    return replace(group, passages=tuple(replace(c, text=f"{order} {c.text}") if c is target else c for c in group.passages))


class PointwiseTrainer(Trainer):
    """Trainer over groups: the hybrid loss, batches of like lengths, nDCG@10 on the dev groups instead of a dev loss."""

    loss_is_scaled_for_ga = False  # the loss is a mean over groups; the Trainer divides it by the accumulation steps

    def __init__(self, *args: Any, weights: Weights, encode: Any, pad_id: int, sampler: Buckets, **options: Any) -> None:
        super().__init__(*args, **options)
        self.weights, self.encode, self.pad_id, self.sampler = weights, encode, pad_id, sampler
        self.add_callback(EpochOf(sampler))
        self.add_callback(StepsOf())
        self._parts: dict[str, list[float]] = {}

    def _prepare_input(self, data: Any) -> Any:
        """Tensors on the device, in their own type: DeepSpeed's usual cast would round the teacher's scores to bf16."""
        if isinstance(data, Mapping):
            return type(data)({key: self._prepare_input(value) for key, value in data.items()})  # type: ignore[call-arg]
        return data.to(self.args.device) if isinstance(data, torch.Tensor) else data

    def compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        """The hybrid loss of a batch of groups (see `training.losses`)."""
        rows = inputs["input_ids"]
        scores = scatter(logits(model, inputs, TOGETHER if rows.device.type == "cpu" else len(rows)), inputs)
        has_teacher = ~inputs["teacher"].isnan()
        teacher = inputs["teacher"].nan_to_num(0.0)
        if self.weights.kl and not bool((has_teacher | ~inputs["mask"]).all()):
            raise BadInput("a passage has no teacher score: run `python -m training teacher`, or set pointwise.kl=0")
        loss, parts = hybrid(scores, inputs["labels"], teacher, inputs["mask"], self.weights)
        for name, value in parts.items():
            self._parts.setdefault(name, []).append(value)
        return (loss, {"scores": scores}) if return_outputs else loss

    def log(self, logs: dict[str, float], *args: Any, **options: Any) -> None:
        """The Trainer's log, with the mean of each part of the loss since the last one."""
        if "loss" in logs:
            logs |= {f"loss_{name}": round(sum(v) / len(v), 4) for name, v in self._parts.items() if v}
            self._parts.clear()
        super().log(logs, *args, **options)

    def _get_train_sampler(self, train_dataset: Any = None) -> Buckets:
        return self.sampler

    def evaluate(self, *args: Any, **options: Any) -> dict[str, float]:
        """nDCG@10 and RR@10 of the student over the dev groups, in per cent."""
        if not self.eval_dataset:
            return {}
        start = time.perf_counter()
        self.model.eval()
        run, qrels = {}, {}
        with torch.inference_mode():
            for group in self.eval_dataset.groups:
                scores = self._scores(group)
                run[group.query_id] = dict(zip([c.id for c in group.passages], scores, strict=True))
                qrels[group.query_id] = {c.id: c.label for c in group.passages}
        self.model.train()
        values = evaluate(run, qrels, ("nDCG@10", "RR@10"))
        metrics = {f"eval_{name}": round(100 * value, 2) for name, value in values.items()} | {"eval_seconds": time.perf_counter() - start}
        self.log(metrics)
        return metrics

    def _scores(self, group: Group) -> list[float]:
        batch = {key: value.to(self.args.device) for key, value in collate([group], self.encode, self.pad_id).items()}
        with self.compute_loss_context_manager():
            return logits(self.model.forward, batch, DEV_BATCH)[: len(group.passages)].float().tolist()


def logits(model: Any, batch: dict[str, torch.Tensor], together: int) -> torch.Tensor:
    """The student's score of every row of a batch, (R,), from rows of like length, `together` at once, each few padded to their own length.

    A GPU in training reads all at once; on a CPU padding costs time.
    """
    ids, mask = batch["input_ids"], batch["attention_mask"]
    if together >= len(ids):
        return model(input_ids=ids, attention_mask=mask).logits[:, 0]
    lengths = mask.sum(-1)
    order = lengths.argsort(descending=True, stable=True)
    parts = [(some, padded(int(lengths[some[0]]))) for some in order.split(together)]
    found = [model(input_ids=ids[some, :width], attention_mask=mask[some, :width]).logits[:, 0] for some, width in parts]
    return torch.cat(found)[order.argsort()]


def build(recipe: recipes.Recipe, base: Path) -> tuple[Any, Any]:
    """The student before training, and its tokenizer: base cut to `layers`, LoRA, a fresh score head, all seeded."""
    from peft import LoraConfig, TaskType, get_peft_model
    from transformers import AutoConfig, AutoModelForSequenceClassification

    settings = recipe.pointwise
    set_seed(settings.seed)
    tokenizer = load_tokenizer(base, family="rankllama")
    config = AutoConfig.from_pretrained(base, local_files_only=True, trust_remote_code=False)
    if settings.layers and settings.layers > config.num_hidden_layers:
        raise BadInput(f"pointwise.layers {settings.layers} exceeds the base's {config.num_hidden_layers}: use that or fewer")
    config.num_hidden_layers = settings.layers or config.num_hidden_layers
    config.num_labels, config.pad_token_id = 1, tokenizer.pad_token_id
    dtype = torch.bfloat16 if uses_bf16(settings.precision) else torch.float32
    model = AutoModelForSequenceClassification.from_pretrained(
        base, config=config, dtype=dtype, attn_implementation=settings.attention, local_files_only=True, trust_remote_code=False
    )
    model.config.use_cache = False
    lora = LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=list(settings.lora_targets),
        modules_to_save=["score"],
    )
    model = get_peft_model(model, lora)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
        if "score" in name and parameter.requires_grad:
            torch.nn.init.normal_(parameter.data, std=0.02)
    if settings.start:
        start_from(model, settings.start)
    return model, tokenizer


def train(recipe: recipes.Recipe, *, resume: bool = True) -> Path:
    """Train stage 1 by a recipe; return the folder with the adapter and everything that belongs beside it.

    A run that was cut goes on from its last whole checkpoint, to the same weights as an uninterrupted one; checkpoints of another run
    are refused (`BadInput`), and deleted where `resume` is false.
    """
    base = recipes.check(recipe, "pointwise")
    settings = recipe.pointwise
    folder, run = recipe.folder("pointwise"), identity(recipe, "pointwise")
    last = resumable(folder, run) if resume else None
    model, tokenizer = build(recipe, base)

    def encode(query: str, title: str, text: str) -> list[int]:
        return encode_pair(tokenizer, query, title, text, settings.q_len, settings.p_len)

    weights = Weights(settings.cross_entropy, settings.ranknet, settings.kl, settings.temperature)
    groups = Groups(list(read_groups(settings.train)), settings.untitled, settings.seed, settings.planted)
    trainer = PointwiseTrainer(
        model=model,
        args=arguments(recipe, settings, folder, settings.groups_per_step),
        train_dataset=groups,
        eval_dataset=Groups(list(read_groups(settings.dev))) if settings.dev else None,
        data_collator=lambda groups: collate(groups, encode, tokenizer.pad_token_id),
        processing_class=tokenizer,
        weights=weights,
        encode=encode,
        pad_id=tokenizer.pad_token_id,
        sampler=Buckets(groups.lengths, settings.groups_per_step, settings.seed),
    )
    round_steps(trainer, settings, "pointwise")
    if settings.compile:
        model.compile(dynamic=True)
    claim(folder, run, trainer, resume=resume)
    trainer.train(resume_from_checkpoint=last)
    metrics = trainer.evaluate()
    trainer.save_model(str(folder))
    if trainer.is_world_process_zero():
        saving.tidy(folder, base=recipe.model.base, dtype=recipe.output.dtype)
        files = {"train": settings.train, "dev": settings.dev}
        report.write_beside(folder, recipe, trainer.state.log_history, files, metrics, stage="pointwise")
    return folder
