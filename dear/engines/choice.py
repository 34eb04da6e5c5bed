"""Which engine, precision and device a stage runs with, and why; and the front door that opens one.

Measured on this project's machines (2 cores, the 135M base). Scoring: bf16 is about 3 times faster than fp32 where the CPU has
AVX-512 bf16 or AMX, and 5 times slower where it has not; torch's dynamic int8 is as fast as bf16 and wrong (hidden states off
by 44%); ONNX Runtime, which cannot batch pairs of unlike lengths, is no faster than fp32. Writing: ONNX Runtime is several times
faster than torch in any precision. Where the base comes in 4 bits of its own, int4 keeps them, with the adapter beside them
(`dear.engines.fourbit`): KL to fp32 0.0015 a token on the listwise answers, the same first choice in 97% of places. Other small
models lose much of their accuracy when they are quantised to int4 (the embedded one, merged and quantised again: 0.19 and 82%) and next
to nothing in int8 (0.0018, 97%). So those write in int8, and large ones in int4.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from dear import zoo
from dear.engines import Scorer, TextGenerator, TokenGenerator
from dear.engines.fourbit import keeps_own_bits
from dear.errors import BadInput

if TYPE_CHECKING:
    from dear.zoo import Checkpoint

logger = logging.getLogger(__name__)

ENGINES = ("auto", "transformers", "onnx", "openai", "fake")
PRECISIONS = {"transformers": ("fp32", "bf16", "nf4"), "onnx": ("int8", "int4"), "openai": ("remote",), "fake": ("none",)}
SMALL = 1_000_000_000  # parameters: below, 4 bits lose too much
STAGES = ("pointwise", "listwise")


@dataclass(frozen=True, slots=True)
class Machine:
    """What this machine offers, as far as the choice depends on it."""

    cuda: bool = False
    cuda_name: str = ""
    cpu_bf16: bool = False  # bf16 matrix instructions: AVX-512 bf16 or AMX
    onnx: bool = False
    bitsandbytes: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """What a stage runs with, and why."""

    engine: str
    precision: str
    device: str
    reason: str


@lru_cache(maxsize=1)
def machine() -> Machine:
    """This machine; asked once."""
    import torch

    cuda = torch.cuda.is_available()
    return Machine(
        cuda=cuda,
        cuda_name=torch.cuda.get_device_name(0) if cuda else "",
        cpu_bf16=_cpu_bf16(),
        onnx=all(importlib.util.find_spec(name) for name in ("onnxruntime_genai", "onnx_ir", "onnx")),
        bitsandbytes=importlib.util.find_spec("bitsandbytes") is not None,
    )


def _cpu_bf16() -> bool:
    """Whether the CPU multiplies in bf16; torch's public list where it has one, else its private tests."""
    import torch

    names = ("avx512_bf16", "amx_bf16", "amx_tile", "sve_bf16", "bf16")
    try:
        found = torch.cpu.get_capabilities()
        return any(bool(found.get(name)) for name in names)
    except (AttributeError, RuntimeError):
        tests = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(getattr(torch.cpu, name, lambda: False)() for name in tests)


def choose(
    stage: str,
    *,
    engine: str = "auto",
    precision: str = "auto",
    device: str = "auto",
    parameters: int | None = None,
    own_bits: bool = False,
    here: Machine | None = None,
) -> Choice:
    """The engine, precision and device for a stage; pure once `here` is given.

    `parameters` is the model's size where it is known; `own_bits`: its base comes in 4 bits, which int4 keeps as they are.
    Raises `BadInput` on an unknown or impossible wish.
    """
    if stage not in STAGES:
        raise BadInput(f"unknown stage {stage!r}: use one of {', '.join(STAGES)}")
    if engine not in ENGINES:
        raise BadInput(f"unknown engine {engine!r}: use one of {', '.join(ENGINES)}")
    if engine == "fake":
        return Choice("fake", "none", "cpu", "asked for: no model")
    if engine == "openai":
        return Choice("openai", "remote", "server", "asked for: a model on a server")
    here = here or machine()
    device = _device(device, here)
    if device.startswith("cuda"):
        choice = _on_cuda(engine, device, parameters, here)
    else:
        choice = _on_cpu(stage, engine, precision, parameters, own_bits, here)
    if precision == "auto":
        return choice
    if precision not in PRECISIONS[choice.engine]:
        known = ", ".join(PRECISIONS[choice.engine])
        raise BadInput(f"precision {precision!r} is not one of the {choice.engine} engine's ({known}): choose one of them or another engine")
    return Choice(choice.engine, precision, choice.device, f"{precision} asked for")


def _device(device: str, here: Machine) -> str:
    if device == "auto":
        return "cuda:0" if here.cuda else "cpu"
    if device == "cuda":
        device = "cuda:0"
    if device.startswith("cuda") and not here.cuda:
        raise BadInput(f"device {device!r} was asked for and torch sees no GPU: choose device cpu, or install torch with CUDA")
    if device != "cpu" and not device.startswith("cuda"):
        raise BadInput(f"unknown device {device!r}: use auto, cpu, cuda or cuda:N")
    return device


def _on_cuda(engine: str, device: str, parameters: int | None, here: Machine) -> Choice:
    if engine == "onnx":
        raise BadInput("the onnx engine here is built for CPUs: choose engine transformers for the GPU, or device cpu")
    gpu = here.cuda_name or "a GPU"
    if parameters is not None and parameters < SMALL:
        return Choice("transformers", "bf16", device, f"{gpu}: bf16, since four bits would cost a small model more than memory is worth")
    if here.bitsandbytes:
        return Choice("transformers", "nf4", device, f"{gpu}: 4-bit NF4 weights, bf16 arithmetic")
    return Choice("transformers", "bf16", device, f"{gpu}: bf16, since bitsandbytes is not installed")


