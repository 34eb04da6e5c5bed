"""Entry point for Hugging Face Spaces; at home use `make demo`."""

import sys

from demo.boot import main

if __name__ == "__main__":
    sys.exit(main())
