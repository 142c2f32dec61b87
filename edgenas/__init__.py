"""edgenas: edge deployment with on-device specialization (host side).

OpenMP threads that wait by spinning make training up to five times slower as soon as anything else
wants a core, and disturb a daemon that measures on the same machine; torch reads the setting when
it is loaded, so it is made here, before anything can import torch.
"""

import os

__version__ = "0.1.0"

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
