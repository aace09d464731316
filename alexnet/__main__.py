"""python -m alexnet VERB is the same as alexnet VERB."""

import sys

from alexnet.cli import main

if __name__ == "__main__":
    sys.exit(main())
