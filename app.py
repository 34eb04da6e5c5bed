"""Entry point for Hugging Face Spaces; at home use `make demo`."""

import sys

from demo import zerogpu  # noqa: F401 - before torch, which `spaces` has to come ahead of
from demo.boot import main

if __name__ == "__main__":
    sys.exit(main())
