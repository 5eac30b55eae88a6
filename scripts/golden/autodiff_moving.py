"""Golden gradients of ops that move, pick, resize and reduce, by torch.autograd, for
test/unit/autodiff/moving-golden.test.ts.

Each case is a small function of tensors, exported to ONNX (so that the graph is an exporter's, not ours). The objective
is the sum of its result times fixed random numbers. One JSON file holds the models (base64), inputs, those numbers and
the gradients.

    python scripts/golden/autodiff_moving.py test/fixtures/autodiff-moving.json

needs torch and onnx; their versions and the seed stand in the file.
"""

import base64
import json
import sys
import tempfile
from pathlib import Path

import onnx
import torch
from torch.nn import functional as F

SEED = 21
normal = torch.randn
whole = lambda *values: torch.tensor(values)


def ties():
    """Rows whose largest and smallest elements come several times."""
    return torch.tensor([[1.0, 3.0, 3.0, -2.0], [0.5, 0.5, 0.5, 0.5], [2.0, -1.0, -1.0, 4.0]])


def zeros_among():
    """Rows with no, one and two zeros."""
    return torch.tensor([[0.5, -2.0, 1.5], [0.0, 3.0, -0.7], [0.0, 1.2, 0.0]])


def resize(**options):
    return lambda x: F.interpolate(x, **options)


plane = lambda: [normal(2, 2, 3, 4)]

# name: (opset, function, its inputs)
CASES = {
    "views": (13, lambda x: x.view(2, 2, -1).permute(2, 0, 1).unsqueeze(1).squeeze(1), plane),
    "concat and split": (13, lambda x, y: torch.cat([*torch.split(x, [1, 3, 2], 1)[::2], y], 1), lambda: [normal(2, 6), normal(2, 2)]),
    "chunks": (18, lambda x: torch.chunk(x, 3, -1)[1] * 2 + torch.chunk(x, 3, -1)[2], lambda: [normal(2, 6)]),
    "slices": (11, lambda x: x[:, 1:, ::2, -3:-1], plane),
    "flip": (13, lambda x: torch.flip(x, [1, 3]), plane),
    "select": (13, lambda x: x[:, 0] + x[:, -1], plane),
    "index select": (17, lambda x, i: torch.index_select(x, 2, i), lambda: [normal(2, 3, 4), whole(3, 0, 3, 1)]),
    "index select, old": (11, lambda x, i: torch.index_select(x, 2, i), lambda: [normal(2, 3, 4), whole(3, 0, 3, 1)]),
    "embedding": (17, lambda w, i: F.embedding(i, w), lambda: [normal(5, 3), whole([1, 4, 1], [0, 1, 2])]),
    "gather": (17, lambda x, i: torch.gather(x, 1, i), lambda: [normal(2, 4), whole([3, 3, 0], [1, 2, 1])]),
    "gather, old": (11, lambda x, i: torch.gather(x, 1, i), lambda: [normal(2, 4), whole([3, 3, 0], [1, 2, 1])]),
    "advanced index": (17, lambda x, i, j: x[i, j], lambda: [normal(3, 4, 2), whole(0, 2, 0, 2), whole(1, 3, 1, 0)]),
    "scatter": (17, lambda x, i, u: torch.scatter(x, 1, i, u), lambda: [normal(2, 4), whole([3, 0], [1, 2]), normal(2, 2)]),
    "scatter add": (17, lambda x, i, u: torch.scatter_add(x, 1, i, u), lambda: [normal(2, 4), whole([3, 3], [1, 2]), normal(2, 2)]),
    "scatter largest": (18, lambda x, i, u: torch.scatter_reduce(x, 1, i, u, "amax"), lambda: [ties(), whole([1, 1], [0, 2], [0, 0]), torch.tensor([[3.0, 0.0], [0.5, 0.5], [5.0, 5.0]])]),
    "index put": (17, lambda x, i, u: torch.index_put(x, (i,), u), lambda: [normal(4, 3), whole(2, 0), normal(2, 3)]),
    "expand": (13, lambda x: x.expand(2, 3, 4), lambda: [normal(3, 1)]),
    "repeat": (13, lambda x: x.repeat(2, 1, 3), lambda: [normal(2, 3, 2)]),
    "pad constant": (13, lambda x: F.pad(x, (1, 2, 0, 1), value=0.7), plane),
    "pad negative": (13, lambda x: F.pad(x, (-1, 2, 1, -2)), plane),
    "pad reflect": (13, lambda x: F.pad(x, (1, 2, 2, 0), mode="reflect"), plane),
    "pad replicate": (13, lambda x: F.pad(x, (1, 2, 2, 0), mode="replicate"), plane),
    "pad circular": (13, lambda x: F.pad(x, (1, 2, 2, 0), mode="circular"), plane),
    "nearest": (13, resize(scale_factor=2), plane),
    "nearest, old": (9, resize(scale_factor=2), plane),
    "nearest to a size": (13, resize(size=(5, 3)), plane),
    "linear": (13, resize(scale_factor=1.5, mode="linear"), lambda: [normal(2, 3, 6)]),
    "bilinear": (13, resize(size=(5, 7), mode="bilinear", align_corners=False), plane),
    "bilinear, corners": (11, resize(size=(5, 3), mode="bilinear", align_corners=True), plane),
    "bicubic": (13, resize(size=(5, 7), mode="bicubic", align_corners=False), plane),
    "trilinear": (13, resize(scale_factor=2, mode="trilinear"), lambda: [normal(1, 2, 2, 3, 2)]),
    "pixel shuffle": (13, lambda x: F.pixel_shuffle(x, 2), lambda: [normal(2, 8, 2, 3)]),
    "pixel unshuffle": (13, lambda x: F.pixel_unshuffle(x, 2), lambda: [normal(2, 2, 4, 2)]),
    "cumulative sum": (13, lambda x: torch.cumsum(x, 1), lambda: [normal(2, 5)]),
    "triangles": (14, lambda x: torch.tril(x, -1) + torch.triu(x, 1) * 2, lambda: [normal(4, 4)]),
    "top k": (13, lambda x: torch.topk(x, 2, 1).values, lambda: [normal(2, 5, 3)]),
    "sum and mean": (13, lambda x: x.sum((1, 3)) + x.mean((1, 3)), plane),
    "sum and mean, new": (18, lambda x: x.sum((1, 3), keepdim=True) * x.mean(-1, keepdim=True), plane),
    "largest of ties": (13, lambda x: torch.amax(x, 1), lambda: [ties()]),
    "smallest of ties": (18, lambda x: torch.amin(x, 1, keepdim=True), lambda: [ties()]),
    "product": (13, lambda x: torch.prod(x, 1), lambda: [zeros_among()]),
    "norms": (13, lambda x: x.norm(p=1, dim=1) + x.norm(p=2, dim=1), lambda: [torch.cat([zeros_among(), torch.zeros(1, 3)])]),
    "logarithm of sums": (13, lambda x: torch.logsumexp(x, (1, 2)), lambda: [normal(2, 3, 4)]),
}


