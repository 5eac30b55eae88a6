#!/usr/bin/env python3
"""Trains the models of this folder and writes them with their data. For developers only: the results are committed.

    python examples/make_example.py                # both
    python examples/make_example.py digits         # one of them: digits, lenet5

Needs numpy, torch, onnx, onnxruntime and scikit-learn. The data is scikit-learn's copy of the UCI "Optical Recognition
of Handwritten Digits" data set, so nothing is downloaded. One thread and fixed seeds: on the same library versions the
files come out the same.

`digits/`  a small residual network on the 8x8 images; the example that `npm start` prunes.
`lenet5/`  LeNet-5 (20-50-800-500-10) on the same images enlarged to 28x28; for the benchmarks.
"""

import argparse
import os
from collections import OrderedDict

import numpy as np
import onnx
import onnxruntime
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn import functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
SEED = 2024
CALIB, HELDOUT = 400, 500


class Block(nn.Module):
    """Two 3x3 convolutions with batch norm and a shortcut; the shortcut is a 1x1 convolution where the shape changes."""

    def __init__(self, inputs, outputs, stride, dropout):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.dropout = nn.Dropout2d(dropout)  # drops whole channels while training; not in the exported file
        self.shortcut = None
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                OrderedDict(conv=nn.Conv2d(inputs, outputs, 1, stride, bias=False), bn=nn.BatchNorm2d(outputs))
            )

    def forward(self, x):
        y = self.dropout(F.relu(self.bn1(self.conv1(x))))
        y = self.bn2(self.conv2(y))
        return self.dropout(F.relu(y + (x if self.shortcut is None else self.shortcut(x))))


class DigitsNet(nn.Module):
    """Stem, three residual blocks (the second halves the image), global average pool, linear classifier."""

    def __init__(self, width=24, dropout=0.1):
        super().__init__()
        self.stem = nn.Sequential(
            OrderedDict(conv=nn.Conv2d(1, width, 3, 1, 1, bias=False), bn=nn.BatchNorm2d(width), relu=nn.ReLU())
        )
        self.block1 = Block(width, width, 1, dropout)
        self.block2 = Block(width, 2 * width, 2, dropout)
        self.block3 = Block(2 * width, 2 * width, 1, dropout)
        self.head = nn.Linear(2 * width, 10)

    def forward(self, x):
        x = self.block3(self.block2(self.block1(self.stem(x))))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


