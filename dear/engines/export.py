"""Build an ONNX Runtime GenAI graph from a checkpoint: `python -m dear.engines.export CHECKPOINT_JSON FOLDER PRECISION`.

A program of its own, so that the memory it takes (torch, the weights in fp32, the builder) is gone when it ends.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from dear import zoo
from dear.weights import fetch

SCRATCH = "scratch"  # a folder inside the output's, removed by whoever called


def main(argv: list[str]) -> None:
    """Merge where there is an adapter or a cut in depth, then become the builder: what merging took in memory is given back first."""
    what, folder, precision = json.loads(argv[0]), Path(argv[1]), argv[2]
    path = what.pop("path")
    checkpoint = zoo.Checkpoint(stage="listwise", path=Path(path) if path else None, **what)
    source = fetch(checkpoint.source)
    if (source / "adapter_config.json").is_file() or checkpoint.layers is not None:
        source = _merge(checkpoint, folder / SCRATCH / "merged")
    command = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-i", str(source), "-o", str(folder), "-p", precision, "-e", "cpu"]
    os.execv(sys.executable, [*command, "-c", str(folder / SCRATCH / "cache")])


def _merge(checkpoint: zoo.Checkpoint, folder: Path) -> Path:
    from dear.loading import load_causal

    folder.mkdir(parents=True)
    load_causal(checkpoint, precision="fp32").save(folder)
    return folder


if __name__ == "__main__":
    main(sys.argv[1:])
