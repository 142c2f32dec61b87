"""`python -m edgenas`: the `edgenas` command, for launchers that start modules (torchrun)."""

import sys

from edgenas.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
