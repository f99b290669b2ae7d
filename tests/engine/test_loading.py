"""Networks without memory for their weights, built while other threads build theirs."""

from __future__ import annotations

import os
import subprocess
import sys
from threading import Thread

import pytest
import torch
from torch import nn

from zimage_kit import nano
from zimage_kit.engine.load import without_memory, without_weights


@pytest.mark.parametrize("name", ["text_encoder", "transformer", "vae"])
def test_weights_take_no_memory_and_what_is_computed_is_there(name: str) -> None:
    module = without_weights(nano.DIRECTORY, name)
    assert all(weight.is_meta for weight in module.parameters())
    assert not any(buffer.is_meta for buffer in module.buffers())


def test_other_threads_build_as_ever() -> None:
    """A rehearsal builds networks while the model's are built: everything later had no memory in that process."""
    made: list[nn.Linear] = []

    def make() -> nn.Module:
        other = Thread(target=lambda: made.append(nn.Linear(2, 2)))
        other.start()
        other.join()
        return nn.Linear(2, 2)

    assert without_memory(make).weight.is_meta
    made.append(nn.Linear(2, 2))
    assert not any(layer.weight.is_meta for layer in made)
    assert not torch.empty(1).is_meta


def test_torchs_threads_are_told_how_long_to_spin_before_torch_is_there() -> None:
    """libgomp reads it when it is loaded, and says what it has read."""
    draw = (
        "import zimage_kit as zk; s = zk.connect('inline', device='cpu'); s.run('a cat', steps=1, width=64, height=64)"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    environment["OMP_DISPLAY_ENV"] = "verbose"
    done = subprocess.run([sys.executable, "-c", draw], env=environment, capture_output=True, text=True, check=True)
    told = [line.split("=")[1].strip(" '") for line in done.stderr.splitlines() if "GOMP_SPINCOUNT" in line]
    if not told and sys.platform != "linux":
        pytest.skip("this torch has another OpenMP library")
    assert told and set(told) == {"2000"}