class Case(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


def export(function, inputs, opset, path):
    names = [f"x{i}" for i in range(len(inputs))]
    torch.onnx.export(
        Case(function).eval(),
        tuple(inputs),
        str(path),
        input_names=names,
        output_names=["y"],
        opset_version=opset,
        dynamo=False,
    )
    return names


def numbers(t):
    return [float(f"{v:.7g}") for v in t.flatten().tolist()]


def golden(name, path):
    opset, function, make = CASES[name]
    torch.manual_seed(SEED)
    inputs = make()
    names = export(function, inputs, opset, path)
    floating = [x for x in inputs if x.is_floating_point()]
    for x in floating:
        x.requires_grad_()
    y = function(*inputs)
    seed = normal(y.shape)
    objective = (y * seed).sum()
    objective.backward()
    return {
        "name": name,
        "model": base64.b64encode(path.read_bytes()).decode(),
        "inputs": {
            n: {"dims": list(x.shape), "type": str(x.dtype)[6:], "values": numbers(x)} for n, x in zip(names, inputs)
        },
        "seed": {"dims": list(y.shape), "values": numbers(seed)},
        "objective": objective.item(),
        "gradients": {n: numbers(x.grad) for n, x in zip(names, inputs) if x.is_floating_point()},
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        cases = [golden(name, Path(folder) / "case.onnx") for name in CASES]
    made_with = f"torch {torch.__version__.split('+')[0]}, onnx {onnx.__version__}, seed {SEED}"
    lines = ",\n".join(json.dumps(case) for case in cases)
    Path(sys.argv[1]).write_text(f'{{"made_with": {json.dumps(made_with)}, "cases": [\n{lines}\n]}}\n')
