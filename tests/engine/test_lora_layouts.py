"""One adapter in the layouts of all trainers is the same adapter; what cannot be used is named with its reason."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from zimage_kit import Request, Session
from zimage_kit.engine.lora_layouts import Converted, convert, linear_layers
from zimage_kit.engine.settings import Settings
from zimage_kit.session.inline import InlineEngine

BLOCK = ("attention.to_q", "attention.to_k", "attention.to_v", "attention.to_out.0", "feed_forward.w1")
MODULES = [f"layers.{i}.{name}" for i in range(3) for name in (*BLOCK, "adaLN_modulation.0")] + [
    "all_x_embedder.2-1",
    "all_final_layer.2-1.linear",
    "cap_embedder.1",
]
WIDTH = 8
Layers = dict[str, tuple[Tensor, Tensor]]


def adapter(names: list[str] = MODULES, rank: int = 2) -> Layers:
    generator = torch.Generator().manual_seed(0)
    return {
        name: (torch.randn(rank, WIDTH, generator=generator), torch.randn(WIDTH, rank, generator=generator))
        for name in names
    }


def products(found: Converted) -> dict[str, Tensor]:
    ends = ".lora_A.weight"
    names = [key.removesuffix(ends) for key in found.state if key.endswith(ends)]
    return {
        name.removeprefix("transformer."): found.state[f"{name}.lora_B.weight"].float()
        @ found.state[f"{name}.lora_A.weight"].float()
        for name in names
    }


def with_names(rename: Callable[[str], str], down: str, up: str, alpha: float | None = None) -> dict[str, Tensor]:
    state = {}
    for name, (a, b) in adapter().items():
        layer = rename(name)
        state[f"{layer}.{down}"], state[f"{layer}.{up}"] = a, b if alpha is None else b * 2 / alpha
        if alpha is not None:
            state[f"{layer}.alpha"] = torch.tensor(alpha)
    return state


def native(name: str) -> str:
    for ours, theirs in (
        ("attention.to_out.0", "attention.out"),
        ("all_x_embedder.2-1", "x_embedder"),
        ("all_final_layer.2-1", "final_layer"),
    ):
        name = name.replace(ours, theirs)
    return name


def flat(prefix: str) -> Callable[[str], str]:
    return lambda name: prefix + name.replace(".", "_")


LAYOUTS = {
    "diffusers": with_names(lambda name: f"transformer.{name}", "lora_A.weight", "lora_B.weight"),
    "diffusers' model alone": with_names(str, "lora_A.weight", "lora_B.weight"),
    "peft": with_names(lambda name: f"base_model.model.{name}", "lora_A.weight", "lora_B.weight"),
    "peft in training": with_names(str, "lora_A.default.weight", "lora_B.default.weight"),
    "ai-toolkit": with_names(lambda name: f"diffusion_model.{name}", "lora_A.weight", "lora_B.weight"),
    "ComfyUI": with_names(lambda n: f"diffusion_model.{native(n)}", "lora_A.weight", "lora_B.weight", 1.0),
    "kohya": with_names(flat("lora_unet_"), "lora_down.weight", "lora_up.weight", 1.0),
    "kohya, native": with_names(lambda n: flat("lora_unet_")(native(n)), "lora_down.weight", "lora_up.weight", 4),
    "OneTrainer": with_names(flat("lora_transformer_"), "lora_down.weight", "lora_up.weight", 2.0),
    "OneTrainer, dotted": with_names(lambda name: f"transformer.{name}", "lora_down.weight", "lora_up.weight", 8.0),
    "LyCORIS": with_names(flat("lycoris_"), "lora_down.weight", "lora_up.weight", 1.0),
    "old diffusers": with_names(lambda name: f"transformer.{name}", "lora.down.weight", "lora.up.weight"),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_adapter_in_every_layout_is_the_same(layout: str) -> None:
    found = convert(LAYOUTS[layout], MODULES, {})
    assert len(found.fitting) == len(MODULES) and not found.strange and not found.unusable
    made = products(found)
    assert set(made) == set(MODULES)
    for name, (a, b) in adapter().items():
        assert torch.allclose(made[name], b @ a, atol=1e-5), name
    assert ".lora_A." in next(iter(found.state))


@pytest.mark.parametrize("name", ["qkv", "to_qkv"])
def test_fused_layers_are_split(name: str) -> None:
    a, b = torch.randn(2, WIDTH), torch.randn(3 * WIDTH, 2)
    state = {f"layers.1.attention.{name}.lora_A.weight": a, f"layers.1.attention.{name}.lora_B.weight": b}
    found = convert(state, MODULES, {})
    made = products(found)
    whole = torch.cat([made[f"layers.1.attention.to_{part}"] for part in "qkv"])
    assert torch.equal(whole, b @ a) and found.fitting == [f"layers.1.attention.{name}"]


def test_alphas_in_metadata_count_also_by_layer_and_with_rslora() -> None:
    names = ["layers.0.attention.to_q", "layers.1.attention.to_q"]
    state = {}
    for name, (a, b) in adapter(names, rank=4).items():
        state |= {f"{name}.lora_A.weight": a, f"{name}.lora_B.weight": b}
    for config, scales in (
        ({"lora_alpha": 8, "r": 4}, (2.0, 2.0)),
        ({"lora_alpha": 8, "use_rslora": True}, (4.0, 4.0)),
        ({"lora_alpha": 8, "alpha_pattern": {"layers.1.attention.to_q": 2}}, (2.0, 0.5)),
        ({"transformer.lora_alpha": 4}, (1.0, 1.0)),
        ({}, (1.0, 1.0)),
    ):
        made = products(convert(state, MODULES, {"lora_adapter_metadata": json.dumps(config)}))
        for (name, (a, b)), scale in zip(adapter(names, rank=4).items(), scales, strict=True):
            assert torch.allclose(made[name], scale * (b @ a), atol=1e-5), config
    assert convert(state, MODULES, {"lora_adapter_metadata": "{no JSON"}).fitting


def test_eight_bits_are_widened_and_ranks_may_differ() -> None:
    state = {}
    for rank, name in ((2, MODULES[0]), (5, MODULES[1])):
        (a, b) = adapter([name], rank)[name]
        state |= {
            f"{name}.lora_A.weight": a.to(torch.float8_e4m3fn),
            f"{name}.lora_B.weight": b.to(torch.float8_e4m3fn),
        }
    found = convert(state, MODULES, {})
    assert {tensor.dtype for tensor in found.state.values()} == {torch.float32}
    assert len(products(found)) == 2


def test_what_cannot_be_used_is_named_with_its_reason() -> None:
    a, b = torch.randn(2, WIDTH), torch.randn(WIDTH, 2)
    name = "diffusion_model.layers.{}.attention.to_q"
    state = {
        f"{name.format(0)}.hada_w1_a": a,
        f"{name.format(1)}.diff": a,
        f"{name.format(2)}.lora_A.weight": a,
        "diffusion_model.layers.9.attention.to_q.lora_A.weight": a,
        "diffusion_model.layers.9.attention.to_q.lora_B.weight": b,
        "text_model.something": a,
        "layers.0.attention.to_k.lora_A.weight": a,
        "layers.0.attention.to_k.lora_B.weight": b,
    }
    found = convert(state, MODULES, {})
    assert found.fitting == ["layers.0.attention.to_k"]
    assert found.strange == ["text_model.something", "layers.9.attention.to_q"]
    assert found.unusable == {
        "layers.0.attention.to_q": "LoHa",
        "layers.1.attention.to_q": "a full difference",
        "layers.2.attention.to_q": "one of its two matrices is missing",
    }


def test_nothing_is_told_as_applied_that_peft_would_drop() -> None:
    a, b, square = torch.randn(2, WIDTH), torch.randn(WIDTH, 2), torch.randn(2, 4)
    name = "layers.{}.attention.to_q"
    state = {
        f"{name.format(0)}.lokr_w1": square,
        f"{name.format(0)}.lokr_w2": torch.randn(4, 2),
        f"{name.format(1)}.lora_A.weight": a,
        f"{name.format(1)}.lora_B.weight": b,
        f"{name.format(2)}.lokr_w1": square,
        "layers.0.attention.to_k.lokr_w1": square,
        "layers.0.attention.to_k.lokr_w2": square,
        "layers.0.attention.to_k.dora_scale": b,
        "layers.0.attention.qkv.lokr_w1": square,
    }
    found = convert(state, MODULES, {})
    assert found.fitting == [name.format(0)]
    assert found.unusable == {
        name.format(1): "LoRA in a file of LoKr",
        name.format(2): "a factor is missing",
        "layers.0.attention.to_k": "LoKr with a magnitude, or of a convolution",
        "layers.0.attention.qkv": "LoKr of a layer that is several here",
    }
    with_bias = {f"{name.format(1)}.lora_A.weight": a, f"{name.format(1)}.lora_B.weight": b}
    with_bias[f"{name.format(1)}.lora_B.bias"] = torch.randn(WIDTH)
    found = convert(with_bias, MODULES, {})
    assert torch.equal(products(found)[name.format(1)], b @ a) and found.strange == [f"{name.format(1)}.lora_B.bias"]


def test_linear_layers_are_found_with_and_without_adapters() -> None:
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.base_layer, self.lora_A = nn.Linear(2, 2), nn.ModuleDict({"x": nn.Linear(2, 2)})

    assert linear_layers(nn.ModuleDict({"a": nn.Linear(2, 2), "b": Wrapped()})) == ["a", "b"]


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    """One of its own, since adapters stay in it."""
    with Session(InlineEngine(Settings(device="cpu")), "layouts") as session:
        yield session


def difference(weight: Tensor, a: Tensor, b: Tensor, magnitude: Tensor) -> Tensor:
    """DoRA's: each row of the new weight has its magnitude."""
    turned = weight + b @ a
    return magnitude[:, None] * turned / turned.norm(dim=1, keepdim=True) - weight


