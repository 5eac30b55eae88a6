"""Golden first-order changes of the loss, by torch.autograd, for test/unit/gradients/golden.test.ts.

Two small networks are exported to ONNX and written with samples and labels. For every sample n and unit of the layers
that hooks stand on, the sum over positions of a * d loss_n / d a is given, where a is what the unit's readers see, and
for the classifier the diagonal of the Fisher information: the same squared, in the mean over the model's own answers.

    python scripts/golden/taylor.py test/fixtures/taylor

needs torch and onnx; their versions and the seed stand in the JSON.
"""

import json
import sys
from pathlib import Path

import onnx
import torch
from torch import nn
from torch.nn import functional as F

SEED = 21


class Watched(nn.Module):
    """Tells of the activations of some layers, by name, with the axis of their units."""

    @staticmethod
    def seen(name, a, axis):
        return a


class Cnn(Watched):
    """Two convolutions with batch normalisation, of which the second is read twice, pooled and flattened; a hidden layer."""

    shape = (6, 2, 8, 8)
    positions = ()

    def __init__(self):
        super().__init__()
        self.stem, self.stem_bn = nn.Conv2d(2, 5, 3, padding=1, bias=False), nn.BatchNorm2d(5)
        self.left, self.right = nn.Conv2d(5, 4, 3, padding=1, stride=2), nn.Conv2d(5, 4, 1, stride=2)
        self.bn = nn.BatchNorm2d(4)
        self.hidden, self.head = nn.Linear(16, 7), nn.Linear(7, 3)
        for bn in (self.stem_bn, self.bn):
            for t in (bn.weight, bn.running_var):
                nn.init.uniform_(t, 0.6, 1.6)
            for t in (bn.bias, bn.running_mean):
                nn.init.normal_(t, 0, 0.3)

    def forward(self, x):
        seen = self.seen
        a = seen("stem", F.relu(self.stem_bn(self.stem(x))), 1)
        b = F.relu(self.bn(self.left(a) + self.right(a)))
        c = seen("left", F.max_pool2d(b, 2), 1)
        d = seen("hidden", F.relu(self.hidden(c.flatten(1))), 1)
        return self.head(d)


class Transformer(Watched):
    """One block of attention with two heads and a feed-forward part; an answer for every token."""

    shape = (4, 5, 6)
    positions = (5,)

    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(6), nn.LayerNorm(6)
        self.q, self.k, self.v, self.out = (nn.Linear(6, 6) for _ in range(4))
        self.up, self.down, self.head = nn.Linear(6, 9), nn.Linear(9, 6), nn.Linear(6, 3)

    def forward(self, x):
        seen = self.seen
        n, t, _ = x.shape
        y = self.norm1(x)
        q, k, v = (f(y).reshape(n, t, 2, 3).transpose(1, 2) for f in (self.q, self.k, self.v))
        weights = torch.softmax(q @ k.transpose(2, 3) / 3**0.5, -1)
        context = seen("heads", weights @ v, 1)
        x = x + self.out(context.transpose(1, 2).reshape(n, t, 6))
        a = seen("up", F.gelu(self.up(self.norm2(x))), 2)
        return self.head(x + self.down(a))


NETWORKS = {"cnn": Cnn, "transformer": Transformer}


def changes(network, x, labels):
    """Per sample and unit the sum over positions of a * d loss / d a, by layer; the loss is a mean over positions."""
    kept = {}

    def seen(name, a, axis):
        a.retain_grad()
        kept[name] = (a, axis)
        return a

    network.seen = seen
    logits = network(x)
    each = F.cross_entropy(logits.flatten(0, -2), labels.flatten(), reduction="none").reshape(len(x), -1).mean(1)
    each.sum().backward()
    product = {name: (a * a.grad).detach().movedim(axis, 1).flatten(2).sum(2) if a.ndim > 2 else (a * a.grad).detach()
               for name, (a, axis) in kept.items()}
    return each.detach(), product


def write(name, folder):
    torch.manual_seed(SEED)
    network = NETWORKS[name]().eval()
    x = torch.randn(*network.shape)
    labels = torch.randint(0, 3, (network.shape[0], *network.positions))
    torch.onnx.export(network, (x,), str(folder / f"{name}.onnx"), input_names=["x"], output_names=["logits"],
                      opset_version=17, dynamic_axes={"x": {0: "N"}}, dynamo=False)
    losses, product = changes(network, x, labels)
    numbers = lambda t: [[float(f"{v:.7g}") for v in row] for row in t.tolist()]
    golden = {
        "made_with": f"torch {torch.__version__.split('+')[0]}, onnx {onnx.__version__}, seed {SEED}",
        "x": {"dims": list(x.shape), "values": [float(f"{v:.7g}") for v in x.flatten().tolist()]},
        "labels": labels.flatten().tolist(),
        "losses": [float(f"{v:.7g}") for v in losses.tolist()],
        "changes": {n: numbers(p) for n, p in product.items()},
    }
    if not network.positions:
        p = torch.softmax(network(x).detach(), -1)
        answers = [changes(network, x, torch.full_like(labels, c))[1] for c in range(3)]
        golden["fisher"] = {n: numbers(sum(p[:, c : c + 1] * answers[c][n] ** 2 for c in range(3))) for n in product}
    (folder / f"{name}.json").write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    for network_name in sys.argv[2:] or NETWORKS:
        write(network_name, target)
