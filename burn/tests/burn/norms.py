"""Writes norms.pt: a state dict of PyTorch with every norm, whose values tell where they belong.

pip install torch && python norms.py
"""

from pathlib import Path

import torch

model = torch.nn.ModuleDict(
    {
        "layer": torch.nn.LayerNorm(8),
        "rms": torch.nn.RMSNorm(8),
        "group": torch.nn.GroupNorm(2, 8),
        "instance": torch.nn.InstanceNorm1d(8, affine=True),
        "batch": torch.nn.BatchNorm1d(8),
    }
)
state = model.state_dict()
names = [name for name in state if not name.endswith("num_batches_tracked")]
for number, name in enumerate(names):
    state[name] = 10.0 * number + torch.arange(8, dtype=torch.float32)
    print(number, name)
torch.save(state, Path(__file__).with_name("norms.pt"))
