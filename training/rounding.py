"""Steps on the base as NF4 rounds it, so that one adapter serves the base in full and in four bits.

QLoRA (Dettmers et al. 2023, arXiv 2305.14314) trains an adapter beside weights in NF4. An adapter trained beside the weights in full
meets others when the same base is loaded in NF4: a small student's reasoning may not survive that, and its scores move. Here a share
of the steps reads the weights rounded to NF4 and back: the values of bitsandbytes, without its memory or its need of a GPU.
"""

from __future__ import annotations

import random
from typing import Any

import torch
from transformers import TrainerCallback

from dear.errors import BadInput
from dear.loading import NOT_IN_NF4
from training.recipes import Listwise, Pointwise

BLOCK = 64  # weights that share a scale, bitsandbytes' default


def as_nf4(weight: torch.Tensor) -> torch.Tensor:
    """`weight`, any shape and float type, rounded to NF4 (blocks of 64, scales rounded too) and back; same shape, type and device."""
    from bitsandbytes import functional

    codes, state = functional.quantize_4bit(weight.detach().float(), blocksize=BLOCK, compress_statistics=True, quant_type="nf4")
    return functional.dequantize_4bit(codes, state).to(weight.dtype)


class RoundedSteps(TrainerCallback):
    """Puts the base's linear weights into the model as NF4 rounds them before a `share` of the steps, and in full again after each.

    Which steps these are follows from `seed` and the step's number alone, so a run that goes on meets the same ones. Takes the linear
    weights' memory once more. `share` lies in [0, 1]; the weights must be whole on the device, not packed and not sharded.
    """

    def __init__(self, share: float, seed: int) -> None:
        self.share, self.seed = share, seed
        self._places: list[torch.Tensor] = []
        self._full: list[torch.Tensor] = []
        self._nf4: list[torch.Tensor] = []

    def rounds(self, step: int) -> bool:
        """Whether the step of that number, from 0, reads rounded weights."""
        return random.Random(f"{self.seed}/{step}").random() < self.share

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **others: Any) -> None:
        """Round every frozen linear weight, where the model stands now."""
        self._places = frozen_linear(model)
        self._full = [place.data for place in self._places]
        self._nf4 = [as_nf4(weight) for weight in self._full]

    def on_step_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """The coming step's weights."""
        if self.rounds(state.global_step):
            self._put(self._nf4)

    def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """What is measured or saved is the base in full."""
        self._put(self._full)

    def _put(self, weights: list[torch.Tensor]) -> None:
        for place, weight in zip(self._places, weights, strict=True):
            place.data = weight


def round_steps(trainer: Any, settings: Pointwise | Listwise, stage: str) -> None:
    """Let a stage's trainer read rounded weights in `settings.rounded` of its steps.

    Raises `BadInput` where the base is sharded, since a shard does not hold the blocks that share a scale.
    """
    if not settings.rounded:
        return
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        remedy = "set it to 0, or train on one device or by data parallelism"
        raise BadInput(f"{stage}.rounded is {settings.rounded:g}, and the base is sharded: {remedy}")
    trainer.add_callback(RoundedSteps(settings.rounded, settings.seed))


def frozen_linear(model: Any) -> list[torch.Tensor]:
    """The weights of the base that NF4 would round: of its linear layers, not the adapter's and not the output layer's."""
    return [
        module.weight
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and not module.weight.requires_grad and not set(name.split(".")) & set(NOT_IN_NF4)
    ]
