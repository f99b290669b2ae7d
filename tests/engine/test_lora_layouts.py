"""One adapter in the layouts of all trainers is the same adapter; what cannot be used is named with its reason."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from zimage_kit import Artifact, Request, Session
from zimage_kit.engine import adapters
from zimage_kit.engine.lora_layouts import Converted, Module, convert, modules_of
from zimage_kit.engine.settings import Settings
from zimage_kit.engine.transformer import project
from zimage_kit.session.inline import InlineEngine

BLOCK = ("attention.to_q", "attention.to_k", "attention.to_v", "attention.to_out.0", "feed_forward.w1")
NAMES = [f"layers.{i}.{name}" for i in range(3) for name in (*BLOCK, "adaLN_modulation.0")] + [
    "all_x_embedder.2-1",
    "all_final_layer.2-1.linear",
    "cap_embedder.1",
]
WIDTH = 8
MODULES = {name: Module(WIDTH, WIDTH, "adaLN" in name) for name in NAMES} | {
    "layers.0.attention.norm_q": Module(0, WIDTH)
}
Layers = dict[str, tuple[Tensor, Tensor]]


def adapter(names: list[str] = NAMES, rank: int = 2) -> Layers:
    generator = torch.Generator().manual_seed(0)
    return {
        name: (torch.randn(rank, WIDTH, generator=generator), torch.randn(WIDTH, rank, generator=generator))
        for name in names
    }


def products(found: Converted) -> dict[str, Tensor]:
    """Each module's difference."""
    made = {}
    for change in found.changes:
        if change.delta is not None:
            whole = change.delta.each(Tensor.float).weight(0, change.delta.shape[0])
            made |= dict(zip(change.targets, whole.chunk(len(change.targets)), strict=True))
    return made


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
    assert len(found.fitting) == len(NAMES) and not found.strange and not found.unusable
    made = products(found)
    assert set(made) == set(NAMES)
    for name, (a, b) in adapter().items():
        assert torch.allclose(made[name], b @ a, atol=1e-5), name


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
    for rank, name in ((2, NAMES[0]), (5, NAMES[1])):
        (a, b) = adapter([name], rank)[name]
        state |= {
            f"{name}.lora_A.weight": a.to(torch.float8_e4m3fn),
            f"{name}.lora_B.weight": b.to(torch.float8_e4m3fn),
        }
    found = convert(state, MODULES, {})
    for (name, made), rank in zip(products(found).items(), (2, 5), strict=True):
        a, b = (each.to(torch.float8_e4m3fn).float() for each in adapter([name], rank)[name])
        assert torch.allclose(made, b @ a)


