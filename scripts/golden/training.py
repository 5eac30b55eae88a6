"""Golden training runs of small networks, by torch.optim, for test/unit/training/golden.test.ts.

Each network is exported to ONNX (so that the graph is an exporter's, not ours) as NAME.onnx. NAME.json has the data, and
for each optimiser the loss of every step and all weights and running statistics after ten steps on two batches in turn.

    python scripts/golden/training.py test/fixtures/training

No weight has a gradient that is zero but for rounding (a bias in front of batch norm, the bias of keys): Adam makes steps
of full size of that noise, whose sign is nobody's.

needs torch and onnx; their versions and the seed stand in the JSON.
"""

import copy
import json
import sys
from pathlib import Path

import onnx
import torch
from torch import nn
from torch.nn import functional as F

SEED = 4
STEPS = 10
ROWS = 6
CLASSES = 3


class Mlp(nn.Module):
    shape = (5,)

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, CLASSES))

    def forward(self, x):
        return self.layers(x)


class Cnn(nn.Module):
    """Convolutions (one strided, one depthwise) with batch norm, a residual, pools."""

    shape = (2, 8, 8)

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 4, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False)
        self.bn2 = nn.BatchNorm2d(4, momentum=0.3)
        self.conv3 = nn.Conv2d(4, 6, 3, stride=2, bias=False)
        self.bn3 = nn.BatchNorm2d(6)
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)
        x = x + F.relu(self.bn2(self.conv2(x)))
        x = F.relu(self.bn3(self.conv3(x)))
        return self.fc(x.mean((2, 3)))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x):
        n, t, w = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(n, t, 3, self.heads, w // self.heads).permute(2, 0, 3, 1, 4)
        a = torch.softmax(q @ k.transpose(-1, -2) / (w // self.heads) ** 0.5, -1) @ v
        x = x + self.out(a.transpose(1, 2).reshape(n, t, w))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Transformer(nn.Module):
    """Tokens, positions, two blocks of pre-norm attention, mean over tokens."""

    shape = None
    tokens, length = 11, 5

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(self.tokens, 8)
        self.position = nn.Parameter(0.1 * torch.randn(1, self.length, 8))
        self.blocks = nn.Sequential(Block(8, 2), Block(8, 2))
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, CLASSES)

    def forward(self, x):
        return self.head(self.norm(self.blocks(self.embed(x) + self.position)).mean(1))


NETWORKS = {"mlp": Mlp, "cnn": Cnn, "transformer": Transformer}

# The options of src/training/optimiser.ts, the learning rate, and the same in torch.
RUNS = {
    "sgd": (
        {"kind": "sgd", "momentum": 0.9, "weightDecay": 0.01},
        0.05,
        lambda p, lr: torch.optim.SGD(p, lr, momentum=0.9, weight_decay=0.01),
    ),
    "nesterov": (
        {"kind": "sgd", "momentum": 0.8, "nesterov": True},
        0.05,
        lambda p, lr: torch.optim.SGD(p, lr, momentum=0.8, nesterov=True),
    ),
    "adam": (
        {"kind": "adam", "weightDecay": 0.02},
        0.01,
        lambda p, lr: torch.optim.Adam(p, lr, weight_decay=0.02),
    ),
    "adamw": (
        {"kind": "adamw", "weightDecay": 0.05, "betas": [0.85, 0.99]},
        0.01,
        lambda p, lr: torch.optim.AdamW(p, lr, weight_decay=0.05, betas=(0.85, 0.99)),
    ),
}


def numbers(tensor):
    return [float(f"{v:.7g}") for v in tensor.flatten().tolist()]


def train(network, batches, optimiser, rate, smoothing, clip):
    network = copy.deepcopy(network).train()
    optimiser = optimiser(network.parameters(), rate)
    losses = []
    for step in range(STEPS):
        x, labels = batches[step % 2]
        optimiser.zero_grad()
        loss = F.cross_entropy(network(x), labels, label_smoothing=smoothing)
        loss.backward()
        if clip:
            torch.nn.utils.clip_grad_norm_(network.parameters(), clip)
        optimiser.step()
        losses.append(loss.item())
    state = {n: numbers(t) for n, t in network.state_dict().items() if not n.endswith("num_batches_tracked")}
    return {"losses": losses, "weights": state}


def write(name, folder):
    torch.manual_seed(SEED)
    network = NETWORKS[name]()
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.LayerNorm)):
            # The exporter stores equal tensors once.
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    sample = lambda: (
        torch.randn(ROWS, *network.shape)
        if network.shape
        else torch.randint(0, network.tokens, (ROWS, network.length))
    )
    batches = [(sample(), torch.randint(0, CLASSES, (ROWS,))) for _ in range(2)]
    path = folder / f"{name}.onnx"
    torch.onnx.export(
        network.eval(),
        (batches[0][0],),
        str(path),
        input_names=["x"],
        output_names=["logits"],
        opset_version=17,
        dynamic_axes={"x": {0: "N"}, "logits": {0: "N"}},
        do_constant_folding=False,
        training=torch.onnx.TrainingMode.PRESERVE,  # keeps batch norm apart from convolutions
        dynamo=False,
    )
    initializers = {t.name for t in onnx.load(path).graph.initializer}
    missing = {n for n in network.state_dict() if not n.endswith("num_batches_tracked")} - initializers
    assert not missing, f"the exporter renamed {missing}"
    runs = {}
    for run, (options, rate, optimiser) in RUNS.items():
        runs[run] = {"optimiser": options, "learningRate": rate, **train(network, batches, optimiser, rate, 0.0, None)}
    options, rate, optimiser = RUNS["sgd"]
    runs["smoothed and clipped"] = {
        "optimiser": options,
        "learningRate": rate,
        "smoothing": 0.1,
        "clipNorm": 0.5,
        **train(network, batches, optimiser, rate, 0.1, 0.5),
    }
    golden = {
        "made_with": f"torch {torch.__version__.split('+')[0]}, onnx {onnx.__version__}, seed {SEED}",
        "batches": [{"x": numbers(x), "dims": list(x.shape), "labels": y.tolist()} for x, y in batches],
        "runs": runs,
    }
    (folder / f"{name}.json").write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    for network_name in sys.argv[2:] or NETWORKS:
        write(network_name, target)
