"""One thread for torch: small nets on shared cores only lose time to more."""

import torch

torch.set_num_threads(1)