def test_what_cannot_be_used_is_named_with_its_reason() -> None:
    a, b, square = torch.randn(2, WIDTH), torch.randn(WIDTH, 2), torch.randn(2, 4)
    name = "diffusion_model.layers.{}.attention.to_q"
    w1 = "diffusion_model.layers.0.feed_forward.w1"
    state = {
        f"{name.format(0)}.hada_w1_a": a,
        f"{name.format(1)}.diff": a,
        f"{name.format(2)}.lora_A.weight": a,
        "diffusion_model.layers.9.attention.to_q.lora_A.weight": a,
        "diffusion_model.layers.9.attention.to_q.lora_B.weight": b,
        "text_model.something": a,
        "layers.0.attention.to_k.lora_A.weight": a,
        "layers.0.attention.to_k.lora_B.weight": b,
        "layers_0_attention_to_k.lora_up.weight": b,
        "layers.1.attention.to_k.lora_A.weight": a,
        "layers.1.attention.to_k.lora_B.weight": torch.randn(WIDTH, 3),
        "layers.2.attention.to_k.lokr_w1": square,
        "layers.1.attention.to_v.lokr_w1": square,
        "layers.1.attention.to_v.lokr_w2": square,
        "layers.1.attention.to_v.lokr_t2": square,
        "layers.2.attention.to_v.alpha": torch.tensor(1.0),
        "layers.0.attention.to_v.lora_A.weight": a,
        "layers.0.attention.to_v.lora_B.weight": b,
        "layers.0.attention.to_v.dora_scale": torch.randn(3),
        f"{w1}.diff_b": torch.randn(WIDTH),
        "layers.1.feed_forward.w1.diff": torch.randn(WIDTH, WIDTH),
        "layers.1.feed_forward.w1.hada_w1_a": a,
        "layers.2.feed_forward.w1.lora_A.weight": torch.randn(2),
        "layers.2.feed_forward.w1.lora_B.weight": b,
        "layers.0.attention.norm_q.lora_A.weight": a,
        "cap_embedder.1.lora_A.weight": a,
        "cap_embedder.1.lora_B.weight": b,
        "cap_embedder.1.alpha": torch.randn(2),
    }
    found = convert(state, MODULES, {})
    assert found.fitting == ["layers.0.attention.to_k"]
    assert found.strange == ["text_model.something", "layers.9.attention.to_q"]
    assert "one element" in found.unusable.pop("cap_embedder.1")
    assert found.unusable == {
        "layers.0.attention.to_q": "one of its four matrices is missing",
        "layers.1.attention.to_q": "2 x 8 in the file, 8 x 8 in this model",
        "layers.2.attention.to_q": "one of its two matrices is missing",
        "layers_0_attention_to_k": "given twice",
        "layers.1.attention.to_k": "matrices of rank 3 and 2",
        "layers.2.attention.to_k": "a factor is missing",
        "layers.1.attention.to_v": "LoKr of a convolution",
        "layers.2.attention.to_v": "its matrices are missing",
        "layers.0.attention.to_v": "a magnitude of 3 numbers for 8 rows and 8 columns",
        "layers.0.feed_forward.w1": "a difference of a bias that this layer does not have",
        "layers.1.feed_forward.w1": "LoHa and a difference at once",
        "layers.2.feed_forward.w1": "a tensor that is no matrix",
        "layers.0.attention.norm_q": "of a norm only differences of its weight are read",
    }


def test_the_bias_of_a_second_matrix_is_scaled_as_it_is() -> None:
    a, b, bias = torch.randn(2, WIDTH), torch.randn(WIDTH, 2), torch.randn(WIDTH)
    name = "layers.0.attention.to_q"
    state = {f"{name}.lora_A.weight": a, f"{name}.lora_B.weight": b, f"{name}.lora_B.bias": bias}
    (change,) = convert({**state, f"{name}.alpha": torch.tensor(1.0)}, MODULES, {}).changes
    assert change.bias is not None and torch.equal(change.bias, bias / 2)


def test_modules_are_linear_layers_and_norms() -> None:
    model = nn.ModuleDict({"a": nn.Linear(2, 3), "b": nn.RMSNorm(2), "c": nn.LayerNorm(2, elementwise_affine=False)})
    assert modules_of(model) == {"a": Module(3, 2, True), "b": Module(0, 2)}


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    """One of its own, since its weights are changed for a while."""
    with Session(InlineEngine(Settings(device="cpu")), "layouts") as session:
        yield session


REQUEST = Request(prompt="a boat", model="nano", width=64, height=64, steps=2, seed=1)
Tensors = dict[str, Tensor]
Weights = Callable[[str], Tensor]
KINDS = ("LoRA", "LoKr", "LoKr of low rank", "LoHa", "difference")
LAYERS = (
    "layers.2.attention.to_out.0",
    "layers.1.feed_forward.w2",
    "layers.2.attention.qkv",
    "layers.0.adaLN_modulation.0",
)
MAGNITUDES = ("", "rows", "columns")


def random(*shape: int, scale: float = 0.1, seed: int = 4) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape))) * scale


