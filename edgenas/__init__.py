"""edgenas: edge deployment with on-device specialization (host side).

OpenMP threads that wait by spinning make training several times slower as soon as anything else
wants a core, and disturb a daemon that measures on the same machine; threads that sleep at once
make small networks slower. So they spin briefly, then sleep. torch reads the setting when it is
loaded, so it is made here, before anything can import torch.
"""

import os

__version__ = "0.1.0"

os.environ.setdefault("GOMP_SPINCOUNT", "1000")
