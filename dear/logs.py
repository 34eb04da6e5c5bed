"""How the programs log: warnings of ours to stderr, and what our libraries say to developers left out."""

from __future__ import annotations

import logging
import os
import sys
import warnings


def start_logging(*, verbose: bool = False) -> None:
    """Log to stderr, warnings and worse; `verbose` adds what is chosen and why, and lets the libraries speak. For entry points only."""
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    if verbose:
        return
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # optional kernels that are absent
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # layers that were cut off on purpose; read when it is imported
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers|torch|peft|gradio")
