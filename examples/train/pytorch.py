"""The same training in PyTorch, from the same weights on the same batches: its losses are those of examples/train.rs.

    pip install torch numpy
    python examples/train/pytorch.py --norm batch --epochs 5
"""

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from torch import nn

DIGITS = Path(__file__).parents[2] / "assets" / "digits.npy"
# As in net.rs and train.rs.
WIDTHS = [64, 48, 48, 48, 48, 48, 48, 48, 10]
HELD_OUT, BATCH, RATE, MOMENTUM = 360, 64, 0.08, 0.9
NORMS = {
    "batch": nn.BatchNorm1d,
    "layer": nn.LayerNorm,
    "rms": lambda width: nn.RMSNorm(width, eps=1e-5),
    "none": lambda width: nn.Identity(),
}
MASK = (1 << 64) - 1


class Draws:
    """SplitMix64, as in digits.rs."""

    def __init__(self, seed: int) -> None:
        self.state = seed

    def bits(self) -> int:
        self.state = z = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    def uniform(self) -> float:
        return (self.bits() >> 11) / (1 << 53)

    def normal(self) -> np.float32:
        one, other = 1 - self.uniform(), self.uniform()
        return np.float32(math.sqrt(-2 * math.log(one)) * math.cos(2 * math.pi * other))

    def shuffle(self, values: list[int]) -> None:
        for last in range(len(values) - 1, 0, -1):
            other = int(self.uniform() * (last + 1))
            values[last], values[other] = values[other], values[last]


def network(norm: str, draws: Draws) -> nn.Sequential:
    modules: list[nn.Module] = []
    for inputs, outputs in zip(WIDTHS, WIDTHS[1:]):
        if modules:
            modules += [NORMS[norm](inputs), nn.ReLU()]
        linear = nn.Linear(inputs, outputs)
        deviation = np.float32(math.sqrt(2 / inputs))
        weight = np.array([deviation * draws.normal() for _ in range(outputs * inputs)])
        linear.weight.data = torch.from_numpy(weight.reshape(outputs, inputs))
        nn.init.zeros_(linear.bias)
        modules.append(linear)
    return nn.Sequential(*modules)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--norm", choices=NORMS, default="batch")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()

    rows = np.load(DIGITS)
    order = list(range(len(rows)))
    Draws(0).shuffle(order)
    pixels = torch.from_numpy(rows[order, :64].astype(np.float32) / 16)
    labels = torch.from_numpy(rows[order, 64].astype(np.int64))
    known = len(rows) - HELD_OUT

    draws = Draws(arguments.seed)
    net = network(arguments.norm, draws)
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE, momentum=MOMENTUM)
    order = list(range(known))
    steps, step = arguments.epochs * -(-known // BATCH), 0
    for _ in range(arguments.epochs):
        draws.shuffle(order)
        total = 0.0
        net.train()
        for start in range(0, known, BATCH):
            batch = order[start : start + BATCH]
            optimizer.param_groups[0]["lr"] = RATE * (1 - step / steps)
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(pixels[batch]), labels[batch])
            loss.backward()
            optimizer.step()
            step += 1
            total += loss.item() * len(batch)
    net.eval()
    with torch.no_grad():
        logits = net(pixels[known:])
    unseen = nn.functional.cross_entropy(logits, labels[known:])
    right = (logits.argmax(1) == labels[known:]).float().mean()
    print(f"loss {total / known:.4f}, on the images held out {unseen:.4f} and {100 * right:.2f} % recognized")


if __name__ == "__main__":
    main()
