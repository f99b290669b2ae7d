"""The flat transformer computes what diffusers' module does: any size and place, prompts, ControlNets, LoRAs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import ZImageTransformer2DModel
from torch import Tensor, nn

import zimage_kit as zk
from zimage_kit import Artifact, Request, Session
from zimage_kit.engine import transformer as flat
from zimage_kit.engine.transformer import FlatTransformer, flatten, project
from zimage_kit.models.spec import NANO

SIZE = {"width": 128, "height": 128, "steps": 3, "seed": 1}
LORA = next(iter(sorted(NANO.loras.glob("*.safetensors")))) if NANO.loras else None
KINDS: dict[str, dict[str, Any]] = {
    "text": {},
    "guidance": {"guidance": 2.0, "negative_prompt": "red, and many more words that make it longer than the prompt"},
    "a LoRA": {"loras": [(str(LORA), 0.8)]},
    "a pose": {"stages": [{"kind": "pose", "preset": ["waving"]}]},
    "a pose and guidance": {"stages": [{"kind": "pose", "preset": ["waving"]}], "guidance": 1.5},
    "refined": {"stages": [{"kind": "refine", "strength": 0.5}]},
    "wide": {"width": 208, "height": 64},
}


@pytest.fixture(scope="module", params=[{}, {"memory": "110MB"}], ids=["resident", "streamed"])
def exact(request: pytest.FixtureRequest) -> Iterator[Session]:
    with zk.connect("inline", device="cpu", speed="exact", **request.param) as session:
        made = session.run("a boat", model="nano", **SIZE)
        assert made.trace.identity["speed"] == "exact"
        assert (made.trace.plan["streamed_blocks"] > 0) == ("memory" in request.param)
        yield session


def largest_difference(one: Artifact, other: Artifact) -> int:
    return int(np.abs(np.asarray(one.image, int) - np.asarray(other.image, int)).max())


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_are_those_of_diffusers_modules_up_to_rounding(plain: Session, exact: Session, kind: str) -> None:
    request = Request(prompt="a girl on the grass", model="nano", **{**SIZE, **KINDS[kind]})
    assert largest_difference(exact.run(request, fresh=True), plain.run(request, fresh=True)) <= 1


@pytest.fixture(scope="module")
def module() -> ZImageTransformer2DModel:
    """A small one with random weights, norms too, and pads that are not zero."""
    torch.manual_seed(0)
    sizes = {"dim": 64, "n_layers": 3, "n_refiner_layers": 2, "n_heads": 2, "n_kv_heads": 2, "cap_feat_dim": 24}
    made = ZImageTransformer2DModel(**sizes, axes_dims=[8, 12, 12], axes_lens=[256, 64, 64])
    for name, weight in made.named_parameters():
        weight.data = torch.randn_like(weight) * (0.5 if "norm" in name else weight.shape[-1] ** -0.5) + (
            "norm" in name
        )
    made.eval().requires_grad_(False)
    flatten(made)
    return made


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    ("side", "tokens"),
    [((8, 8), (32,)), ((12, 20), (5,)), ((16, 16), (33, 7)), ((8, 8), (3, 3))],
    ids=["full", "pads", "two prompts", "twice"],
)
def test_one_evaluation(module: Any, side: tuple[int, int], tokens: tuple[int, ...], dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    module.to(dtype)
    inputs = [torch.randn(16, 1, *side, dtype=dtype) for _ in tokens]
    prompts = [torch.randn(count, 24, dtype=dtype) for count in tokens]
    levels = (0.1, 0.7)  # the second with what was kept from the first
    evaluate = FlatTransformer(module, torch.tensor(levels))
    for level in levels:
        time = torch.full((len(tokens),), level)
        longest = -(-side[0] * side[1] // 4 // 32) * 32 + max(-(-count // 32) * 32 for count in tokens)
        samples = {1: torch.randn(len(tokens), longest, 64, dtype=dtype) * 0.1}
        wanted = module(inputs, time, prompts, controlnet_block_samples=samples, return_dict=False)[0]
        found = evaluate(inputs, time, prompts, controlnet_block_samples=samples)[0]
        for one, other in zip(found, wanted, strict=True):
            assert one.shape == other.shape and one.dtype == other.dtype
            error = (one.float() - other.float()).norm() / other.float().norm()
            assert error < (2e-6 if dtype == torch.float32 else 0.02), error
    module.to(torch.float32)


def test_what_does_not_change_is_computed_once(module: Any) -> None:
    seen: list[Any] = []
    blocks = [*module.context_refiner, *module.noise_refiner, *module.layers]
    watched = [*blocks, *(block.adaLN_modulation for block in blocks[2:])]
    hooks = [each.register_forward_hook(lambda part, *_: seen.append(part)) for each in watched]
    evaluate = FlatTransformer(module, torch.tensor([0.1, 0.5, 0.9]))
    prompts = [torch.randn(5, 24)]
    for level in (0.1, 0.5):
        evaluate([torch.randn(16, 1, 8, 8)], torch.tensor([level]), prompts)
    assert [seen.count(block) for block in blocks[:2]] == [1, 1]
    evaluate([torch.randn(16, 1, 8, 8)], torch.tensor([0.9]), [torch.randn(5, 24)])
    assert [seen.count(block) for block in blocks[:2]] == [2, 2], "other prompts are other captions"
    assert {seen.count(block) for block in blocks[2:]} == {3}
    assert {seen.count(block.adaLN_modulation) for block in blocks[2:]} == {1}
    for hook in hooks:
        hook.remove()


def test_weights_that_lie_side_by_side_are_one_product(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = torch.randn(100, 6)
    layers = [nn.Linear(6, rows, bias=False).requires_grad_(False) for rows in (10, 4, 7)]
    begin = 5
    for layer in layers:
        layer.weight.data = buffer[begin : begin + layer.out_features]
        begin += layer.out_features
    x = torch.randn(3, 6)
    wanted = torch.cat([layer(x) for layer in layers], dim=-1)
    products: list[Tensor] = []
    real = torch.nn.functional.linear
    monkeypatch.setattr(flat.F, "linear", lambda x, weight, *more: (products.append(weight), real(x, weight, *more))[1])
    assert torch.allclose(project(x, layers), wanted, atol=1e-6)
    assert [len(weight) for weight in products] == [21]
    products.clear()
    layers[1].weight.data = layers[1].weight.data.clone()  # elsewhere, as for a layer of its own
    assert torch.allclose(project(x, layers), wanted, atol=1e-6)
    assert len(products) == 3
