"""Build an ONNX Runtime GenAI graph from a checkpoint: `python -m dear.engines.export CHECKPOINT_JSON FOLDER PRECISION`.

A program of its own, so that the memory it takes (torch, the weights in fp32, the builder) is gone when it ends.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from dear import zoo
from dear.weights import fetch


def main(argv: list[str]) -> int:
    """Merge where there is an adapter or a cut in depth, then run the builder; returns its exit status."""
    what, folder, precision = json.loads(argv[0]), Path(argv[1]), argv[2]
    path = Path(what.pop("path")) if what["path"] else what.pop("path") or None
    checkpoint = zoo.Checkpoint(stage="listwise", path=path, **what)
    source = fetch(checkpoint.source)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        if (source / "adapter_config.json").is_file() or checkpoint.layers is not None:
            source = _merge(checkpoint, Path(scratch) / "merged")
        command = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-i", str(source), "-o", str(folder), "-p", precision, "-e", "cpu"]
        return subprocess.run([*command, "-c", str(Path(scratch) / "cache")], check=False).returncode


def _merge(checkpoint: zoo.Checkpoint, folder: Path) -> Path:
    from dear.loading import load_causal

    student = load_causal(checkpoint, precision="fp32")
    with student.active():
        student.save(folder)
    student.close()
    gc.collect()
    return folder


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
