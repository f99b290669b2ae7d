"""The flat ControlNet computes what diffusers' module does: its own refiner or the transformer's, one prompt or two."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import ZImageControlNetModel, ZImageTransformer2DModel

from zimage_kit.engine import flat_controlnet, transformer
from zimage_kit.engine.flat_controlnet import FlatControlNet
from zimage_kit.engine.transformer import FlatTransformer

SIZES: dict[str, Any] = {"dim": 64, "n_refiner_layers": 2, "n_heads": 2, "n_kv_heads": 2}
KINDS: dict[str, dict[str, Any]] = {
    "1.0": {"control_layers_places": [0, 2], "control_in_dim": 16},
    "2.1": {
        "control_layers_places": [0, 1, 2],
        "control_refiner_layers_places": [0, 1],
        "add_control_noise_refiner": "control_noise_refiner",
        "control_in_dim": 33,
    },
    "2.0": {
        "control_layers_places": [0, 1, 2],
        "control_refiner_layers_places": [0, 1],
        "add_control_noise_refiner": "control_layers",
        "control_in_dim": 33,
    },
}


def with_weights(module: Any) -> Any:
    for name, weight in module.named_parameters():
        weight.data = torch.randn_like(weight) * (0.5 if "norm" in name else weight.shape[-1] ** -0.5)
        weight.data += "norm" in name
    return module.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def base() -> Any:
    torch.manual_seed(0)
    made = ZImageTransformer2DModel(
        **SIZES, n_layers=3, cap_feat_dim=24, axes_dims=[8, 12, 12], axes_lens=[256, 64, 64]
    )
    transformer.flatten(with_weights(made))
    return made


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("side", "tokens"), [((8, 8), (32,)), ((12, 20), (5,)), ((16, 16), (33, 7))], ids=["full", "pads", "two prompts"]
)
def test_one_evaluation(base: Any, kind: str, side: tuple[int, int], tokens: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    network: Any = with_weights(ZImageControlNetModel(**SIZES, **KINDS[kind]))
    ZImageControlNetModel.from_transformer(network, base)
    flat_controlnet.flatten(network)
    hint = torch.randn(1, KINDS[kind]["control_in_dim"], 1, *side).repeat(len(tokens), 1, 1, 1, 1)
    inputs = [torch.randn(16, 1, *side) for _ in tokens]
    prompts = [torch.randn(count, 24) for count in tokens]
    levels = (0.1, 0.7)  # the second with what was kept from the first
    flat = FlatTransformer(base, torch.tensor(levels))
    evaluate = FlatControlNet(network, flat)
    for level in levels:
        time = torch.full((len(tokens),), level)
        wanted = network(inputs, time, prompts, hint, conditioning_scale=0.8)
        found = evaluate(inputs, time, prompts, hint, conditioning_scale=0.8)
        assert list(found) == list(wanted)
        for place, sample in found.items():
            for index, count in enumerate(tokens):
                own = -(-side[0] * side[1] // 4 // 32) * 32 + -(-count // 32) * 32
                one, other = sample[index, :own], wanted[place][index, :own]
                assert (one - other).norm() / other.norm() < 5e-6
        pictures = base(inputs, time, prompts, controlnet_block_samples=wanted, return_dict=False)[0]
        for one, other in zip(flat(inputs, time, prompts, found)[0], pictures, strict=True):
            assert (one - other).norm() / other.norm() < 5e-6
