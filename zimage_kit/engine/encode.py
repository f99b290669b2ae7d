"""The text encoder up to the layer that is used: Z-Image takes the hidden states before its last one.

So the last layer and the norm after it need no memory, and `load` does not read their weights.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from .half import ENCODED


class Reached(Exception):
    """The encoder has come to its last layer; `hidden` [1, tokens, width] is what that would have been given."""

    def __init__(self, hidden: Tensor) -> None:
        super().__init__()
        self.hidden = hidden


class EndOfPass(nn.Module):
    """Stands where the encoder's last layer was."""

    def forward(self, hidden: Tensor, *_: Any, **__: Any) -> Tensor:
        """Ends the pass."""
        raise Reached(hidden)


class TextEncoder(nn.Module):
    """An encoder that ends in EndOfPass, as diffusers' pipelines use it: `hidden_states[-2]` is what they read."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.config = encoder.config

    @property
    def dtype(self) -> torch.dtype:
        """Of its weights."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Where its weights are now; streamed ones are in host memory."""
        return next(self.parameters()).device

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **_: Any) -> Any:
        """The hidden states of tokens [1, n]; in float16 times `half.ENCODED`."""
        try:
            self.encoder(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)
        except Reached as end:
            half = self.dtype == torch.float16
            hidden = (end.hidden * ENCODED).half() if half else end.hidden
            return SimpleNamespace(hidden_states=(hidden, None))
        raise RuntimeError("this text encoder has a last layer: it was not loaded by `load_networks`")
