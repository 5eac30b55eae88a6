"""Golden gradients of small networks, by torch.autograd, for test/unit/autodiff/golden.test.ts.

Each network is exported to ONNX (so that the graph is an exporter's, not ours) and written with its inputs, labels,
loss and the gradients of the loss with respect to every input and parameter, as NAME.onnx and NAME.json.

    python scripts/golden/autodiff.py test/fixtures/autodiff

needs torch and onnx; their versions and the seed stand in the JSON.
"""

import json
import math
import sys
from pathlib import Path

import onnx
import torch
from torch import nn
from torch.nn import functional as F

SEED = 20


class Mlp(nn.Module):
    """Linear layers with one activation function after the other."""

    opset = 13
    shape = (4, 5)

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(5, 6), *(nn.Linear(6, 6) for _ in range(6)), nn.Linear(6, 3)])

    def forward(self, x):
        functions = [F.gelu, F.silu, torch.tanh, F.hardswish, F.softplus, F.elu, lambda v: F.leaky_relu(v, 0.2)]
        for layer, function in zip(self.layers, functions):
            x = function(layer(x)) + 0.1
        return self.layers[-1](x)


class Attention(nn.Module):
    """Attention of two heads in einsums, with residuals, a scale by length and gated units."""

    opset = 17
    shape = (2, 4, 6)

    def __init__(self):
        super().__init__()
        new = lambda *dims: nn.Parameter(torch.randn(*dims) / math.sqrt(dims[0]))
        self.q, self.k, self.v = new(6, 2, 3), new(6, 2, 3), new(6, 2, 3)
        self.o = nn.Parameter(torch.randn(2, 3, 6) / math.sqrt(6))
        self.up, self.gate, self.down = new(6, 8), new(6, 8), new(8, 6)
        self.head = new(6, 3)

    def forward(self, x):
        q, k, v = (torch.einsum("bti,ihd->bhtd", x, w) for w in (self.q, self.k, self.v))
        weights = torch.softmax(torch.einsum("bhtd,bhsd->bhts", q, k) / math.sqrt(3), -1)
        x = x + torch.einsum("bhts,bhsd,hdi->bti", weights, v, self.o)
        x = x + (torch.sigmoid(x @ self.gate) * (x @ self.up)) @ self.down
        return torch.einsum("bti,ic->bc", x, self.head) / 4


NETWORKS = {"mlp": Mlp, "attention": Attention}


def write(name, folder):
    torch.manual_seed(SEED)
    network = NETWORKS[name]().eval()
    x = torch.randn(*network.shape, requires_grad=True)
    labels = torch.randint(0, 3, (network.shape[0],))
    path = folder / f"{name}.onnx"
    torch.onnx.export(
        network,
        (x,),
        str(path),
        input_names=["x"],
        output_names=["logits"],
        opset_version=network.opset,
        dynamic_axes={"x": {0: "N"}},
        do_constant_folding=False,
        dynamo=False,
    )
    loss = F.cross_entropy(network(x), labels)
    loss.backward()
    initializers = {t.name for t in onnx.load(path).graph.initializer}
    gradients = {"x": x.grad, **{n: p.grad for n, p in network.named_parameters() if n in initializers}}
    assert len(gradients) == 1 + len(list(network.parameters())), "the exporter renamed parameters"
    numbers = lambda t: [float(f"{v:.7g}") for v in t.flatten().tolist()]
    golden = {
        "made_with": f"torch {torch.__version__.split('+')[0]}, onnx {onnx.__version__}, seed {SEED}",
        "x": {"dims": list(x.shape), "values": numbers(x)},
        "labels": labels.tolist(),
        "loss": loss.item(),
        "gradients": {n: numbers(g) for n, g in gradients.items()},
    }
    (folder / f"{name}.json").write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    for network_name in sys.argv[2:] or NETWORKS:
        write(network_name, target)
