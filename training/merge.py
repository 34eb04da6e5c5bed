"""Adapter into base: one folder of safetensors that every engine and exporter reads, computed in fp32 and rounded once.

And adapter with adapter: a run that went on from another one gains what its data teach and loses some of what was there; the mean of
both sets of weights often keeps most of either (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models", arXiv 2109.01903).
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from dear import zoo
from dear.errors import BadInput, CheckpointError
from dear.weights import check_weights, fetch, head_of
from training import recipes
from training.saving import compact_tokenizer, write_json

logger = logging.getLogger(__name__)


def merge(adapter: Path | str, out: Path | str, *, base: str = "", dtype: str = "bf16") -> Path:
    """Write base + adapter to `out` as a whole checkpoint in fp32 or bf16; return `out`.

    The base is the one the adapter's `dear.json` or config names, unless given. Raises `CheckpointError` when the base is not the
    one it was trained on or weights do not fit, `BadInput` when `out` already holds a model.
    """
    adapter, out = Path(adapter), Path(out)
    if dtype not in ("fp32", "bf16"):
        raise BadInput(f"dtype {dtype!r}: merge to fp32 or bf16")
    if (out / "config.json").exists():
        raise BadInput(f"{out} already holds a model: give a new folder, or remove it")
    if not (adapter / "adapter_config.json").is_file():
        raise BadInput(f"{adapter} holds no adapter_config.json: give the folder of a trained adapter")
    check_weights(adapter, stem="adapter_model")
    card = zoo.read_card(adapter)
    name = base or str(card.get("base") or zoo.read_json(adapter / "adapter_config.json").get("base_model_name_or_path") or "")
    folder = _checked_base(name, card)
    import torch
    from peft import PeftModel

    model = _open(folder, head_of(adapter), card.get("layers"))
    peft = PeftModel.from_pretrained(model, str(adapter), local_files_only=True, is_trainable=False)
    _all_loaded(peft, adapter)
    merged = peft.merge_and_unload(safe_merge=True).to(torch.bfloat16 if dtype == "bf16" else torch.float32)
    out.mkdir(parents=True, exist_ok=True)
    merged.save_pretrained(out)
    _tokenizer(adapter, folder, out)
    kept = {key: value for key, value in card.items() if key not in ("base", "base_sha256", "layers")}
    write_json(out / "dear.json", kept | {"merged_from": name})
    return out


def average(adapter: Path | str, other: Path | str, out: Path | str, *, share: float = 0.5) -> Path:
    """Write the adapter whose every weight is (1 - share) of `adapter`'s and `share` of `other`'s to `out`; return `out`.

    A and B of each LoRA pair are averaged by themselves, in fp32, and stored as `adapter` stores them; what else lies in `adapter`'s folder
    is copied. Raises `BadInput` for a share outside [0, 1] or an `out` that holds an adapter, `CheckpointError` where the two are not
    of one shape.
    """
    import shutil

    from safetensors.torch import load_file, save_file

    adapter, other, out = Path(adapter), Path(other), Path(out)
    if not 0 <= share <= 1:
        raise BadInput(f"share {share:g} of the other adapter: give a number from 0 to 1")
    if (out / "adapter_config.json").exists():
        raise BadInput(f"{out} already holds an adapter: give a new folder, or remove it")
    for folder in (adapter, other):
        if not (folder / "adapter_config.json").is_file():
            raise BadInput(f"{folder} holds no adapter_config.json: give the folder of a trained adapter")
        check_weights(folder, stem="adapter_model")
    mine, theirs = (load_file(folder / "adapter_model.safetensors") for folder in (adapter, other))
    shapes = [{name: tuple(weight.shape) for name, weight in weights.items()} for weights in (mine, theirs)]
    configs = [zoo.read_json(folder / "adapter_config.json") for folder in (adapter, other)]
    if shapes[0] != shapes[1] or any(configs[0].get(key) != configs[1].get(key) for key in ("r", "lora_alpha", "use_rslora")):
        raise CheckpointError(f"{other} has other weights, rank or alpha than {adapter}: average adapters of one recipe's shape")
    mean = {name: ((1 - share) * weight.float() + share * theirs[name].float()).to(weight.dtype) for name, weight in mine.items()}
    shutil.copytree(adapter, out, dirs_exist_ok=True, ignore=shutil.ignore_patterns("checkpoint-*", "adapter_model.safetensors", "run.json"))
    save_file(mean, out / "adapter_model.safetensors", metadata={"format": "pt"})
    return out


def _checked_base(name: str, card: dict[str, object]) -> Path:
    if not name:
        raise BadInput("the adapter names no base: give --base")
    expected = card.get("base_sha256")
    folder = fetch(name)
    if expected and recipes.digest(name) != expected:
        raise CheckpointError(
            f"the adapter was trained on a base with SHA-256 {str(expected)[:12]}…, {name} is another: use the base it was trained on"
        )
    return folder


def _open(folder: Path, head: str, layers: Any) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    config.num_hidden_layers = int(layers or config.num_hidden_layers)
    kind: Any = AutoModelForCausalLM
    if head == "score":
        kind, config.num_labels = AutoModelForSequenceClassification, 1
    return kind.from_pretrained(folder, config=config, dtype=torch.float32, local_files_only=True, trust_remote_code=False, use_safetensors=True)


def _all_loaded(peft: Any, adapter: Path) -> None:
    """PEFT only warns about weights that found no place; a merge of half an adapter is worse than none."""
    from safetensors import safe_open

    with safe_open(adapter / "adapter_model.safetensors", "pt") as file:
        stored = set(file.keys())
    here = {name.replace(".default", "").replace("modules_to_save.", "") for name, _ in peft.named_parameters()}
    lost = sorted(name for name in stored if name not in here)
    if lost:
        raise CheckpointError(f"{len(lost)} weights of {adapter} have no place in the base, e.g. {lost[0]}: use the base it was trained on")


def _tokenizer(adapter: Path, base: Path, out: Path) -> None:
    from dear.loading import load_tokenizer

    load_tokenizer(adapter if (adapter / "tokenizer_config.json").is_file() else base, family="merged").save_pretrained(out)
    compact_tokenizer(out)
