"""Stage 2: the base learns to reason over a list and to rank it, from chain-of-thought rows (section 3.2 of the paper).

A second LoRA on the same base, causal language modelling with the loss on the answer alone: prompt tokens carry none, and the
output layer is computed from the answer's first token on. Rows are batched by length and not packed, since a packed
row would see its neighbour's passages. The prompt is `dear.prompts.listwise` through the chat template of inference.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils.data import Dataset
from transformers import Trainer, set_seed

from dear.engines.chat import encode_plain, render_chat
from dear.errors import BadInput
from dear.loading import load_tokenizer
from training import recipes, report, saving
from training.cot import RANKING, Row, forced, messages, read_rows
from training.groups import padded
from training.rounding import round_steps
from training.running import Buckets, EpochOf, StepsOf, arguments, claim, identity, resumable, start_from, uses_bf16

logger = logging.getLogger(__name__)

IGNORED = -100  # a label without loss
TURN_ENDS = ("<|eot_id|>", "<|im_end|>")  # of the chat families; others end an answer with end of text


@dataclass(frozen=True, slots=True)
class Example:
    """A row as token ids; the loss starts at position `answer`."""

    ids: tuple[int, ...]
    answer: int


def encode_row(tokenizer: Any, row: Row, family: str) -> Example:
    """Prompt, answer and the token that ends the turn; a ranking alone has its marker counted to the prompt, as fast mode gives it."""
    if RANKING[family] not in row.output:
        raise BadInput(
            f"row {row.query_id!r} is not in listwise.prompt's format {family!r}, its answer lacks {RANKING[family]!r}: "
            "make rows with cot.format as listwise.prompt has it, or set listwise.prompt to the format of the rows"
        )
    given, learnt = forced(row, family)
    prompt = encode_plain(tokenizer, render_chat(tokenizer, messages(row)) + given)
    return Example((*prompt, *encode_plain(tokenizer, learnt), end_of_turn(tokenizer)), len(prompt))


def end_of_turn(tokenizer: Any) -> int:
    """The token after which a chat model stops."""
    vocabulary = tokenizer.get_vocab()
    return next((vocabulary[token] for token in TURN_ENDS if token in vocabulary), tokenizer.eos_token_id)


class Examples(Dataset):
    """Rows in memory as token ids, those over `max_length` left out. Raises `BadInput` when more than half are too long, or none is left."""

    def __init__(self, rows: Sequence[Row], tokenizer: Any, family: str, max_length: int) -> None:
        encoded = [encode_row(tokenizer, row, family) for row in rows]
        self.examples = [example for example in encoded if len(example.ids) <= max_length]
        self.left_out = len(encoded) - len(self.examples)
        if self.left_out * 2 > len(encoded) or not self.examples:
            longest = max((len(example.ids) for example in encoded), default=0)
            raise BadInput(
                f"{self.left_out} of {len(encoded)} rows exceed listwise.max_length {max_length} (the longest has {longest} tokens): "
                "raise max_length, or make rows of fewer passages (cot.max_k)"
            )
        if self.left_out:
            logger.warning("%d of %d rows exceed %d tokens and are left out", self.left_out, len(encoded), max_length)

    @property
    def lengths(self) -> list[int]:
        """Tokens of each example."""
        return [len(example.ids) for example in self.examples]

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Example:
        return self.examples[index]


def collate(examples: Sequence[Example], pad_id: int) -> dict[str, torch.Tensor]:
    """A batch, padded on the right to a multiple of `PAD_TO`.

    `input_ids` and `labels` (B, L), and `keep` (K,), the positions whose next token carries a loss.

    No attention mask: a causal model's real tokens never see the padding that follows them.
    """
    length = padded(max(len(e.ids) for e in examples))
    batch = {"input_ids": torch.full((len(examples), length), pad_id), "labels": torch.full((len(examples), length), IGNORED)}
    for row, example in enumerate(examples):
        ids = torch.tensor(example.ids)
        batch["input_ids"][row, : len(ids)] = ids
        batch["labels"][row, example.answer : len(ids)] = ids[example.answer :]
    first = min(e.answer for e in examples)
    return batch | {"keep": torch.arange(first - 1, length - 1)}


def answer_loss(logits: torch.Tensor, labels: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
    """Summed cross-entropy, float32, of `logits` (B, K, V) at positions `keep` against the tokens that follow them in `labels` (B, L)."""
    targets = labels[:, keep + 1]
    return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum")


class ListwiseTrainer(Trainer):
    """Trainer with the loss on the answer, the mean over all answer tokens of a step whatever the number of devices and pieces."""

    loss_is_scaled_for_ga = True

    def __init__(self, *args: Any, sampler: Buckets, **options: Any) -> None:
        super().__init__(*args, **options)
        self.sampler = sampler
        self.add_callback(EpochOf(sampler))
        self.add_callback(StepsOf())

    def compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        """Mean cross-entropy over the answer tokens of the whole step (`num_items_in_batch`, counted over devices by the Trainer)."""
        logits = model(input_ids=inputs["input_ids"], logits_to_keep=inputs["keep"], use_cache=False).logits
        total = answer_loss(logits, inputs["labels"], inputs["keep"])
        if num_items_in_batch is None:
            loss = total / (inputs["labels"] != IGNORED).sum()
        else:  # gradients are averaged over devices, the count is a sum over them
            loss = total / num_items_in_batch * self.accelerator.num_processes
        return (loss, {"logits": logits}) if return_outputs else loss

    def _get_train_sampler(self, train_dataset: Any = None) -> Buckets:
        return self.sampler


def build(recipe: recipes.Recipe, base: Path) -> tuple[Any, Any]:
    """The student before training, and its tokenizer: the base (in NF4 on CUDA, if the recipe says so) with a fresh LoRA, seeded."""
    from peft import LoraConfig, TaskType, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    settings = recipe.listwise
    set_seed(settings.seed)
    tokenizer = load_tokenizer(base, family=settings.prompt)
    config = AutoConfig.from_pretrained(base, local_files_only=True, trust_remote_code=False)
    if settings.layers and settings.layers > config.num_hidden_layers:
        raise BadInput(f"listwise.layers {settings.layers} exceeds the base's {config.num_hidden_layers}: use that or fewer")
    config.num_hidden_layers = settings.layers or config.num_hidden_layers
    if settings.max_length > config.max_position_embeddings:
        raise BadInput(f"listwise.max_length {settings.max_length} exceeds the base's {config.max_position_embeddings} positions: lower it")
    bf16 = uses_bf16(settings.precision)
    model = AutoModelForCausalLM.from_pretrained(
        base,
        config=config,
        dtype=torch.bfloat16 if bf16 else torch.float32,
        attn_implementation=settings.attention,
        local_files_only=True,
        trust_remote_code=False,
        **_nf4(settings, bf16),
    )
    model.requires_grad_(False)
    model.config.use_cache = False
    if settings.gradient_checkpointing:
        model.enable_input_require_grads()
    lora = LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=list(settings.lora_targets),
    )
    model = get_peft_model(model, lora)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    if settings.start:
        start_from(model, settings.start)
    return model, tokenizer


def _nf4(settings: recipes.Listwise, bf16: bool) -> dict[str, Any]:
    """QLoRA's four bits (arXiv 2305.14314), on CUDA only; elsewhere the base stays as it is and the log says so."""
    if settings.quantise == "none":
        return {}
    if not torch.cuda.is_available():
        logger.warning("quantise nf4: there is no CUDA device, the base stays in %s", "bf16" if bf16 else "fp32")
        return {}
    from accelerate import PartialState
    from transformers import BitsAndBytesConfig

    dtype = torch.bfloat16 if bf16 else torch.float32
    four = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        bnb_4bit_quant_storage=dtype,  # so that FSDP can shard it
    )
    return {"quantization_config": four, "device_map": {"": PartialState().local_process_index}}


