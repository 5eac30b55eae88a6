"""Blocks of detectors and attention nets that no library here has, written anew: C2f, SPPF, PSA, CBAM, SK, pixel shuffle."""

from __future__ import annotations

import torch
from torch import nn

from spec import Spec, dynamo, image, torchscript


class Conv(nn.Sequential):
    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1, act: bool = True):
        conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        super().__init__(conv, nn.BatchNorm2d(outputs), nn.SiLU() if act else nn.Identity())


class Bottleneck(nn.Module):
    def __init__(self, width: int, inner: int):
        super().__init__()
        self.first, self.second = Conv(width, inner, 3), Conv(inner, width, 3)

    def forward(self, x):
        return x + self.second(self.first(x))


class C2f(nn.Module):
    """Two halves, a chain of bottlenecks on the second, all of them concatenated."""

    def __init__(self, inputs: int, outputs: int, count: int = 2):
        super().__init__()
        self.width = outputs // 2
        self.enter, self.leave = Conv(inputs, outputs), Conv((2 + count) * self.width, outputs)
        self.blocks = nn.ModuleList(Bottleneck(self.width, self.width + 2) for _ in range(count))

    def forward(self, x):
        parts = list(self.enter(x).chunk(2, 1))
        for block in self.blocks:
            parts.append(block(parts[-1]))
        return self.leave(torch.cat(parts, 1))


class Sppf(nn.Module):
    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.enter, self.leave = Conv(inputs, inputs // 2), Conv(inputs // 2 * 4, outputs)
        self.pool = nn.MaxPool2d(5, 1, 2)

    def forward(self, x):
        parts = [self.enter(x)]
        for _ in range(3):
            parts.append(self.pool(parts[-1]))
        return self.leave(torch.cat(parts, 1))


class Attention(nn.Module):
    """Attention over positions with keys half as wide as values and a depthwise position code."""

    def __init__(self, width: int, heads: int = 2):
        super().__init__()
        self.heads, self.head = heads, width // heads
        self.key = self.head // 2
        self.qkv = Conv(width, width + 2 * heads * self.key, act=False)
        self.position, self.out = Conv(width, width, 3, groups=width, act=False), Conv(width, width, act=False)

    def forward(self, x):
        b, c, h, w = x.shape
        qkv = self.qkv(x).view(b, self.heads, 2 * self.key + self.head, h * w)
        q, k, v = qkv.split([self.key, self.key, self.head], 2)
        weights = ((q.transpose(-2, -1) @ k) * self.key**-0.5).softmax(-1)
        x = (v @ weights.transpose(-2, -1)).view(b, c, h, w)
        return self.out(x + self.position(v.reshape(b, c, h, w)))


class Psa(nn.Module):
    """Attention and a small net on half of the channels."""

    def __init__(self, width: int):
        super().__init__()
        self.half = width // 2
        self.enter, self.leave = Conv(width, width), Conv(width, width)
        self.attention = Attention(self.half)
        self.net = nn.Sequential(Conv(self.half, self.half * 2), Conv(self.half * 2, self.half, act=False))

    def forward(self, x):
        a, b = self.enter(x).split((self.half, self.half), 1)
        b = b + self.attention(b)
        b = b + self.net(b)
        return self.leave(torch.cat([a, b], 1))


class Yolo(nn.Module):
    """Backbone, a neck that goes up once, and one head per scale."""

    def __init__(self, classes: int = 3):
        super().__init__()
        self.stem = nn.Sequential(Conv(3, 8, 3, 2), Conv(8, 12, 3, 2))
        self.stage1, self.down, self.stage2 = C2f(12, 16), Conv(16, 24, 3, 2), C2f(24, 24)
        self.spp, self.psa = Sppf(24, 32), Psa(32)
        self.up, self.neck = nn.Upsample(scale_factor=2, mode="nearest"), C2f(32 + 16, 20)
        self.heads = nn.ModuleList(nn.Sequential(Conv(w, 14, 3), nn.Conv2d(14, 4 + classes, 1)) for w in (20, 32))

    def forward(self, x):
        fine = self.stage1(self.stem(x))
        coarse = self.psa(self.spp(self.stage2(self.down(fine))))
        merged = self.neck(torch.cat([self.up(coarse), fine], 1))
        maps = [head(y).flatten(2) for head, y in zip(self.heads, (merged, coarse))]
        return torch.cat(maps, 2)


class Cbam(nn.Module):
    """Gates by channel (mean and maximum over positions) and by position (mean and maximum over channels)."""

    def __init__(self, width: int):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(width, width // 2, 1), nn.ReLU(), nn.Conv2d(width // 2, width, 1))
        self.place = nn.Conv2d(2, 1, 3, padding=1)

    def forward(self, x):
        x = x * torch.sigmoid(self.net(x.mean((2, 3), True)) + self.net(x.amax((2, 3), True)))
        return x * torch.sigmoid(self.place(torch.cat([x.mean(1, True), x.amax(1, True)], 1)))


class CbamNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = Conv(3, 12, 3, 2)
        self.first, self.gate1 = Bottleneck(12, 16), Cbam(12)
        self.down, self.second, self.gate2 = Conv(12, 20, 3, 2), Bottleneck(20, 24), Cbam(20)
        self.head = nn.Linear(20, 10)

    def forward(self, x):
        x = self.gate1(self.first(self.stem(x)))
        return self.head(self.gate2(self.second(self.down(x))).mean((2, 3)))


class Sk(nn.Module):
    """Selective kernels: two branches weighted by a softmax between them, channel by channel."""

    def __init__(self, inputs: int, width: int):
        super().__init__()
        self.branches = nn.ModuleList(Conv(inputs, width, k) for k in (3, 5))
        self.squeeze = Conv(width, width // 2)
        self.choose = nn.ModuleList(nn.Conv2d(width // 2, width, 1) for _ in range(2))

    def forward(self, x):
        maps = torch.stack([branch(x) for branch in self.branches], 1)
        code = self.squeeze(maps.sum(1).mean((2, 3), True))
        weights = torch.stack([choose(code) for choose in self.choose], 1).softmax(1)
        return (maps * weights).sum(1)


class SkNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.first, self.second = Conv(3, 8, 3, 2), Sk(8, 12), Sk(12, 20)
        self.pool, self.head = nn.MaxPool2d(2), nn.Linear(20, 10)

    def forward(self, x):
        return self.head(self.second(self.pool(self.first(self.stem(x)))).mean((2, 3)))


class SuperResolution(nn.Module):
    """Sub-pixel convolution; PReLU has a slope for each channel."""

    def __init__(self):
        super().__init__()
        self.first, self.act = nn.Conv2d(1, 12, 5, padding=2), nn.PReLU(12)
        self.second, self.third = nn.Conv2d(12, 16, 3, padding=1), nn.Conv2d(16, 24, 3, padding=1)
        self.shuffle, self.last = nn.PixelShuffle(2), nn.Conv2d(6, 1, 3, padding=1)

    def forward(self, x):
        x = torch.relu(self.second(self.act(self.first(x))))
        return self.last(torch.relu(self.shuffle(self.third(x))))


SPECS = [
    Spec("yolo", "zoo", Yolo, image(64), (dynamo(18), torchscript(13), torchscript(17, unfused=True))),
    Spec("cbam", "zoo", CbamNet, image(32), (dynamo(18), torchscript(13))),
    Spec("sknet", "zoo", SkNet, image(32), (dynamo(18), torchscript(12))),
    Spec("super_resolution", "zoo", SuperResolution, image(16, 1), (dynamo(20), torchscript(10))),
]
