"""Two gloo processes learn what one does; a killed run goes on to the same weights; shards are gathered before saving."""

from __future__ import annotations

import csv
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from dear.errors import BadInput
from training import listwise, recipes, saving
from training.cot import write_rows
from training.cot_augment import Mix, augment, teaching_queries

SETTINGS = [
    "model.base_sha256=''",
    "listwise.max_length=4000",
    "listwise.precision=fp32",
    "listwise.learning_rate=0.003",
    "listwise.lora_rank=4",
    "listwise.lora_dropout=0.1",
    "listwise.log_steps=1",
    "listwise.save_steps=2",
    "listwise.dev=''",
    "listwise.epochs=3",
    "output.dtype=fp32",
]


@pytest.fixture(scope="module")
def rows_file(tmp_path_factory, teaching) -> Path:
    path = tmp_path_factory.mktemp("rows") / "cot.jsonl"
    write_rows(path, augment(teaching_queries(teaching, "train"), 12, "nano", Mix(min_k=2, max_k=3, fast=0.3, seed=1)))
    return path


def command(base: Path, rows: Path, out: Path, *more: str) -> list[str]:
    paths = [f"model.base={base}", f"listwise.train={rows}", f"output.folder={out}"]
    return ["-m", "training", "listwise", "nano-cpu", *SETTINGS, *paths, *more]


def run(arguments: list[str], launcher: tuple[str, ...] = (), **environment: str) -> None:
    done = subprocess.run(
        [sys.executable, *launcher, *arguments], env=_environment(**environment), capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[-9000:]


def run_here(arguments: list[str]) -> None:
    """The same run in this process, with one thread as the others have."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        listwise.train(recipes.load(arguments[3], arguments[4:]))
    finally:
        torch.set_num_threads(threads)


def _environment(**more: str) -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "TOKENIZERS_PARALLELISM": "false"} | more


def _two_processes() -> tuple[str, ...]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return ("-m", "torch.distributed.run", "--nproc_per_node=2", f"--master_port={port}", "--master_addr=127.0.0.1")


def losses(out: Path) -> list[float]:
    with (out / "listwise" / "losses.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file) if row.get("loss")]


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "listwise" / "adapter_model.safetensors")


def test_two_processes_give_the_losses_and_weights_of_one(base, rows_file, tmp_path):
    fixed = ("listwise.lora_dropout=0.0", "listwise.max_steps=5")  # dropout draws differ between one process and two
    run_here(command(base, rows_file, tmp_path / "one", *fixed, "listwise.rows_per_step=1", "listwise.gradient_accumulation=2"))
    run(command(base, rows_file, tmp_path / "two", *fixed, "listwise.rows_per_step=1", "listwise.gradient_accumulation=1"), _two_processes())
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=2e-3)
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(two[name], one[name], atol=1e-4, rtol=1e-3)


def test_a_killed_run_goes_on_to_the_same_weights(base, rows_file, tmp_path):
    more = ("listwise.rows_per_step=1", "listwise.gradient_accumulation=1", "listwise.max_steps=20")
    run_here(command(base, rows_file, tmp_path / "whole", *more))
    cut = tmp_path / "cut"
    process = subprocess.Popen(
        [sys.executable, *command(base, rows_file, cut, *more)], env=_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not (cut / "listwise" / "checkpoint-4").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (cut / "listwise" / "adapter_model.safetensors").exists(), "the run ended before it was killed"
    half = cut / "listwise" / "checkpoint-99"  # what a kill in the middle of saving leaves
    half.mkdir()
    (half / "adapter_model.safetensors").write_bytes(b"\x00\x01")
    run_here(command(base, rows_file, cut, *more))
    first, second = weights(tmp_path / "whole"), weights(cut)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert losses(cut) == losses(tmp_path / "whole")


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="FSDP needs two GPUs: accelerate refuses it on CPU")
def test_shards_are_gathered_before_saving(base, rows_file, tmp_path):
    """Through the shipped FSDP config: the saved adapter is whole, and the one that two unsharded processes give."""
    config = recipes.SHIPPED.parent / "configs" / "fsdp.yaml"
    more = (
        "listwise.lora_dropout=0.0",
        "listwise.max_steps=2",
        "listwise.rows_per_step=1",
        "listwise.gradient_accumulation=1",
        "listwise.save_steps=100",
    )
    launcher = ("-m", "accelerate.commands.launch", "--config_file", str(config), "--num_processes", "2", "--mixed_precision", "no")
    devices = {"CUDA_VISIBLE_DEVICES": "0,1"}
    run(command(base, rows_file, tmp_path / "sharded", *more), launcher, **devices)
    run(command(base, rows_file, tmp_path / "whole", *more), _two_processes(), **devices)
    sharded, whole = weights(tmp_path / "sharded"), weights(tmp_path / "whole")
    assert sharded.keys() == whole.keys()
    for name in whole:
        torch.testing.assert_close(sharded[name], whole[name], atol=1e-4, rtol=1e-3)


def test_empty_shards_are_refused(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    save_file({"a.lora_A.weight": torch.zeros(0)}, tmp_path / "adapter_model.safetensors")
    with pytest.raises(BadInput, match=r"empty shards.*gather"):
        saving.tidy(tmp_path, base="x")


def test_configs_are_what_accelerate_reads():
    from accelerate.commands.config.config_args import load_config_from_file

    for name in ("one-gpu", "fsdp", "zero3"):
        config = load_config_from_file(str(recipes.SHIPPED.parent / "configs" / f"{name}.yaml"))
        assert config.mixed_precision == "bf16"