def of(kind: str, rows: int, width: int) -> tuple[Tensors, Tensor]:
    """The tensors of a layer, and the difference that they mean."""
    up, down, first = random(rows, 4), random(4, width), random(2, 2, scale=0.6)
    if kind == "LoRA":
        return {"lora_A.weight": down, "lora_B.weight": up, "alpha": torch.tensor(2.0)}, up @ down / 2
    if kind == "LoHa":
        parts = {"hada_w1_a": 4 * up, "hada_w1_b": 4 * down, "hada_w2_a": random(rows, 4, seed=6)}
        parts["hada_w2_b"] = random(4, width, seed=7)
        delta = (16 * up @ down) * (parts["hada_w2_a"] @ parts["hada_w2_b"])
        return {**parts, "alpha": torch.tensor(8.0)}, 2 * delta
    if kind == "difference":
        return {"diff": (delta := random(rows, width, scale=0.02))}, delta
    up, down, second = random(rows // 2, 3, scale=0.3), random(3, width // 2), random(rows // 2, width // 2, scale=0.05)
    if kind == "LoKr":
        return {"lokr_w1": first, "lokr_w2": second, "alpha": torch.tensor(1.0)}, torch.kron(first, second)
    parts = {"lokr_w1": first, "lokr_w2_a": up, "lokr_w2_b": down, "alpha": torch.tensor(1.5)}
    return parts, torch.kron(first, up @ down) / 2


def written(kind: str, layer: str, magnitude: str, weights: Weights) -> tuple[Tensors, Tensors]:
    """A file's tensors, and what they add to each parameter of the model."""
    names = [layer.replace("qkv", f"to_{part}") + ".weight" for part in ("qkv" if "qkv" in layer else "q")]
    weight = torch.cat([weights(name) for name in names])
    parts, delta = of(kind, *weight.shape)
    if magnitude:
        axis = int(magnitude == "rows")
        wanted = weight.norm(dim=axis, keepdim=True)
        wanted = wanted * (1.2 + 0.5 * torch.rand(wanted.shape, generator=torch.Generator().manual_seed(5)))
        parts["dora_scale"] = wanted
        delta = wanted * (weight + delta) / (weight + delta).norm(dim=axis, keepdim=True) - weight
    file = {f"lycoris_{layer.replace('.', '_')}.{name}": each for name, each in parts.items()}
    return file, dict(zip(names, delta.chunk(len(names)), strict=True))


EXTRACTED = {
    "layers.2.attention_norm1.weight": "layers.2.attention_norm1.diff",
    "layers.2.ffn_norm2.weight": "layers.2.ffn_norm2.w_norm",
    "layers.2.attention.norm_k.weight": "layers.2.attention.k_norm.diff",
    "context_refiner.0.ffn_norm1.weight": "context_refiner.0.ffn_norm1.diff",
    "cap_embedder.0.weight": "cap_embedder.0.diff",
    "layers.1.adaLN_modulation.0.bias": "layers.1.adaLN_modulation.0.diff_b",
    "all_final_layer.2-1.linear.bias": "final_layer.linear.diff_b",
}
"""Of norms and biases, as ComfyUI and LyCORIS write them."""
TOGETHER = (
    ("LoRA", "layers.0.attention.to_v", ""), ("LoRA", "layers.0.attention.to_q", "rows"),
    ("LoRA", "layers.1.attention.qkv", "columns"), ("LoKr", "layers.2.attention.qkv", ""),
    ("LoHa", "layers.1.feed_forward.w2", ""), ("difference", "layers.1.feed_forward.w3", ""),
)  # fmt: skip


def all_at_once(weights: Weights, dora: bool = True) -> tuple[Tensors, Tensors]:
    """All kinds in one file."""
    wanted = {name: random(*weights(name).shape, scale=0.08 if "norm" in name else 0.02) for name in EXTRACTED}
    file = {f"diffusion_model.{EXTRACTED[name]}": each for name, each in wanted.items()}
    for kind, layer, magnitude in TOGETHER:
        if dora or not magnitude:
            more, its = written(kind, layer, magnitude, weights)
            file, wanted = file | more, wanted | its
    return file, wanted


def network_of(session: Session) -> Any:
    session.run(REQUEST)
    return session._engine._resident.pipeline._networks["transformer"]  # type: ignore[attr-defined]


def weights_of(session: Session) -> Weights:
    """The weights as they compute; of biases only the shape."""
    network = network_of(session)

    def weight(name: str) -> Tensor:
        if name.endswith(".bias"):
            return torch.zeros_like(network.module.get_parameter(name))
        found: Tensor = network.weight(name.removesuffix(".weight")).float().clone()
        return found

    return weight


@contextmanager
def changed(session: Session, differences: Mapping[str, Tensor], factor: float = 1.0) -> Iterator[None]:
    """Context manager: inside, the model's own weights are others."""
    module = network_of(session).module
    before = {name: module.get_parameter(name).detach().clone() for name in differences}
    try:
        for name, difference in differences.items():
            module.get_parameter(name).data.add_(difference, alpha=factor)
        yield
    finally:
        for name, weight in before.items():
            module.get_parameter(name).data.copy_(weight)


def saved(path: Path, tensors: Mapping[str, Tensor]) -> Path:
    save_file({key: value.contiguous() for key, value in tensors.items()}, path)
    return path


def apart(one: Artifact, other: Artifact) -> float:
    pixels = one.diff(other).pixels
    assert pixels is not None
    return pixels.largest


def mean(one: Artifact, other: Artifact) -> float:
    pixels = one.diff(other).pixels
    assert pixels is not None
    return pixels.mean


@pytest.mark.parametrize("magnitude", MAGNITUDES)
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_draws_as_the_changed_model_does(
    session: Session, tmp_path: Path, kind: str, layer: str, magnitude: str
) -> None:
    same_as_changed(session, tmp_path, *written(kind, layer, magnitude, weights_of(session)))


def test_all_kinds_of_one_file_do(session: Session, tmp_path: Path) -> None:
    same_as_changed(session, tmp_path, *all_at_once(weights_of(session)))


def same_as_changed(session: Session, folder: Path, file: Tensors, wanted: Tensors) -> None:
    path, plain = saved(folder / "theirs.safetensors", file), session.run(REQUEST, fresh=True)
    for weight in (1.0, 0.5):
        theirs = session.run(REQUEST, loras=[(path, weight)], fresh=True)
        with changed(session, wanted, weight):
            same = session.run(REQUEST, fresh=True)
        assert theirs.trace.notes[-1].endswith(" applied")
        assert apart(theirs, same) <= 1 < apart(theirs, plain)
    assert session.run(REQUEST, fresh=True).image.tobytes() == plain.image.tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_called_multiplied_and_multiplied_in_parts_are_the_same(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, (parts, _) = "layers.0.attention.to_q", of(kind, WIDTH, WIDTH)
    (change,) = convert({f"{name}.{key}": each for key, each in parts.items()}, MODULES, {}).changes
    layer, x = nn.Linear(WIDTH, WIDTH).requires_grad_(False), random(20, WIDTH)
    plain, found = layer(x), []
    adapters.attach(layer, [(adapters.LinearAdapter(change.delta, random(WIDTH), rows=random(WIDTH)), 0.5)])
    for rows in (1024, 3):
        monkeypatch.setattr(adapters, "_ROWS", rows)
        adapters.add(out := plain.clone(), x, layer)
        found.append(out)
    assert torch.allclose(layer(x), found[0], atol=1e-6) and torch.allclose(*found, atol=1e-6)
    adapters.attach(layer, [])
    assert torch.equal(layer(x), plain) and not torch.allclose(found[0], plain, atol=1e-3)


@pytest.mark.parametrize("spelling", ["lora_magnitude_vector", "lora_magnitude_vector.weight"])
def test_other_spellings_of_magnitudes(spelling: str) -> None:
    name, (parts, _) = "layers.0.attention.to_q", of("LoRA", WIDTH, WIDTH)
    file = {f"{name}.{key}": each for key, each in parts.items()} | {f"{name}.{spelling}": torch.arange(8.0)}
    (change,) = convert(file, MODULES, {}).changes
    assert change.magnitude is not None and torch.equal(change.magnitude, torch.arange(8.0)[:, None])


def test_several_kinds_on_one_layer_are_added(session: Session, tmp_path: Path) -> None:
    layer, weights = "layers.0.attention.to_q", weights_of(session)
    kinds = (("LoRA", "rows"), ("LoHa", "columns"), ("LoKr", ""), ("LoRA", ""))
    made = [written(kind, layer, magnitude, weights) for kind, magnitude in kinds]
    total = {f"{layer}.weight": torch.stack([wanted[f"{layer}.weight"] for _, wanted in made]).sum(0)}
    loras = [(saved(tmp_path / f"{i}.safetensors", file), 1.0) for i, (file, _) in enumerate(made)]
    theirs = session.run(REQUEST, loras=loras, fresh=True)
    with changed(session, total):
        assert apart(theirs, session.run(REQUEST, fresh=True)) <= 1


SETTINGS: dict[str, tuple[dict[str, Any], float]] = {
    "streamed": ({"memory": "66MB"}, 0.01),
    "stock": ({"speed": "stock"}, 0.01),
    "fast": ({"speed": "fast"}, 0.01),
    "float16": ({"dtype": "float16"}, 0.5),
    "bfloat16": ({"dtype": "bfloat16"}, 3.0),
}
"""And how far pictures may be apart, since deltas of other forms are rounded otherwise."""


@pytest.mark.parametrize("setting", SETTINGS)
def test_all_kinds_act_however_the_model_is_kept(tmp_path: Path, setting: str) -> None:
    settings, most = SETTINGS[setting]
    with Session(InlineEngine(Settings(device="cpu", **settings)), setting) as own:
        file, wanted = all_at_once(weights_of(own), dora=setting != "fast")
        whole = {name.replace(".weight", ".diff").replace(".bias", ".diff_b"): each for name, each in wanted.items()}
        before = own.run(REQUEST)
        made, same = (
            own.run(REQUEST, loras=[saved(tmp_path / f"{i}.safetensors", each)]) for i, each in enumerate((file, whole))
        )
        after = own.run(REQUEST, fresh=True)
    assert after.image.tobytes() == before.image.tobytes()
    assert mean(made, same) <= most and mean(made, before) > 10
    assert bool(made.trace.plan["streamed_blocks"]) is (setting == "streamed")


@pytest.mark.parametrize("columns", [False, True])
def test_dora_stretches_what_is_multiplied_in_eight_bits(tmp_path: Path, columns: bool) -> None:
    """Layer by layer, since pictures in 8 bits are too far apart."""
    with Session(InlineEngine(Settings(device="cpu", speed="fast")), "fast") as own:
        weights, layer = weights_of(own), "layers.0.attention.to_q"
        file, wanted = written("LoRA", layer, "columns" if columns else "rows", weights)
        weight = weights(layer)
        own.run(REQUEST, loras=[saved(tmp_path / "dora.safetensors", file)])
        module = own._engine._resident.pipeline._transformer.get_submodule(layer)  # type: ignore[attr-defined]
        x = random(5, weight.shape[1])
        made = project(x, (module,))
        expected = x @ (weight + wanted[f"{layer}.weight"]).t()
    assert (made - expected).norm() / expected.norm() < 0.04


def test_what_is_loaded_is_counted_and_evicted(session: Session, tmp_path: Path) -> None:
    file, _ = written("LoHa", LAYERS[0], "", weights_of(session))
    file = {key: value.to(torch.float8_e4m3fn) if value.dim() else value for key, value in file.items()}
    loras = [(saved(tmp_path / "loha.safetensors", file), 1.0)]
    theirs = session.run(REQUEST, loras=loras, fresh=True)
    residency = session._engine._resident.pipeline.residency  # type: ignore[attr-defined]
    held = residency.entries[-1]
    assert held.kind == "lora" and held.bytes == 4 * sum(each.numel() for each in file.values() if each.dim())
    residency.drop(held.name)
    assert session.run(REQUEST, loras=loras, fresh=True).image.tobytes() == theirs.image.tobytes()


def test_diffusers_draws_the_same_with_a_lora_in_stock(tmp_path: Path) -> None:
    """Bit-equal, by way of peft; also where its modules take over from ours with the LoRA on them."""
    with Session(InlineEngine(Settings(device="cpu", speed="stock")), "stock") as own:
        layer = "layers.2.attention.to_q"
        parts, _ = of("LoRA", *weights_of(own)(layer).shape)
        del parts["alpha"]
        file = {f"transformer.{layer}.{name}": each for name, each in parts.items()}
        path = saved(tmp_path / "lora.safetensors", file)
        made = own.run(REQUEST, loras=[(path, 0.7)])
        own.run(REQUEST, fresh=True)
        pipe = own._engine._resident.pipeline.diffusers_pipeline  # type: ignore[attr-defined]
        pipe.load_lora_weights(str(path.parent), weight_name=path.name, adapter_name="theirs", local_files_only=True)
        pipe.set_adapters(["theirs"], [0.7])
        assert own.run(REQUEST, fresh=True).image.tobytes() == made.image.tobytes()