def _on_cpu(stage: str, engine: str, precision: str, parameters: int | None, own_bits: bool, here: Machine) -> Choice:
    fast = "bf16" if here.cpu_bf16 else "fp32"
    why = "this CPU multiplies in bf16, about 3 times faster than fp32" if here.cpu_bf16 else "no bf16 instructions on this CPU, fp32 is faster"
    large = parameters is not None and parameters >= SMALL
    if stage == "pointwise":
        if large and here.bitsandbytes:
            return Choice("transformers", "nf4", "cpu", "no GPU: a large model in 4 bits to fit in memory; it will be slow")
        return Choice("transformers", fast, "cpu", f"no GPU: {why}")
    wants_torch = engine == "transformers" or precision in PRECISIONS["transformers"]
    if engine == "onnx" or (here.onnx and not wants_torch):
        if not here.onnx:
            raise BadInput("engine onnx was asked for and is not installed: pip install onnxruntime-genai onnx-ir onnx")
        fastest = "no GPU: ONNX Runtime writes fastest on CPU"
        if own_bits:
            return Choice("onnx", "int4", "cpu", f"{fastest}; the base’s own 4 bits, the adapter beside them")
        if large:
            return Choice("onnx", "int4", "cpu", fastest)
        return Choice("onnx", "int8", "cpu", f"{fastest}; 8 bits, since quantising to 4 makes a small model’s reasons poorer")
    return Choice("transformers", fast, "cpu", f"no GPU, torch on CPU: {why}")


def choose_for(checkpoint: Checkpoint, stage: str, *, engine: str = "auto", precision: str = "auto", device: str = "auto") -> Choice:
    """`choose` for a checkpoint: with its size, and whether its base has 4 bits of its own to keep."""
    own_bits = stage == "listwise" and keeps_own_bits(checkpoint)
    return choose(stage, engine=engine, precision=precision, device=device, parameters=checkpoint.parameters, own_bits=own_bits)


def open_scorer(model: str = "dear-nano", *, engine: str = "auto", precision: str = "auto", device: str = "auto") -> Scorer:
    """A scorer for stage 1, ready to use.

    Raises `UnknownModel`, `BadInput` where the model has no pointwise stage, `CheckpointError` or `MissingDependency`.
    """
    from dear.engines.fake import FakeScorer

    if model == "fake" or engine == "fake":
        return FakeScorer()
    checkpoint = _checkpoint(model, "pointwise")
    wish = "transformers" if engine == "onnx" else engine  # onnx writes, it does not score
    choice = choose_for(checkpoint, "pointwise", engine=wish, precision=precision, device=device)
    logger.info("pointwise: %s %s on %s (%s)", choice.engine, choice.precision, choice.device, choice.reason)
    if choice.engine != "transformers":
        raise BadInput(f"engine {choice.engine!r} gives no pointwise scores: use transformers for this stage")
    from dear.engines.transformers import TransformersScorer
    from dear.loading import load_sequence_classifier

    student = load_sequence_classifier(checkpoint, precision=choice.precision, device=choice.device)  # type: ignore[arg-type]
    return TransformersScorer(student, name=_shown(model), reason=choice.reason)


def open_generator(
    model: str = "dear-nano", *, engine: str = "auto", precision: str = "auto", device: str = "auto"
) -> TokenGenerator | TextGenerator:
    """A generator for stage 2, ready to use; `openai:MODEL@http://host:port/v1` opens a model on a server.

    Raises `UnknownModel`, `BadInput` where the model has no listwise stage, `CheckpointError`, `EngineError` or `MissingDependency`.
    """
    from dear.engines.fake import FakeGenerator

    if model == "fake" or engine == "fake":
        return FakeGenerator()
    if model.startswith("openai:"):
        from dear.engines.openai import OpenAIGenerator

        return OpenAIGenerator.from_name(model)
    if engine == "openai":
        raise BadInput(f"engine openai needs a server, {model!r} names none: write the model as openai:MODEL@http://host:port/v1")
    checkpoint = _checkpoint(model, "listwise")
    choice = choose_for(checkpoint, "listwise", engine=engine, precision=precision, device=device)
    logger.info("listwise: %s %s on %s (%s)", choice.engine, choice.precision, choice.device, choice.reason)
    if choice.engine == "onnx":
        from dear.engines.onnx import OnnxGenerator

        return OnnxGenerator(checkpoint, precision=choice.precision, name=_shown(model), reason=choice.reason)
    from dear.engines.transformers import TransformersGenerator
    from dear.loading import load_causal

    student = load_causal(checkpoint, precision=choice.precision, device=choice.device)  # type: ignore[arg-type]
    return TransformersGenerator(student, name=_shown(model), reason=choice.reason)


def _checkpoint(model: str, stage: str) -> Checkpoint:
    found = zoo.resolve(model)
    checkpoint = found.checkpoint(stage)
    if checkpoint is None:
        raise BadInput(
            f"{model!r} has no {stage} checkpoint ({found.note or 'it does the other stage'}): choose a model for this stage{_others(stage)}"
        )
    return checkpoint


def _others(stage: str) -> str:
    names: Sequence[str] = ("dear-nano", "dear-3b", "dear-8b") if stage == "pointwise" else ("dear-nano", "dear-8b")
    return f", e.g. {' or '.join(names)}"


def _shown(model: str) -> str:
    return zoo.resolve(model).name