def kron(state: dict[str, Tensor]) -> Tensor:
    return torch.kron(state["lokr_w1"], state["lokr_w2"])


@pytest.mark.parametrize("spelling", ["dora_scale", "lora_magnitude_vector", "lora_magnitude_vector.weight", "LoKr"])
def test_dora_and_lokr_draw_as_the_plain_difference_does(session: Session, tmp_path: Path, spelling: str) -> None:
    request = Request(prompt="a boat", model="nano", width=64, height=64, steps=2, seed=1)
    plain = session.run(request)
    layer = "layers.2.attention.to_q"
    pipe = session._engine._resident.pipeline.diffusers_pipeline  # type: ignore[attr-defined]
    module = pipe.transformer.get_submodule(layer)
    weight = getattr(module, "base_layer", module).weight.detach().float()
    generator = torch.Generator().manual_seed(4)
    if spelling == "LoKr":
        parts = {
            "lokr_w1": torch.randn(4, 4, generator=generator) * 0.3,
            "lokr_w2": torch.randn(len(weight) // 4, weight.shape[1] // 4, generator=generator) * 0.05,
        }
        wanted = kron(parts)
        written = {f"lycoris_{layer.replace('.', '_')}.{name}": tensor for name, tensor in parts.items()}
        written[f"lycoris_{layer.replace('.', '_')}.alpha"] = torch.tensor(1.0)
    else:
        a = torch.randn(4, weight.shape[1], generator=generator) * 0.1
        b = torch.randn(len(weight), 4, generator=generator) * 0.1
        magnitude = weight.norm(dim=1) * (1 + torch.rand(len(weight), generator=generator))
        wanted = difference(weight, a, b, magnitude)
        names = (f"diffusion_model.{layer}.lora_A.weight", f"diffusion_model.{layer}.lora_B.weight")
        written = {names[0]: a, names[1]: b}
        written[f"diffusion_model.{layer}.{spelling}"] = magnitude[:, None] if spelling == "dora_scale" else magnitude
    save_file({key: value.contiguous() for key, value in written.items()}, tmp_path / "theirs.safetensors")
    whole = {
        f"transformer.{layer}.lora_A.weight": torch.eye(weight.shape[1]),
        f"transformer.{layer}.lora_B.weight": wanted,
    }
    save_file({key: value.contiguous() for key, value in whole.items()}, tmp_path / "plain.safetensors")
    theirs = session.run(request, loras=[tmp_path / "theirs.safetensors"])
    same = session.run(request, loras=[tmp_path / "plain.safetensors"])
    assert "1 of its 1 layers applied" in theirs.trace.notes[-1]
    apart = theirs.diff(same).pixels
    moved = theirs.diff(plain).pixels
    assert apart is not None and moved is not None
    assert apart.largest <= 1 and moved.largest > 10
