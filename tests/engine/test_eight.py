"""Products in 8 bits, and pictures with them: how far from 16 or 32 bits, and the same wherever the weights wait."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import zimage_kit as zk
from zimage_kit import Artifact, Request
from zimage_kit.engine import eight
from zimage_kit.engine.blocks import Block
from zimage_kit.engine.fused import quantise
from zimage_kit.engine.needs import Machine
from zimage_kit.engine.plan import plan
from zimage_kit.engine.settings import Settings
from zimage_kit.engine.transformer import project
from zimage_kit.errors import BadRequest
from zimage_kit.models.directories import component_sizes
from zimage_kit.models.spec import NANO
from zimage_kit.nano import DIRECTORY

KINDS = {"fp8": torch.float8_e4m3fn, "int8": torch.int8}
ERROR = {"fp8": 0.04, "int8": 0.012}
"""Of a product of normal numbers: two roundings to 3 bits after the point, or to 1/127 of a row's largest."""
LORA = next(iter(sorted(NANO.loras.glob("*.safetensors")))) if NANO.loras else None
SIZE: dict[str, Any] = {"width": 128, "height": 128, "steps": 3, "seed": 1, "model": "nano"}
PICTURES: dict[str, dict[str, Any]] = {
    "text": {},
    "guidance": {"guidance": 2.0, "negative_prompt": "red"},
    "a LoRA": {"loras": [(str(LORA), 0.8)]},
    "a pose": {"stages": [{"kind": "pose", "preset": ["waving"]}]},
}


@pytest.mark.parametrize("precision", KINDS)
def test_rounding_of_inputs(precision: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(5, 64) * torch.tensor([[1e-20], [1e-3], [1.0], [1e3], [0.0]])
    found = quantise(x, KINDS[precision])
    numbers, scales = found.numbers, found.scales
    assert numbers.dtype == KINDS[precision] and scales.shape == (5, 1)
    back = numbers.float() * scales
    assert torch.isfinite(back).all() and not back[4].any(), "a row of zeros stays one"
    assert ((back - x)[1:4].norm(dim=1) / x[1:4].norm(dim=1) < ERROR[precision]).all()


class Attention(nn.Module):
    """What a block of the transformer multiplies its input with, and a vector."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.Module()
        for name in ("to_q", "to_k", "to_v"):
            self.attention.add_module(name, nn.Linear(32, 48, bias=False))
        self.to_out = nn.Linear(32, 32)
        self.norm = nn.RMSNorm(32)


@pytest.mark.parametrize("precision", KINDS)
@torch.no_grad()
def test_a_block_multiplies_what_is_packed(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    module: Any = Attention()
    weights = {name: weight.detach().clone() for name, weight in module.named_parameters()}
    block = Block(module, torch.float32, precision, packed_computes=True)
    block.keep(torch.zeros(block.bytes, dtype=torch.uint8))
    for name, weight in weights.items():
        block.put(name, weight, lambda weight=weight: weight)
    block.rest()
    assert torch.equal(module.norm.weight, weights["norm.weight"])
    assert module.attention.to_q.weight.isnan().all(), "nothing else takes it for the weight"
    x, products = torch.randn(7, 32), []
    real = eight._product
    monkeypatch.setattr(eight, "_product", lambda *given: (products.append(given), real(*given))[1])
    layers = [module.attention.to_q, module.attention.to_k, module.attention.to_v]
    found = project(x, layers)
    wanted = torch.cat([x @ weights[f"attention.to_{part}.weight"].t() for part in "qkv"], dim=1)
    assert (found - wanted).norm() / wanted.norm() < ERROR[precision]
    assert len(products) == 1, "q, k and v lie side by side"
    found = project(x, [module.to_out])
    wanted = x @ weights["to_out.weight"].t() + weights["to_out.bias"]
    assert (found - wanted).norm() / wanted.norm() < ERROR[precision]
    block.hide()
    assert not hasattr(module.to_out.weight, "eight")


def pixels(artifact: Artifact) -> Any:
    return np.asarray(artifact.image, int)


@pytest.mark.parametrize("precision", KINDS)
def test_pictures(precision: str) -> None:
    """Close to those in 32 bits; the same however many blocks are streamed, and after other pictures."""
    with (
        zk.connect("inline", device="cpu", speed="exact") as exact,
        zk.connect("inline", device="cpu", speed="fast", precision=precision) as fast,
        zk.connect("inline", device="cpu", speed="fast", precision=precision, memory="104MB") as small,
    ):
        firsts = {}
        for name, fields in PICTURES.items():
            request = Request(prompt="a girl on the grass", **{**SIZE, **fields})
            made, streamed = fast.run(request, fresh=True), small.run(request, fresh=True)
            assert streamed.trace.plan["streamed_blocks"] > 0 == made.trace.plan["streamed_blocks"], name
            assert np.array_equal(pixels(made), pixels(streamed)), name
            apart = np.abs(pixels(made) - pixels(exact.run(request, fresh=True))).mean()
            assert 0 < apart < 16, (name, apart)  # guidance and few steps magnify it
            firsts[name] = pixels(made)
        for name, fields in PICTURES.items():
            again = fast.run(Request(prompt="a girl on the grass", **{**SIZE, **fields}), fresh=True)
            assert np.array_equal(firsts[name], pixels(again)), name
        assert made.trace.identity["speed"] == "fast" and made.trace.identity["precision"] == precision
        assert made.trace.plan["exact"] is False
        assert any(f"multiplies in {precision}" in note for note in made.trace.notes)


@pytest.mark.parametrize(
    ("capability", "precision"), [("8.6", "int8"), ("8.9", "fp8"), ("9.0", "fp8"), ("12.0", "fp8")]
)
def test_the_plan_takes_what_the_card_multiplies(capability: str, precision: str) -> None:
    card = Machine(cuda_devices=1, cuda_bfloat16=True, cuda_capability=capability, free_bytes=24 << 30)
    sizes = component_sizes(DIRECTORY)
    exact, fast = (plan(card, sizes, (256, 256), Settings(speed=speed)) for speed in ("exact", "fast"))
    assert (fast.speed, fast.precision, fast.exact) == ("fast", precision, False)
    blocks = 2 * sum(sizes["transformer"].blocks)
    assert exact.weight_bytes - fast.weight_bytes == pytest.approx(
        0.48 * blocks, rel=0.05
    )  # the largest block counts for all
    rated = replace(card, compute_rate=1e14)
    exact, fast = (plan(rated, sizes, (256, 256), Settings(speed=speed)) for speed in ("exact", "fast"))
    assert fast.seconds == pytest.approx(exact.seconds, rel=0.01), "no gain is promised before it is measured"
    chosen = plan(card, sizes, (256, 256), Settings(speed="fast", precision="int8"))
    assert chosen.precision == "int8"


def test_where_there_are_no_such_products() -> None:
    with pytest.raises(BadRequest, match="float16"):
        plan(Machine(cuda_devices=1, free_bytes=8 << 30), None, settings=Settings(speed="fast"))
    for precision in (None, "int8"):  # asked for by name too
        with pytest.raises(BadRequest, match="mps"):
            plan(Machine(mps=True), None, settings=Settings(speed="fast", precision=precision))
