"""Trains the small networks in test/fixtures/features, which the importance of input features is tested on.

    python scripts/golden/features.py [SET ...]

The sets are those of Chen et al. 2018 (L2X, arXiv 1802.07814; xor, orange-skin, nonlinear-additive) and Yoon et al. 2019
(INVASE; syn4, syn5, syn6), on standard normal features. The first three have ten features and the likelier label; the
switch sets have eleven, of which the last one says which of two functions counts, and labels drawn by their probability.
Every step trains on new samples, so that what the networks make of features without a meaning is as small as can be.
`test/support/feature-sets.ts` has the same sets for the tests. Needs torch 2 and onnxscript; seed 0.
"""

import sys
from pathlib import Path

import torch
from torch import nn

OUT = Path(__file__).resolve().parents[2] / "test" / "fixtures" / "features"
STEPS, BATCH, HIDDEN = 6000, 2048, 64


def product(x):
    return x[:, 0] * x[:, 1]


def sphere(x, first=0):
    return (x[:, first : first + 4] ** 2).sum(1) - 4


def additive(x, first=0, amplitude=100.0):
    a, b, c, d = x[:, first : first + 4].T
    return -amplitude * torch.sin(0.2 * a) + b.abs() + c + torch.exp(-d) - 2.4


def switch(left, right):
    return lambda x: torch.where(x[:, 10] < 0, left(x), right(x))


# Number of features, log-odds of label 0, whether labels are drawn.
SETS = {
    "xor": (10, product, False),
    "orange-skin": (10, sphere, False),
    "nonlinear-additive": (10, additive, False),
    "syn4": (11, switch(product, lambda x: sphere(x, 2)), True),
    "syn5": (11, switch(product, lambda x: additive(x, 6, 10.0)), True),
    "syn6": (11, switch(lambda x: sphere(x, 2), lambda x: additive(x, 6, 10.0)), True),
}


def batch(name, size, generator):
    features, log_odds, drawn = SETS[name]
    x = torch.randn(size, features, generator=generator)
    z = log_odds(x)
    if drawn:
        zero = torch.rand(size, generator=generator) < torch.sigmoid(z)
    else:
        zero = z > 0
    return x, (~zero).long()


def train(name):
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    features = SETS[name][0]
    net = nn.Sequential(
        nn.Linear(features, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2)
    )
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    for _ in range(STEPS):
        x, y = batch(name, BATCH, generator)
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimiser.step()
        schedule.step()
    x, y = batch(name, 100_000, generator)
    with torch.no_grad():
        accuracy = (net(x).argmax(1) == y).float().mean().item()
    path = OUT / f"{name}.onnx"
    torch.onnx.export(
        net, (torch.zeros(1, features),), str(path), input_names=["x"], output_names=["logits"],
        dynamic_axes={"x": {0: "N"}, "logits": {0: "N"}}, opset_version=17, dynamo=False,
    )
    print(f"{name}: accuracy {accuracy:.3f}, {path.stat().st_size} bytes", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    OUT.mkdir(parents=True, exist_ok=True)
    for chosen in sys.argv[1:] or SETS:
        train(chosen)
