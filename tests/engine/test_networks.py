"""Networks of our own: the libraries' weights under the same names, computed alike, and neither library imported."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.image_processor import VaeImageProcessor
from PIL import Image
from torch import nn
from transformers import AutoTokenizer

import zimage_kit as zk
from zimage_kit import nano
from zimage_kit.engine import networks
from zimage_kit.engine.autoencoder import Distribution, pixels
from zimage_kit.engine.encode import EndOfPass, token_ids
from zimage_kit.engine.load import without_weights
from zimage_kit.engine.plan import Plan
from zimage_kit.engine.scheduler import Scheduler

EXACT = Plan("cpu", "float32", speed="exact")
REQUEST = {"prompt": "a girl on the grass", "model": "nano", "width": 128, "height": 128, "steps": 3, "seed": 1}
PUBLISHED: dict[str, dict[str, Any]] = {
    "text_encoder": {
        "head_dim": 128, "hidden_size": 2560, "intermediate_size": 9728, "num_attention_heads": 32,
        "num_hidden_layers": 4, "num_key_value_heads": 8, "vocab_size": 151936, "rope_scaling": None,
        "rope_theta": 1000000, "model_type": "qwen3", "rms_norm_eps": 1e-06,
    },
    "transformer": {"_class_name": "ZImageTransformer2DModel", "n_layers": 3},
    "vae": {
        "_class_name": "AutoencoderKL", "act_fn": "silu", "block_out_channels": [128, 256, 512, 512],
        "down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4,
        "latent_channels": 16, "layers_per_block": 2, "mid_block_add_attention": True, "norm_num_groups": 32,
        "scaling_factor": 0.3611, "shift_factor": 0.1159, "use_post_quant_conv": False, "use_quant_conv": False,
    },
}  # fmt: skip
"""Of Z-Image-Turbo, with fewer layers; what it leaves out is what the libraries take for granted."""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """nano's configurations, to be changed."""
    for name in ("scheduler", "text_encoder", "transformer", "vae"):
        (tmp_path / name).mkdir()
        for file in (nano.DIRECTORY / name).glob("*config.json"):
            shutil.copy(file, tmp_path / name)
    shutil.copy(nano.DIRECTORY / "model_index.json", tmp_path)
    return tmp_path


def write(directory: Path, name: str, **values: Any) -> None:
    file = directory / name / ("scheduler_config.json" if name == "scheduler" else "config.json")
    file.write_text(json.dumps({**json.loads(file.read_bytes()), **values}))


@pytest.mark.parametrize("model", ["nano", "published"])
@pytest.mark.parametrize("name", list(PUBLISHED))
def test_the_weights_have_the_names_and_shapes_of_the_libraries(directory: Path, model: str, name: str) -> None:
    if model == "published":
        (directory / name / "config.json").write_text(json.dumps(PUBLISHED[name]))
    ours, theirs = without_weights(directory, name), without_weights(directory, name, ours=False)
    assert type(ours).__module__ == networks.__name__ != type(theirs).__module__
    shapes = [{key: weight.shape for key, weight in each.named_parameters()} for each in (ours, theirs)]
    assert shapes[0] == shapes[1]
    if name == "vae":
        for key in ("scaling_factor", "shift_factor"):
            assert getattr(ours.config, key) == getattr(theirs.config, key)


def filled(directory: Path, name: str) -> tuple[Any, Any]:
    """Both networks with the same random weights."""
    torch.manual_seed(0)
    made = [without_weights(directory, name, ours=ours).to_empty(device="cpu") for ours in (True, False)]
    for key, weight in made[0].named_parameters():
        weight.data = torch.randn(weight.shape) * 0.2 + ("norm" in key)
        made[1].get_parameter(key).data = weight.data
    return made[0].eval(), made[1].eval()


