"""Golden gradients of single normalisation operators, by torch.autograd, for test/unit/autodiff/normalisation.test.ts.

Each case is one ONNX node: its op, opset, attributes and inputs, what it gives, numbers to weigh the outputs with, and
the gradients of the weighed sum with respect to every input, as torch computes them in float64.

    python scripts/golden/autodiff_normalisation.py test/fixtures/autodiff/ops

needs torch; its version and the seed stand in the JSON.
"""

import json
import sys
from pathlib import Path

import torch
from torch.nn import functional as F

SEED = 21


def numbers(tensor):
    return {"dims": list(tensor.shape), "values": [float(f"{v:.8g}") for v in tensor.flatten().tolist()]}


def case(op, opset, attributes, inputs, function, name=""):
    """`function` gives the node's outputs, in order, from its inputs but those left out, which are None."""
    leaves = {n: t.double().requires_grad_() for n, t in inputs.items() if t is not None}
    outputs = function(*leaves.values())
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    seeds = [torch.randn(o.shape, dtype=torch.float64).float().double() for o in outputs]
    sum((o * s).sum() for o, s in zip(outputs, seeds)).backward()
    return {
        "op": op,
        "name": name,
        "opset": opset,
        "attributes": attributes,
        "inputs": {n: numbers(leaves[n]) if n in leaves else None for n in inputs},
        "outputs": [numbers(o) for o in outputs],
        "seeds": [numbers(s) for s in seeds],
        "gradients": {n: numbers(t.grad) for n, t in leaves.items() if t.grad is not None},
    }


def stored_batch(x, scale, bias, mean, variance):
    """Batch normalisation with stored statistics; torch's own has no gradients of those."""
    mean, deviation, scale, bias = (v[:, None, None] for v in (mean, (variance + 0.01).sqrt(), scale, bias))
    return (x - mean) / deviation * scale + bias


def training_batch(momentum):
    """Batch normalisation that trains; the running variance moves towards the biased one, as ONNX has it."""

    def run(x, scale, bias, mean, variance):
        axes = [0, *range(2, x.dim())]
        own, spread = x.mean(axes), x.var(axes, unbiased=False)
        y = F.batch_norm(x, None, None, scale, bias, training=True, eps=0.01)
        return y, momentum * mean + (1 - momentum) * own, momentum * variance + (1 - momentum) * spread

    return run


def cases():
    r = torch.randn
    x = r(3, 4, 2, 3)
    stored = dict(scale=r(4), bias=r(4), mean=r(4), variance=torch.rand(4) + 0.5)
    yield case(
        "BatchNormalization", 17, {"epsilon": 0.01}, {"x": x, **stored},
        stored_batch,
    )  # fmt: skip
    yield case(
        "BatchNormalization", 17, {"epsilon": 0.01, "training_mode": 1, "momentum": 0.8}, {"x": x, **stored},
        training_batch(0.8), "training",
    )  # fmt: skip
    y = r(2, 3, 5)
    yield case(
        "LayerNormalization", 17, {"axis": -1, "epsilon": 0.001}, {"x": y, "scale": r(5), "bias": r(5)},
        lambda x, s, b: F.layer_norm(x, (5,), s, b, 0.001), "last axis",
    )  # fmt: skip
    yield case(
        "LayerNormalization", 17, {"axis": 1, "epsilon": 0.001}, {"x": y, "scale": r(3, 5)},
        lambda x, s: F.layer_norm(x, (3, 5), s, None, 0.001), "two axes",
    )  # fmt: skip
    yield case(
        "RMSNormalization", 23, {"axis": -1, "epsilon": 0.001}, {"x": y, "scale": r(5)},
        lambda x, s: F.rms_norm(x, (5,), s, 0.001),
    )  # fmt: skip
    yield case(
        "SimplifiedLayerNormalization", 17, {"axis": -1, "epsilon": 0.001}, {"x": y, "scale": r(5)},
        lambda x, s: F.rms_norm(x, (5,), s, 0.001),
    )  # fmt: skip
    yield case(
        "com.microsoft.SkipLayerNormalization", 17, {"epsilon": 0.001},
        {"x": y, "skip": r(2, 3, 5), "scale": r(5), "beta": r(5), "bias": r(5)},
        lambda x, k, s, b, c: F.layer_norm(x + k + c, (5,), s, b, 0.001),
    )  # fmt: skip
    yield case(
        "com.microsoft.SkipSimplifiedLayerNormalization", 17, {"epsilon": 0.001},
        {"x": y, "skip": r(2, 3, 5), "scale": r(5)},
        lambda x, k, s: F.rms_norm(x + k, (5,), s, 0.001),
    )  # fmt: skip
    yield case(
        "InstanceNormalization", 17, {"epsilon": 0.01}, {"x": x, "scale": r(4), "bias": r(4)},
        lambda x, s, b: F.instance_norm(x, weight=s, bias=b, eps=0.01),
    )  # fmt: skip
    yield case(
        "GroupNormalization", 21, {"epsilon": 0.01, "num_groups": 2}, {"x": x, "scale": r(4), "bias": r(4)},
        lambda x, s, b: F.group_norm(x, 2, s, b, 0.01), "scale per channel",
    )  # fmt: skip
    yield case(
        "GroupNormalization", 18, {"epsilon": 0.01, "num_groups": 2}, {"x": x, "scale": r(2), "bias": r(2)},
        lambda x, s, b: F.group_norm(x, 2, s.repeat_interleave(2), b.repeat_interleave(2), 0.01), "scale per group",
    )  # fmt: skip
    yield case("LpNormalization", 17, {"axis": 1, "p": 2}, {"x": y}, lambda x: F.normalize(x, 2, 1), "p = 2")
    yield case("LpNormalization", 17, {"axis": -1, "p": 1}, {"x": y}, lambda x: F.normalize(x, 1, -1), "p = 1")
    yield case(
        "LRN", 17, {"size": 3, "alpha": 0.5, "beta": 0.75, "bias": 1.2}, {"x": x},
        lambda x: F.local_response_norm(x, 3, 0.5, 0.75, 1.2),
    )  # fmt: skip


if __name__ == "__main__":
    torch.manual_seed(SEED)
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    made_with = f"torch {torch.__version__.split('+')[0]}, seed {SEED}"
    golden = {"made_with": made_with, "cases": list(cases())}
    (target / "normalisation.json").write_text(json.dumps(golden) + "\n")
