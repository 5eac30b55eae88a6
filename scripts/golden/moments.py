"""Golden moments, Wanda scores and optimal-brain-surgeon errors, for test/unit/ranking/moments-golden.test.ts.

A small network (two consumers of one group, strides, pads, dilations, a flattened group) is written as network.onnx, with
inputs and results in network.json:

- Gram matrices E[x x^T] (lower triangles) of what each layer reads, from torch's unfold in double precision;
- Wanda scores, sum of |w| * rms(x), from the same columns;
- obs: greedy elimination where every candidate of every step is refitted anew by the normal equations (damped by 1 % of
  the mean of the Gram matrix's diagonal), with the mean squared error of the refitted layers on the data after each step.

    python scripts/golden/moments.py test/fixtures/moments

needs numpy, torch and onnx; their versions and the seed stand in the JSON.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn
from torch.nn import functional as F

SEED = 8
DAMPING = 0.01


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 4, 3, padding=1)
        self.conv2 = nn.Conv2d(4, 5, 3, stride=2, padding=1)
        self.short = nn.Conv2d(4, 5, 1, stride=2)
        self.conv3 = nn.Conv2d(5, 6, (3, 2), padding=(1, 0), dilation=(2, 1))
        self.fc1 = nn.Linear(6 * 3 * 4, 7)
        self.fc2 = nn.Linear(7, 3)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x) + self.short(x))
        x = F.relu(self.conv3(x))
        x = F.relu(self.fc1(x.flatten(1)))
        return self.fc2(x)


# Units of each group, and the layers that read them.
GROUPS = {"conv1": (4, ["conv2", "short"]), "conv2": (5, ["conv3"]), "conv3": (6, ["fc1"]), "fc1": (7, ["fc2"])}


def columns(layer, x):
    """Rows (samples x positions) by columns (channel, kernel position) of what a layer reads."""
    if isinstance(layer, nn.Linear):
        return x
    patches = F.unfold(x, layer.kernel_size, layer.dilation, layer.padding, layer.stride)
    return patches.transpose(1, 2).reshape(-1, patches.shape[1])


def refit(w, h, gone):
    """Weights with the columns `gone` at 0 that minimise tr((W - W0) H (W - W0)^T)."""
    kept = ~gone
    new = np.zeros_like(w)
    if kept.any():
        new[:, kept] = np.linalg.solve(h[np.ix_(kept, kept)], h[kept] @ w.T).T
    return new


def eliminate(size, layers):
    """Greedy removal; scores are the running maximum of the true squared error of all layers."""
    damped = [g + DAMPING * np.trace(g) / len(g) * np.eye(len(g)) for _, _, g, _ in layers]
    removed, scores, reached = [], np.zeros(size), 0.0
    while len(removed) < size:
        best = None
        for unit in set(range(size)) - set(removed):
            loss = error = 0.0
            for (w, x, _, units), h in zip(layers, damped):
                delta = refit(w, h, np.isin(units, [*removed, unit])) - w
                loss += np.sum(delta @ h * delta)
                error += np.mean(np.sum((x @ delta.T) ** 2, 1))
            if best is None or loss < best[0]:
                best = (loss, error, unit)
        removed.append(best[2])
        reached = max(reached, best[1])
        scores[best[2]] = reached
    return scores, removed


def main(folder):
    torch.manual_seed(SEED)
    network = Network().eval()
    x = torch.randn(12, 2, 9, 9)
    torch.onnx.export(
        network,
        (x,),
        str(folder / "network.onnx"),
        input_names=["x"],
        output_names=["logits"],
        opset_version=13,
        dynamic_axes={"x": {0: "N"}},
        do_constant_folding=False,
        dynamo=False,
    )
    values = [float(f"{v:.7g}") for v in x.flatten().tolist()]
    network = network.double()
    inputs = {}
    for name, layer in network.named_children():
        layer.register_forward_pre_hook(lambda _, given, name=name: inputs.__setitem__(name, given[0].detach()))
    network(torch.tensor(values, dtype=torch.float32).double().reshape(x.shape))

    rounded = lambda a: [float(f"{v:.8g}") for v in np.asarray(a).flatten()]
    golden = {
        "made_with": f"numpy {np.__version__}, torch {torch.__version__.split('+')[0]}, onnx {onnx.__version__}, seed {SEED}",
        "x": {"dims": list(x.shape), "values": values},
        "groups": {},
    }
    for group, (size, readers) in GROUPS.items():
        layers, grams = [], {}
        for name in readers:
            layer = getattr(network, name)
            rows = columns(layer, inputs[name]).numpy()
            w = layer.weight.detach().numpy().reshape(layer.weight.shape[0], -1)
            gram = rows.T @ rows / len(rows)
            layers.append((w, rows, gram, np.repeat(np.arange(size), w.shape[1] // size)))
            grams[name] = {"rows": len(rows), "mean": rounded(rows.mean(0)), "gram": rounded(gram[np.tril_indices(len(gram))])}
        wanda = np.zeros(size)
        for w, rows, _, units in layers:
            np.add.at(wanda, units, np.abs(w).sum(0) * np.sqrt(np.mean(rows**2, 0)))
        scores, order = eliminate(size, layers)
        # Tests compare orders: no two units may be as good as equal.
        assert np.diff(scores[order]).min() > 1e-6 * scores.max(), group
        golden["groups"][group] = {"reads": grams, "wanda": rounded(wanda), "obs": rounded(scores), "order": order}
    (folder / "network.json").write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    main(target)