def parts() -> Iterator[tuple[str, str, Callable[[Any], Any]]]:
    """What flat code calls of a network: its name, the part's, and a call."""
    torch.manual_seed(1)
    states, levels, places = torch.randn(1, 5, 256), torch.randn(1, 256), torch.randint(0, 200, (7, 3))
    yield "transformer", "t_embedder", lambda part: part(torch.tensor([0.0, 122.5, 1000.0]))
    yield "transformer", "cap_embedder", lambda part: part(states)
    yield "transformer", "all_x_embedder.2-1", lambda part: part(states[..., :64])
    yield "transformer", "all_final_layer.2-1", lambda part: part(states, c=levels)
    yield "transformer", "layers.2.adaLN_modulation", lambda part: part(levels)
    yield "transformer", "rope_embedder", lambda part: part(places)
    yield "text_encoder", "embed_tokens", lambda part: part(places[:, 0])
    yield "text_encoder", "rotary_emb", lambda part: torch.stack(part(states, torch.arange(40)[None]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("name", "part", "called"), list(parts()), ids=[part for _, part, _ in parts()])
def test_the_parts_compute_what_the_libraries_do(
    directory: Path, name: str, part: str, called: Callable[[Any], Any], dtype: torch.dtype
) -> None:
    found = []
    for module in filled(directory, name):
        for key, buffer in (without_weights(directory, name)).named_buffers():
            module.get_submodule(key.rpartition(".")[0])._buffers[key.rpartition(".")[2]] = buffer  # emptied above
        module.to(dtype)
        here = getattr(module, part) if part == "rope_embedder" else module.get_submodule(part)
        given = called if part == "t_embedder" or dtype == torch.float32 else _in(dtype, called)
        with torch.no_grad():
            found.append(given(here))
    assert found[0].dtype == found[1].dtype
    assert torch.equal(*found)


def _in(dtype: torch.dtype, called: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The call with what is given in this type."""

    def given(part: Any) -> Any:
        def cast(*inputs: Any, **named: Any) -> Any:
            def to(value: Any) -> Any:
                return value.to(dtype) if isinstance(value, torch.Tensor) and value.is_floating_point() else value

            return part(*map(to, inputs), **{key: to(value) for key, value in named.items()})

        return called(cast)

    return given


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("transformer", {"siglip_feat_dim": 1152}),
        ("transformer", {"all_patch_size": [2, 4]}),
        ("transformer", {"qk_norm": False}),
        ("text_encoder", {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0}}),
        ("text_encoder", {"rope_scaling": {"rope_type": "linear", "factor": 2.0}}),
        ("text_encoder", {"attention_bias": True}),
        ("text_encoder", {"layer_types": ["sliding_attention"] * 3}),
        ("vae", {"act_fn": "mish"}),
        ("vae", {"up_block_types": ["UpDecoderBlock2D"] * 3 + ["AttnUpDecoderBlock2D"]}),
        ("scheduler", {"use_karras_sigmas": True}),
        ("scheduler", {"stochastic_sampling": True}),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_models_of_another_form_are_left_to_the_libraries(directory: Path, name: str, values: dict[str, Any]) -> None:
    assert networks.usable(directory, EXACT)
    write(directory, name, **values)
    assert not networks.known(directory) and not networks.usable(directory, EXACT)


def test_a_broken_configuration_is_left_to_whoever_loads_it(directory: Path) -> None:
    (directory / "vae" / "config.json").write_text("{")
    assert not networks.known(directory)
    (directory / "vae" / "config.json").unlink()
    assert not networks.known(directory)


def test_other_classes_are_left_to_the_libraries(directory: Path) -> None:
    index = json.loads((directory / "model_index.json").read_bytes())
    index["scheduler"] = ["diffusers", "FlowMatchHeunDiscreteScheduler"]
    (directory / "model_index.json").write_text(json.dumps(index))
    assert not networks.known(directory)


@pytest.mark.parametrize("plan", [Plan("cpu", "float32", speed="stock"), Plan("cuda:0", "float16", speed="exact")])
def test_stock_and_float16_compute_with_the_libraries_modules(plan: Plan) -> None:
    assert not networks.usable(nano.DIRECTORY, plan)


@pytest.mark.parametrize("memory", ["400MB", "112MB"], ids=["resident", "streamed"])
def test_the_libraries_modules_in_place_of_ours_change_no_pixel(memory: Any) -> None:
    """As ControlNets need them: they take the weights over where they are."""
    with zk.connect("inline", device="cpu", memory=memory) as session:
        before = session.run(zk.Request(**REQUEST), fresh=True)
        pipeline = session._engine._resident.pipeline  # type: ignore[attr-defined]
        ours = {name: network.module for name, network in pipeline._networks.items()}
        weights = {name: list(module.named_parameters()) for name, module in ours.items()}
        theirs = pipeline.diffusers_pipeline
        assert isinstance(ours["transformer"], networks.Transformer) and theirs is pipeline.diffusers_pipeline
        assert type(theirs.transformer).__name__ == "ZImageTransformer2DModel"
        for name, network in pipeline._networks.items():
            assert network.module is not ours[name]
            for key, weight in weights[name]:
                assert network.module.get_parameter(key) is weight
        assert (len(pipeline._networks["transformer"].waiting) > 0) == (memory == "112MB")
        after = session.run(zk.Request(**REQUEST), fresh=True)
        assert np.array_equal(np.asarray(before.image), np.asarray(after.image))
        again = session.run(zk.Request(**{**REQUEST, "prompt": "a boat"}), fresh=True)  # a prompt that is encoded now
        other = session.run(zk.Request(**{**REQUEST, "prompt": "a boat"}), fresh=True)
        assert np.array_equal(np.asarray(again.image), np.asarray(other.image))


def test_a_streamed_prompt_is_encoded_alike_before_and_after() -> None:
    """Also where the token embedding looks up in host memory."""
    found = []
    for replaced in (False, True):
        with zk.connect("inline", device="cpu", memory="100MB") as session:
            session.run(zk.Request(**{**REQUEST, "steps": 1}), fresh=True)
            pipeline = session._engine._resident.pipeline  # type: ignore[attr-defined]
            assert pipeline.plan.encoder == "streamed"
            if replaced:
                assert pipeline.diffusers_pipeline is not None
            encoder = pipeline._networks["text_encoder"].module
            assert isinstance(encoder.layers[-1], EndOfPass) and isinstance(encoder.norm, nn.Identity)
            found.append(pipeline._embed("two boats")[0])
    assert torch.equal(*found)


def test_drawing_imports_neither_library_nor_torchs_compiler() -> None:
    draw = (
        "import sys, zimage_kit as zk; s = zk.connect('inline', device='cpu');"
        "a = s.run('a cat', steps=1, width=64, height=64, seed=1, model='nano', loras=['papercut']);"
        "b = s.apply(a, zk.stages.refine(strength=0.5), zk.stages.text_overlay(text='a'));"
        "print([m for m in ('diffusers', 'transformers', 'peft', 'accelerate', 'torch._dynamo') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", draw], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_is_imported_for_a_controlnet_is_told() -> None:
    with zk.connect("inline", device="cpu", memory="500MB") as own:
        own.run(zk.Request(**{**REQUEST, "steps": 1}))
        told: list[str] = []
        for _ in range(2):
            own.run(
                zk.Request(**{**REQUEST, "steps": 1}).then(zk.stages.pose(preset="waving")),
                fresh=True,
                on_event=lambda event: told.append(event.message or ""),
            )
    assert told.count("importing diffusers") == 1


@pytest.mark.parametrize(
    "values",
    [
        {"shift": 3.0},
        {"shift": 6.0, "shift_terminal": 0.02},
        {"use_dynamic_shifting": True},
        {"use_dynamic_shifting": True, "time_shift_type": "linear"},
    ],
    ids=["shift", "terminal", "by size", "linear by size"],
)
def test_the_scheduler_is_diffusers(values: dict[str, Any]) -> None:
    ours, theirs = Scheduler(values), FlowMatchEulerDiscreteScheduler(**values)
    levels = torch.linspace(0.8, 0.1, 7).tolist()
    generator = torch.Generator().manual_seed(0)
    sample, noise = (torch.randn(1, 16, 8, 8, generator=generator) for _ in range(2))
    made = []
    for scheduler in (ours, theirs):
        scheduler.set_timesteps(sigmas=levels, mu=0.9, device=torch.device("cpu"))
        scheduler.set_begin_index(0)
        x = scheduler.scale_noise(sample, scheduler.timesteps[:1], noise)
        for timestep in scheduler.timesteps:
            x = scheduler.step(torch.sin(x), timestep, x, return_dict=False)[0]
        made.append((scheduler.sigmas, scheduler.timesteps, x))
    for one, other in zip(*made, strict=True):
        assert one.dtype == other.dtype and torch.equal(one, other)


def test_pictures_and_prompts_are_read_as_the_libraries_do() -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 32, 3), dtype=np.uint8))
    theirs = VaeImageProcessor(vae_scale_factor=16).preprocess(picture)
    assert torch.equal(pixels(picture), theirs) and pixels(picture).stride() == theirs.stride()
    tokenizer = AutoTokenizer.from_pretrained(nano.DIRECTORY / "tokenizer")
    for prompt in ("a boat 星空下的红色灯笼", "a" * 3000 + " and more", ""):
        said = [{"role": "user", "content": prompt}]
        text = tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True, enable_thinking=True)
        ids = tokenizer(text, max_length=512, truncation=True, return_tensors="pt").input_ids[0]
        assert torch.equal(token_ids(nano.DIRECTORY, prompt), ids)


def test_a_sample_is_that_of_diffusers_distribution() -> None:
    from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution

    found = torch.randn(1, 32, 4, 4, generator=torch.Generator().manual_seed(0)) * 20
    ours, theirs = Distribution(found), DiagonalGaussianDistribution(found)
    assert torch.equal(ours.mode(), theirs.mode())
    drawn = [each.sample(torch.Generator().manual_seed(1)) for each in (ours, theirs)]
    assert torch.equal(*drawn)
