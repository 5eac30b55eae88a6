"""Networks for segmentation by ourselves: U-Nets in two and three dimensions, with the norms that medicine uses."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from spec import Input, Spec, dynamo, image, torchscript


class UNet(nn.Module):
    """Two levels down, two up, skips by Concat; `rank` 2 or 3."""

    def __init__(self, rank: int, norm: str, widths: tuple[int, int, int] = (8, 12, 20), classes: int = 3):
        super().__init__()
        self.conv = nn.Conv2d if rank == 2 else nn.Conv3d
        self.up = nn.ConvTranspose2d if rank == 2 else nn.ConvTranspose3d
        self.pool = (nn.MaxPool2d if rank == 2 else nn.MaxPool3d)(2)
        self.rank, self.norm = rank, norm
        a, b, c = widths
        self.down1, self.down2, self.bottom = self.block(1, a), self.block(a, b), self.block(b, c)
        self.up2, self.merge2 = self.up(c, b, 2, 2), self.block(2 * b, b)
        self.up1, self.merge1 = self.up(b, a, 2, 2), self.block(2 * a, a)
        self.head = self.conv(a, classes, 1)

    def block(self, inputs: int, width: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for i in range(2):
            layers += [self.conv(inputs if i == 0 else width, width, 3, padding=1), self.normed(width), nn.LeakyReLU(0.1)]
        return nn.Sequential(*layers)

    def normed(self, width: int) -> nn.Module:
        if self.norm == "group":
            return nn.GroupNorm(4, width)
        if self.norm == "instance":
            return (nn.InstanceNorm2d if self.rank == 2 else nn.InstanceNorm3d)(width, affine=True)
        return (nn.BatchNorm2d if self.rank == 2 else nn.BatchNorm3d)(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.down1(x)
        second = self.down2(self.pool(first))
        bottom = self.bottom(self.pool(second))
        x = self.merge2(torch.cat([self.up2(bottom), second], 1))
        x = self.merge1(torch.cat([self.up1(x), first], 1))
        return self.head(x)


volume = (Input("x", (2, 1, 8, 8, 8)),)

SPECS = [
    Spec("unet2d_instance", "zoo", partial(UNet, 2, "instance"), image(16, 1), (dynamo(18), torchscript(13))),
    Spec("unet3d_instance", "zoo", partial(UNet, 3, "instance", (4, 6, 8)), volume, (dynamo(18), torchscript(17))),
    Spec("unet2d_group", "zoo", partial(UNet, 2, "group"), image(16, 1), (dynamo(21), torchscript(17))),
    Spec("unet2d_batch", "zoo", partial(UNet, 2, "batch"), image(16, 1), (dynamo(18), torchscript(9))),
]
