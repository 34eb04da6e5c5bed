"""Build an ONNX Runtime GenAI graph from a checkpoint: `python -m dear.engines.export CHECKPOINT_JSON FOLDER PRECISION`.

A program of its own, so that the memory it takes (torch, the weights in fp32, the builder) is gone when it ends.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from dear import zoo
from dear.embedded import embedded_base, embedded_file
from dear.engines import fourbit
from dear.weights import fetch

SCRATCH = "scratch"  # a folder inside the output's, removed by whoever called


def main(argv: list[str]) -> None:
    """Write the graph: of the base file's own 4 bits where that can be, else of the merged weights, by the builder's quantisation."""
    what, folder, precision = json.loads(argv[0]), Path(argv[1]), argv[2]
    path = what.pop("path")
    checkpoint = zoo.Checkpoint(stage="listwise", path=Path(path) if path else None, **what)
    if precision == "int4" and fourbit.keeps_own_bits(checkpoint):
        _own_bits(checkpoint, folder)
        return
    source = fetch(checkpoint.source)
    if (source / "adapter_config.json").is_file() or checkpoint.layers is not None:
        source = _merge(checkpoint, folder / SCRATCH / "merged")
    command = _builder(source, folder, precision)
    os.execv(command[0], command)  # the builder takes this process's place: what merging took in memory is given back first


def _own_bits(checkpoint: zoo.Checkpoint, folder: Path) -> None:
    from dear.gguf import GGUF

    built = subprocess.run(_builder(embedded_base(), folder, "int4"), check=False)
    if built.returncode != 0:
        raise SystemExit(built.returncode)
    source = Path(checkpoint.source)
    adapter = {} if checkpoint.source == zoo.EMBEDDED else fourbit.read_adapter(source)
    fourbit.rewrite(folder, dict(GGUF(embedded_file()).blocks()), adapter)


def _builder(source: Path, folder: Path, precision: str) -> list[str]:
    command = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-i", str(source), "-o", str(folder), "-p", precision, "-e", "cpu"]
    return [*command, "-c", str(folder / SCRATCH / "cache")]


def _merge(checkpoint: zoo.Checkpoint, folder: Path) -> Path:
    from dear.loading import load_causal

    folder.mkdir(parents=True)
    load_causal(checkpoint, precision="fp32").save(folder)
    return folder


if __name__ == "__main__":
    main(sys.argv[1:])
