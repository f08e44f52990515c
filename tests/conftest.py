"""What every test shares."""

import torch

# The models of the tests are too small to gain from threads, and pytest-xdist runs one worker
# per core.
torch.set_num_threads(1)