class LeNet5(nn.Module):
    """LeNet-5 in its usual ReLU form: 20 and 50 channels, 800 features, 500 neurons."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 20, 5)
        self.conv2 = nn.Conv2d(20, 50, 5)
        self.fc1 = nn.Linear(800, 500)
        self.fc2 = nn.Linear(500, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


def load_data(size):
    """Images [n, 1, size, size] in 0..1 and labels, split into training, calibration and held-out data.

    The split is stratified by class and the same for every size.
    """
    digits = load_digits()
    x = torch.from_numpy((digits.images / 16.0).astype(np.float32))[:, None]
    if size != x.shape[-1]:
        x = F.interpolate(x, size=(size, size), mode="bilinear", align_corners=False)
    x, y = x.numpy(), digits.target.astype(np.int64)
    train, rest = train_test_split(np.arange(len(y)), test_size=CALIB + HELDOUT, random_state=SEED, stratify=y)
    calib, heldout = train_test_split(rest, test_size=HELDOUT, random_state=SEED, stratify=y[rest])
    return {name: (x[i], y[i]) for name, i in (("train", train), ("calib", calib), ("heldout", heldout))}


def shifted(x, generator, reach):
    """Every image moved by up to `reach` pixels each way, zeros moving in: the only augmentation."""
    size = x.shape[-1]
    padded = F.pad(x, (reach, reach, reach, reach))
    offsets = torch.randint(0, 2 * reach + 1, (len(x), 2), generator=generator)
    return torch.stack([p[:, dy : dy + size, dx : dx + size] for p, (dy, dx) in zip(padded, offsets.tolist())])


class Trainer:
    """AdamW and one-cycle learning rates on cross-entropy, batches of 64, images shifted by up to `reach` pixels."""

    def __init__(self, net, data, reach):
        self.net, self.reach = net, reach
        self.x, self.y = (torch.from_numpy(a) for a in data["train"])
        self.generator = torch.Generator().manual_seed(SEED)
        norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
        self.scales = [p for m in norms for p in (m.weight, m.bias)]

    def run(self, epochs, lr, after_step=lambda lr: None):
        """Trains for some epochs; `after_step` is called after every step with the learning rate of that step."""
        scales = {id(p) for p in self.scales}
        weights = [p for p in self.net.parameters() if id(p) not in scales]
        groups = [{"params": weights}] + ([{"params": self.scales, "weight_decay": 0}] if self.scales else [])
        optimiser = torch.optim.AdamW(groups, lr=lr, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, lr, epochs * ((len(self.x) + 63) // 64))
        self.net.train()
        for epoch in range(epochs):
            total = 0.0
            for batch in torch.randperm(len(self.x), generator=self.generator).split(64):
                optimiser.zero_grad()
                images = shifted(self.x[batch], self.generator, self.reach)
                loss = F.cross_entropy(self.net(images), self.y[batch])
                loss.backward()
                optimiser.step()
                with torch.no_grad():
                    after_step(optimiser.param_groups[0]["lr"])
                schedule.step()
                total += loss.item() * len(batch)
            if (epoch + 1) % 10 == 0:
                print(f"  epoch {epoch + 1:3d}  loss {total / len(self.x):.4f}", flush=True)
        self.net.eval()


def train_digits(net, data):
    """Trains with a sparsity penalty on whole channels, then goes on without it.

    The penalty is a group lasso on scale and shift of batch norm ("network slimming", Liu et al., ICCV 2017, with one
    group per channel and all batch norms that share the channel through residual additions): a proximal step after each
    step of the optimiser. Channels that the task does not need end at exactly 0, and stay so in the second phase.
    """
    coupled = [
        (1.4, [net.stem.bn, net.block1.bn2]),
        (1.3, [net.block1.bn1]),
        (2.0, [net.block2.bn2, net.block2.shortcut.bn, net.block3.bn2]),
        (1.3, [net.block2.bn1]),
        (1.3, [net.block3.bn1]),
    ]

    def shrink(lr):
        for strength, norms in coupled:
            size = torch.stack([p for m in norms for p in (m.weight, m.bias)]).norm(dim=0)
            factor = (1 - 0.8 * strength * lr * len(norms) ** 0.5 / size.clamp_min(1e-12)).clamp_min(0)
            for m in norms:
                m.weight.mul_(factor)
                m.bias.mul_(factor)

    trainer = Trainer(net, data, reach=1)
    trainer.run(50, 5e-3, shrink)
    alive = [[(m.weight != 0).float() for m in norms] for _, norms in coupled]
    print("  channels in use", [int(a[0].sum()) for a in alive])

    def keep_dead(_):
        for (_, norms), masks in zip(coupled, alive):
            for m, mask in zip(norms, masks):
                m.weight.mul_(mask)
                m.bias.mul_(mask)

    trainer.run(60, 2e-3, keep_dead)


def train_lenet5(net, data):
    Trainer(net, data, reach=2).run(40, 3e-3)


def rename(model):
    """Readable names: `block1/conv1`, `block1/relu2`, … from the scopes that the exporter leaves in node names."""
    # Equal tensors were merged through Identity nodes (two batch norms that add up share a bias): each gets its own.
    weights = {w.name: w for w in model.graph.initializer}
    for node in [n for n in model.graph.node if n.op_type == "Identity" and n.input[0] in weights]:
        copy = model.graph.initializer.add()
        copy.CopyFrom(weights[node.input[0]])
        copy.name = node.output[0]
        model.graph.node.remove(node)
    taken, values = set(), {}
    kept = {v.name for v in list(model.graph.input) + list(model.graph.output)}
    for node in model.graph.node:
        scope = [part for part in node.name.strip("/").split("/")]
        scope[-1] = scope[-1].split("_")[0].lower()  # the operator
        # A module stands for its only operator: `stem/conv/conv` is `stem/conv`.
        if len(scope) > 1 and scope[-2].rstrip("0123456789") in (scope[-1], "bn", "fc", "head"):
            scope.pop()
        # `/stem/stem/conv`: the exporter repeats the names of nested sequences.
        parts = [p.split(".")[-1] for i, p in enumerate(scope) if i == 0 or p.split(".")[0] != scope[i - 1]]
        name, count = "/".join(parts), 1
        while name in taken:
            count += 1
            name = "/".join(parts) + str(count)
        taken.add(name)
        node.name = name
        for output in node.output:
            values[output] = output if output in kept else f"{name}:out"
    for node in model.graph.node:
        node.input[:] = [values.get(v, v) for v in node.input]
        node.output[:] = [values[v] for v in node.output]
    del model.graph.value_info[:]


def export(net, data, folder):
    """Writes model.onnx (opset 17, dynamic batch, batch norm as nodes), calib.npz and heldout.npz, and checks them."""
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, "model.onnx")
    torch.onnx.export(
        net,
        (torch.from_numpy(data["calib"][0][:2]),),
        path,
        dynamo=False,
        opset_version=17,
        training=torch.onnx.TrainingMode.PRESERVE,  # eval would fold batch norm into the convolutions
        do_constant_folding=False,
        input_names=["x"],
        output_names=["logits"],
        dynamic_axes={"x": {0: "batch"}, "logits": {0: "batch"}},
    )
    model = onnx.load(path)
    rename(model)
    model.graph.name = type(net).__name__
    model.doc_string = "Trained on the UCI optical digits by examples/make_example.py"
    onnx.checker.check_model(model, full_check=True)
    for node in model.graph.node:
        modes = [a.i for a in node.attribute if a.name == "training_mode"]
        assert node.op_type != "BatchNormalization" or (len(node.output) == 1 and not any(modes)), node.name
    onnx.save(model, path)

    for part in ("calib", "heldout"):
        np.savez_compressed(os.path.join(folder, f"{part}.npz"), x=data[part][0], labels=data[part][1])
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    with torch.no_grad():
        for part in ("calib", "heldout"):
            stored = np.load(os.path.join(folder, f"{part}.npz"))
            logits = session.run(None, {"x": stored["x"]})[0]
            np.testing.assert_allclose(logits, net(torch.from_numpy(stored["x"])).numpy(), rtol=1e-3, atol=1e-4)
            accuracy = (logits.argmax(1) == stored["labels"]).mean()
            print(f"  {part}: accuracy {accuracy:.4f} on {len(stored['labels'])} images")
    for node in model.graph.node:
        print(f"  {node.op_type:22s} {node.name}")
    for name in sorted(os.listdir(folder)):
        print(f"  {os.path.getsize(os.path.join(folder, name)):8d} bytes  {name}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("which", nargs="*", help="digits, lenet5 (default: both)")
    which = parser.parse_args().which or ["digits", "lenet5"]
    if not set(which) <= {"digits", "lenet5"}:
        parser.error("choose from digits, lenet5")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for name in which:
        print(name)
        torch.manual_seed(SEED)
        net = DigitsNet() if name == "digits" else LeNet5()
        data = load_data(8 if name == "digits" else 28)
        (train_digits if name == "digits" else train_lenet5)(net, data)
        export(net, data, os.path.join(HERE, name))


if __name__ == "__main__":
    main()
