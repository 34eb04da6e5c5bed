"""An adapter on disk: safetensors, its config, a compact tokenizer; nothing that names this machine, nothing half written."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dear.errors import BadInput

DTYPES = ("fp32", "fp16", "bf16")


def save_adapter(model: Any, tokenizer: Any, folder: Path | str, *, base: str, dtype: str = "fp32", state: Mapping[str, Any] | None = None) -> None:
    """Write a PEFT model's adapter (LoRA weights, and a score head if it has one) and the tokenizer into `folder`.

    `base` is the name the adapter will look its base up by, never a local cache path. Under FSDP or ZeRO-3 give `state`, the
    gathered state dict (`accelerator.get_state_dict`); shards alone are not an adapter. Raises `BadInput` on an unknown dtype.
    """
    import torch
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    if dtype not in DTYPES:
        raise BadInput(f"adapter dtype {dtype!r} is unknown: use one of {', '.join(DTYPES)}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    kind = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[dtype]
    weights = get_peft_model_state_dict(model, state_dict=dict(state) if state is not None else None, save_embedding_layers=False)
    empty = [name for name, value in weights.items() if value.numel() == 0]
    if empty:
        raise BadInput(f"{len(empty)} adapter weights are empty shards, e.g. {empty[0]}: gather the state before saving")
    whole = {name: value.detach().to("cpu", kind).contiguous() for name, value in weights.items()}
    part = folder / "part-adapter_model.safetensors"
    save_file(whole, part, metadata={"format": "pt"})
    os.replace(part, folder / "adapter_model.safetensors")
    config = model.peft_config["default"].to_dict() | {"base_model_name_or_path": base, "inference_mode": True}
    write_json(folder / "adapter_config.json", {key: _plain(value) for key, value in sorted(config.items())})
    save_tokenizer(tokenizer, folder)


def save_tokenizer(tokenizer: Any, folder: Path | str) -> None:
    """`save_pretrained`, with tokenizer.json written without its white space (less than half the size)."""
    tokenizer.save_pretrained(folder)
    path = Path(folder) / "tokenizer.json"
    if path.is_file():
        data = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps(data, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write indented JSON, whole or not at all."""
    part = path.with_name("part-" + path.name)
    part.write_text(json.dumps(data, indent=2, ensure_ascii=False, default=str) + "\n", encoding="utf-8")
    part.replace(path)


def _plain(value: Any) -> Any:
    """Config values as JSON: sets sorted, enumerations by value."""
    if isinstance(value, set | frozenset):
        return sorted(value)
    return getattr(value, "value", value)