def train(recipe: recipes.Recipe, *, resume: bool = True) -> Path:
    """Train stage 2 by a recipe; return the folder with the adapter and everything that belongs beside it.

    A run that was cut goes on from its last whole checkpoint, to the same weights as an uninterrupted one; checkpoints of another run
    are refused (`BadInput`), and deleted where `resume` is false.
    """
    base = recipes.check(recipe, "listwise")
    settings, folder, run = recipe.listwise, recipe.folder("listwise"), identity(recipe, "listwise")
    last = resumable(folder, run) if resume else None
    model, tokenizer = build(recipe, base)
    train_set = Examples(list(read_rows(settings.train)), tokenizer, settings.prompt, settings.max_length)
    dev_set = Examples(list(read_rows(settings.dev)), tokenizer, settings.prompt, settings.max_length) if settings.dev else None
    trainer = ListwiseTrainer(
        model=model,
        args=arguments(recipe, recipe.listwise, folder, settings.rows_per_step),
        train_dataset=train_set,
        eval_dataset=dev_set,
        data_collator=lambda examples: collate(examples, tokenizer.pad_token_id),
        processing_class=tokenizer,
        sampler=Buckets(train_set.lengths, settings.rows_per_step, settings.seed),
    )
    round_steps(trainer, settings, "listwise")
    if settings.compile:
        model.compile(dynamic=True)
    claim(folder, run, trainer, resume=resume)
    trainer.train(resume_from_checkpoint=last)
    metrics = {"dev loss": trainer.evaluate()["eval_loss"]} if dev_set else {}
    trainer.save_model(str(folder))
    if trainer.is_world_process_zero():
        saving.tidy(folder, base=recipe.model.base, dtype=recipe.output.dtype)
        files = {"train": settings.train, "dev": settings.dev}
        report.write_beside(folder, recipe, trainer.state.log_history, files, metrics, stage="listwise")
    return folder
