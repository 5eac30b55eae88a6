"""What the zoo consists of: models with their inputs and the exporters that write them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import nn


@dataclass(frozen=True)
class Input:
    """A model input. Integers are drawn from low to high, both included; `dynamic` names axes of free size."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32
    low: int = 0
    high: int = 0
    dynamic: dict[int, str] = field(default_factory=lambda: {0: "batch"})

    def sample(self, generator: torch.Generator) -> torch.Tensor:
        if self.dtype.is_floating_point:
            return torch.randn(self.shape, generator=generator).to(self.dtype)
        return torch.randint(self.low, self.high + 1, self.shape, generator=generator).to(self.dtype)


@dataclass(frozen=True)
class Variant:
    """One export of a model: by "dynamo" (torch.export) or "torchscript" (tracing)."""

    exporter: str
    opset: int
    # No fusions: BatchNormalization stays a node of its own instead of being folded into the Conv before it.
    unfused: bool = False

    @property
    def suffix(self) -> str:
        return f"{'dynamo' if self.exporter == 'dynamo' else 'ts'}{self.opset}"


def dynamo(opset: int = 18, **options: bool) -> Variant:
    return Variant("dynamo", opset, **options)


def torchscript(opset: int = 17, **options: bool) -> Variant:
    return Variant("torchscript", opset, **options)


@dataclass(frozen=True)
class Spec:
    """A model of the zoo."""

    name: str
    # Where the architecture comes from: torchvision, timm, transformers, or zoo for our own blocks.
    source: str
    make: Callable[[], nn.Module]
    inputs: tuple[Input, ...]
    variants: tuple[Variant, ...] = (dynamo(18), torchscript(17))


def image(size: int = 64, channels: int = 3, batch: int = 2, name: str = "x", fixed: bool = False) -> tuple[Input, ...]:
    """One picture input; `fixed`: the batch too."""
    return (Input(name, (batch, channels, size, size), dynamic={} if fixed else {0: "batch"}),)


class Pick(nn.Module):
    """A model whose output is made a tensor or a tuple of tensors by `pick`; keyword inputs are named in order."""

    def __init__(self, model: nn.Module, pick: Callable, names: tuple[str, ...] | None = None, **fixed: object):
        super().__init__()
        self.model, self.pick, self.names, self.fixed = model, pick, names, fixed

    def forward(self, *inputs: torch.Tensor):
        if self.names:
            return self.pick(self.model(**dict(zip(self.names, inputs)), **self.fixed))
        return self.pick(self.model(*inputs, **self.fixed))
