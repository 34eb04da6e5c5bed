"""An adapter on disk: safetensors, its config, a compact tokenizer; nothing that names this machine, nothing half written."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dear.errors import BadInput

DTYPES = ("fp32", "fp16", "bf16")
ADAPTER, CONFIG = "adapter_model.safetensors", "adapter_config.json"


def tidy(folder: Path | str, *, base: str, dtype: str = "fp32") -> None:
    """Make what `Trainer.save_model` left in `folder` fit to ship: weights in `dtype`, the base by the name it will be looked up by
    (never a local cache path), a compact tokenizer, no pickle.

    `save_model` gathers the shards of FSDP and ZeRO-3 first; call this on the main process after it. Raises `BadInput` on an
    unknown dtype or on empty shards.
    """
    from safetensors.torch import load_file, save_file

    folder = Path(folder)
    if dtype not in DTYPES:
        raise BadInput(f"adapter dtype {dtype!r} is unknown: use one of {', '.join(DTYPES)}")
    weights = load_file(folder / ADAPTER)
    empty = [name for name, value in weights.items() if value.numel() == 0]
    if empty:
        raise BadInput(f"{len(empty)} adapter weights are empty shards, e.g. {empty[0]}: gather the state before saving (FULL_STATE_DICT)")
    part = folder / f"part-{ADAPTER}"
    save_file({name: value.to(_dtype(dtype)).contiguous() for name, value in weights.items()}, part, metadata={"format": "pt"})
    os.replace(part, folder / ADAPTER)
    (folder / ADAPTER).chmod(0o644)
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    targets = config.get("target_modules")
    config |= {"base_model_name_or_path": base, "inference_mode": True, "target_modules": sorted(targets) if isinstance(targets, list) else targets}
    write_json(folder / CONFIG, config)
    compact_tokenizer(folder)
    (folder / "training_args.bin").unlink(missing_ok=True)


def _dtype(name: str) -> Any:
    import torch

    return {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[name]


def compact_tokenizer(folder: Path | str) -> None:
    """Write tokenizer.json without its white space: less than half the size."""
    path = Path(folder) / "tokenizer.json"
    if path.is_file():
        data = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps(data, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write indented JSON, whole or not at all."""
    part = path.with_name("part-" + path.name)
    part.write_text(json.dumps(data, indent=2, ensure_ascii=False, default=str) + "\n", encoding="utf-8")
    part.replace(path)
