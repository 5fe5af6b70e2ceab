"""``python -m homfast`` is the command ``homfast``."""

import sys

from homfast.cli import main

if __name__ == "__main__":
    sys.exit(main())
