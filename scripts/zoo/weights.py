"""Random weights that keep signals alive: nothing constant, batch statistics as in a trained network."""

from __future__ import annotations

import zlib

import torch
from torch import nn

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def seed_of(name: str) -> int:
    return zlib.crc32(name.encode())


def randomise(model: nn.Module, inputs: tuple[torch.Tensor, ...], seed: int) -> None:
    """Breaks the symmetry of constant parameters (biases, scales) and fits batch statistics to the given inputs."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.is_floating_point() or parameter.numel() == 0:
                continue
            if parameter.numel() == 1 or parameter.std() == 0:
                # Layer scales that start at 1e-6 would hide the whole branch.
                level = parameter.flatten()[0].item()
                if 0 < abs(level) < 0.1:
                    parameter.fill_(0.5)
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator).to(parameter.dtype))
        for module in model.modules():
            if isinstance(module, _NORMS):
                module.momentum = None
                module.reset_running_stats()
                module.train()
        model(*inputs)
        for module in model.modules():
            if isinstance(module, _NORMS):
                module.eval()
                variance = module.running_var
                variance.clamp_(min=0.25 * variance.mean().item() + 1e-3)
                variance.mul_(0.8 + 0.4 * torch.rand(variance.shape, generator=generator))
                module.running_mean.add_(0.05 * torch.randn(variance.shape, generator=generator))
