"""Checkpoint folders as files: where they come from, whether they are whole, what head they have. Nothing heavy is imported."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from dear import zoo
from dear.cache import sha256
from dear.embedded import embedded_base
from dear.errors import CheckpointError

WANTED = ["*.json", "*.safetensors", "*.jinja", "tokenizer.model"]
UNWANTED = ["original/*", "*.bin", "*.pth", "checkpoint-*/*"]
MAX_HEADER = 100_000_000


def fetch(source: str) -> Path:
    """The folder of a checkpoint: the embedded base, a local folder, or a hub id, downloaded on first use.

    Raises `CheckpointError` where it is absent, gated, or the hub cannot be reached.
    """
    if source == zoo.EMBEDDED:
        return embedded_base()
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    if source.startswith(("/", ".", "~")) or source.count("/") != 1:
        raise CheckpointError(f"checkpoint folder {source!r} does not exist: give a folder that save_pretrained wrote, or a hub id")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        return Path(snapshot_download(source, allow_patterns=WANTED, ignore_patterns=UNWANTED))
    except GatedRepoError as error:
        raise CheckpointError(f"{source} is gated: accept its licence at https://huggingface.co/{source}, then run `hf auth login`") from error
    except RepositoryNotFoundError as error:
        raise CheckpointError(f"{source} is not on the hub (or is private): check the name, or log in with `hf auth login`") from error
    except Exception as error:  # network, disk, offline mode: the client raises many kinds, all mean that it is not here
        raise CheckpointError(
            f"{source} is not on this disk and cannot be fetched ({type(error).__name__}): check the network and HF_HUB_OFFLINE, or use dear-nano"
        ) from error


def check_weights(folder: Path, *, stem: str = "model") -> None:
    """Raise `CheckpointError` naming the file when a safetensors file is absent, truncated, or not one."""
    for path in weight_files(folder, stem=stem):
        if not path.is_file():
            raise CheckpointError(f"{path} is missing: copy or download the checkpoint again")
        _header(path)


def weight_files(folder: Path, *, stem: str = "model") -> list[Path]:
    """The safetensors files a checkpoint consists of, shards included."""
    index = folder / f"{stem}.safetensors.index.json"
    if index.is_file():
        return [folder / name for name in sorted(set(zoo.read_json(index).get("weight_map", {}).values()))]
    path = folder / f"{stem}.safetensors"
    if not path.is_file() and any(folder.glob("*.bin")):
        raise CheckpointError(f"{folder} holds its weights as pickles, which are not read: convert them to safetensors")
    return [path]


def head_of(folder: Path) -> Literal["score", "vocabulary"]:
    """What the checkpoint's last layer gives: one score, or a vocabulary. Raises `CheckpointError` on anything else."""
    adapter = zoo.read_json(folder / "adapter_config.json")
    if adapter:
        return "score" if adapter.get("task_type") == "SEQ_CLS" else "vocabulary"
    names = [str(name) for name in zoo.read_json(folder / "config.json").get("architectures") or ()]
    if any(name.endswith("ForCausalLM") for name in names):
        return "vocabulary"
    if any(name.endswith("ForSequenceClassification") for name in names):
        header = next((found for path in weight_files(folder) if "score.weight" in (found := _header(path))), None)
        if header is None:
            raise CheckpointError(f"{folder} has no score.weight: its head would be random; give a trained decoder with a score head")
        check_score(folder, header["score.weight"]["shape"])
        return "score"
    raise CheckpointError(f"{folder}: architecture {names or 'unknown'} is neither a causal language model nor a decoder with a score head")


def check_score(folder: Path, shape: Sequence[int]) -> None:
    """Raise `CheckpointError` unless a head of this shape gives one score."""
    if shape[0] != 1:
        raise CheckpointError(f"{folder} ends in {shape[0]} classes, not in one score: give a student trained with num_labels=1")


def base_digest(folder: Path, *, stem: str = "model") -> str:
    """SHA-256 that names a base (or adapter): of its weight file, or of its shards' names and digests."""
    files = weight_files(folder, stem=stem)
    if len(files) == 1:
        return sha256(files[0])
    lines = "".join(f"{path.name} {sha256(path)}\n" for path in files)
    return hashlib.sha256(lines.encode()).hexdigest()


def _header(path: Path) -> dict[str, dict]:
    """The header of a safetensors file, checked against the file's size."""
    size = path.stat().st_size if path.is_file() else -1
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if not 2 <= length <= min(MAX_HEADER, size - 8):
                raise ValueError(f"header of {length} bytes")
            header = json.loads(file.read(length))
        end = max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise CheckpointError(f"{path} is not a whole safetensors file ({size} bytes): copy or download it again") from error
    if size != 8 + length + end:
        raise CheckpointError(f"{path} has {size} bytes, its header promises {8 + length + end}: it is truncated, copy or download it again")
    return header
