"""Golden gradients of small convolutional networks, by torch.autograd, for test/unit/autodiff/golden.test.ts.

As autodiff.py, whose form of files and of networks this takes.

    python scripts/golden/autodiff_convolution.py test/fixtures/autodiff

needs torch and onnx; their versions and the seed stand in the JSON.
"""

import sys
from pathlib import Path

import autodiff
import torch
from torch import nn
from torch.nn import functional as F


class Planes(nn.Module):
    """Two axes: strides, dilations, groups, depthwise and transposed convolutions, pools that overlap and meet ties."""

    opset = 16
    shape = (2, 3, 13, 12)

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.depth = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
        self.point = nn.Conv2d(8, 16, 1)
        self.grouped = nn.Conv2d(16, 16, 3, padding=2, dilation=2, groups=4)
        self.wide = nn.Conv2d(16, 16, (3, 2), stride=(1, 2), padding=1)
        self.up = nn.ConvTranspose2d(16, 8, 3, stride=2, padding=1, output_padding=1, groups=2)
        self.head = nn.Conv2d(8, 3, 3)

    def forward(self, x):
        x = F.relu(self.stem(x))
        # Zeros of the ReLU next to each other are ties.
        x = x + 0.5 * F.max_pool2d(x, 3, 1, 1)
        x = F.relu6(self.point(self.depth(x)))
        x = F.max_pool2d(torch.tanh(self.grouped(x)), 3, 2, 1) + F.avg_pool2d(x, 2, ceil_mode=True)
        x = self.up(F.relu(self.wide(x)))
        x = F.avg_pool2d(self.head(x), 3, 2, 1, count_include_pad=False)
        return F.adaptive_avg_pool2d(x, 1).flatten(1)


class Lines(nn.Module):
    """One axis, and an opset whose scatters cannot add."""

    opset = 12
    shape = (2, 4, 20)

    def __init__(self):
        super().__init__()
        self.first = nn.Conv1d(4, 6, 5, stride=2, padding=2)
        self.second = nn.Conv1d(6, 6, 3, dilation=3, padding=3, groups=3)
        self.up = nn.ConvTranspose1d(6, 3, 4, stride=2, padding=1)

    def forward(self, x):
        x = F.max_pool1d(F.relu(self.first(x)), 3, 1, 1)
        x = self.up(F.avg_pool1d(self.second(x), 3, 2, 1))
        return F.adaptive_max_pool1d(x, 1).flatten(1)


class Volumes(nn.Module):
    """Three axes."""

    opset = 17
    shape = (2, 2, 5, 6, 7)

    def __init__(self):
        super().__init__()
        self.first = nn.Conv3d(2, 4, 3, padding=1, stride=(1, 2, 1))
        self.second = nn.Conv3d(4, 4, (1, 2, 3), groups=4)
        self.up = nn.ConvTranspose3d(4, 3, 2, stride=(1, 2, 2))

    def forward(self, x):
        x = F.max_pool3d(torch.tanh(self.first(x)), (3, 2, 3), (2, 1, 2), (1, 0, 1))
        x = F.avg_pool3d(self.up(self.second(x)), 2, 1, 1)
        return F.adaptive_avg_pool3d(x, 1).flatten(1)


autodiff.NETWORKS = {"planes": Planes, "lines": Lines, "volumes": Volumes}

if __name__ == "__main__":
    for name in sys.argv[2:] or autodiff.NETWORKS:
        autodiff.write(name, Path(sys.argv[1]))
