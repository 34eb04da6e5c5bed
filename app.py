"""Entry point for Hugging Face Spaces; at home use `make demo`."""

import os
import sys

from demo import zerogpu  # noqa: F401 - before torch, which `spaces` has to come ahead of
from demo.boot import main

os.environ.setdefault("DEAR_DOWNLOAD", "1")  # a Space installs requirements.txt alone: the base model comes from the hub beside it

if __name__ == "__main__":
    sys.exit(main())
