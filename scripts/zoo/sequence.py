"""Recurrent networks."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from spec import Input, Spec, dynamo, torchscript


class Recurrent(nn.Module):
    """A stack of recurrent layers in both directions, read at every step and at the end."""

    def __init__(self, kind: type[nn.RNNBase], bidirectional: bool, layers: int = 2):
        super().__init__()
        hidden = 10
        self.project = nn.Linear(6, 9)
        self.cell = kind(9, hidden, layers, batch_first=True, bidirectional=bidirectional)
        width = hidden * (2 if bidirectional else 1)
        self.hidden = nn.Linear(width, 14)
        self.head = nn.Linear(14, 4)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y, state = self.cell(torch.relu(self.project(x)))
        last = state[0] if isinstance(state, tuple) else state
        return self.head(torch.tanh(self.hidden(y))), last[-1].sum(-1)


STEPS = (Input("x", (2, 5, 6), dynamic={0: "batch"}),)

SPECS = [
    Spec("lstm", "zoo", partial(Recurrent, nn.LSTM, False), STEPS, (dynamo(18), torchscript(14))),
    Spec("lstm_bidirectional", "zoo", partial(Recurrent, nn.LSTM, True), STEPS, (dynamo(18), torchscript(9))),
    Spec("gru", "zoo", partial(Recurrent, nn.GRU, False), STEPS, (dynamo(18), torchscript(17))),
    Spec("gru_bidirectional", "zoo", partial(Recurrent, nn.GRU, True), STEPS, (dynamo(22), torchscript(10))),
    Spec("rnn", "zoo", partial(Recurrent, nn.RNN, True), STEPS, (dynamo(18), torchscript(14))),
]
