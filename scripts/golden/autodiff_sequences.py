"""Golden gradients of attention and recurrent operators, by torch.autograd, for test/unit/autodiff/attention.test.ts and
recurrent.test.ts, in the form of autodiff_normalisation.py.

    python scripts/golden/autodiff_sequences.py test/fixtures/autodiff/ops

needs torch; its version and the seed stand in the JSON.
"""

import json
import sys
from pathlib import Path

import torch
from autodiff_normalisation import case
from torch import nn
from torch.nn import functional as F

SEED = 22


def attention():
    r = torch.randn
    q, k, v = r(2, 4, 3, 4), r(2, 2, 5, 4), r(2, 2, 5, 3)
    mask = r(2, 1, 3, 5)
    grouped = dict(enable_gqa=True)
    yield case(
        "Attention", 23, {}, {"q": q, "k": k, "v": v},
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, **grouped), "shared keys and values",
    )  # fmt: skip
    yield case(
        "Attention", 23, {"scale": 0.4}, {"q": q, "k": k, "v": v, "mask": mask},
        lambda q, k, v, m: F.scaled_dot_product_attention(q, k, v, m, scale=0.4, **grouped), "numbers added",
    )  # fmt: skip
    square = {"q": r(2, 2, 4, 3), "k": r(2, 2, 4, 3), "v": r(2, 2, 4, 3)}
    yield case(
        "Attention", 23, {"is_causal": 1}, square,
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True), "causal",
    )  # fmt: skip
    heads = lambda t: t.unflatten(2, (2, -1)).transpose(1, 2)
    yield case(
        "Attention", 23, {"q_num_heads": 2, "kv_num_heads": 2},
        {"q": r(2, 3, 6), "k": r(2, 5, 6), "v": r(2, 5, 4)},
        lambda q, k, v: F.scaled_dot_product_attention(heads(q), heads(k), heads(v)).transpose(1, 2).flatten(2),
        "heads side by side",
    )  # fmt: skip


def layer(kind, attributes, bidirectional, order):
    """torch's own layer on the weights of ONNX, whose gates stand in another order: gate i of torch is order[i]."""
    inputs, hidden, steps, batch = 3, 4, 5, 2
    ways = 2 if bidirectional else 1
    gates = len(order)
    states = 2 if kind is nn.LSTM else 1
    r = torch.randn
    tensors = {
        "x": r(steps, batch, inputs),
        "W": r(ways, gates * hidden, inputs) * 0.5,
        "R": r(ways, gates * hidden, hidden) * 0.5,
        "B": r(ways, 2 * gates * hidden) * 0.5,
        "lengths": None,
        **{name: r(ways, batch, hidden) for name in ("h", "c")[:states]},
    }

    def run(x, w, weights, bias, *start):
        module = kind(inputs, hidden, bidirectional=bidirectional).double()
        arranged = lambda t: torch.cat([t.chunk(gates)[i] for i in order])
        own = {}
        for way, suffix in zip(range(ways), ("", "_reverse")):
            for name, t in zip(
                ("weight_ih", "weight_hh", "bias_ih", "bias_hh"), (w[way], weights[way], *bias[way].chunk(2))
            ):
                own[f"{name}_l0{suffix}"] = arranged(t)
        y, last = torch.func.functional_call(module, own, (x, start if states == 2 else start[0]))
        y = y.unflatten(2, (ways, hidden)).transpose(1, 2)
        return (y, *last) if states == 2 else (y, last)

    attributes = {**attributes, "hidden_size": hidden, "direction": "bidirectional" if bidirectional else "forward"}
    return case(kind.__name__, 17, attributes, tensors, run, attributes["direction"])


def recurrent():
    for bidirectional in (False, True):
        yield layer(nn.LSTM, {}, bidirectional, (0, 2, 3, 1))
        yield layer(nn.GRU, {"linear_before_reset": 1}, bidirectional, (1, 0, 2))
        yield layer(nn.RNN, {}, bidirectional, (0,))


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    made_with = f"torch {torch.__version__.split('+')[0]}, seed {SEED}"
    for family in (attention, recurrent):
        torch.manual_seed(SEED)
        golden = {"made_with": made_with, "cases": list(family())}
        (target / f"{family.__name__}.json").write_text(json.dumps(golden) + "\n")
