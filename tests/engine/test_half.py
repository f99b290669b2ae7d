"""float16 that cannot overflow, and weights that wait in 8 bits: the same pixels however much memory there is."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import zimage_kit as zk
from zimage_kit import Artifact, Request, Session, nano
from zimage_kit.engine import resident
from zimage_kit.engine.needs import Machine
from zimage_kit.engine.packing import Packing, Place
from zimage_kit.engine.plan import plan
from zimage_kit.engine.settings import Settings
from zimage_kit.errors import BadRequest
from zimage_kit.session.inline import InlineEngine

REQUEST = Request(prompt="a girl on the grass", model="nano", width=128, height=128, steps=3, seed=1)


def pixels(made: Artifact) -> np.ndarray[Any, Any]:
    return np.asarray(made.image).astype(int)


def draw(request: Request = REQUEST, **settings: str) -> Artifact:
    with alone(**settings) as session:
        return session.run(request, fresh=True)


def alone(**settings: str) -> Session:
    """A session of its own: `connect` gives the same one to all who ask for the same settings."""
    return Session(InlineEngine(Settings(device="cpu", **settings)), "alone")


@pytest.fixture(scope="module")
def loud(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """nano with weights that norms make up for, so that it is the same function: its feed-forwards reach 1e9."""
    folder = tmp_path_factory.mktemp("models") / "loud"
    shutil.copytree(nano.DIRECTORY, folder)
    for file in folder.glob("transformer/*.safetensors"):
        weights = load_file(file)
        for name, weight in weights.items():
            factor = 1e4 if name.endswith("feed_forward.w3.weight") else 1e3 if ".attention.to_v." in name else 1.0
            weights[name] = weight.float() * factor
        save_file(weights, file)
    return folder


def test_what_overflows_in_float16_is_scaled_to_the_same_function(loud: Path) -> None:
    wide, half = draw(), draw(dtype="float16")
    assert np.abs(pixels(wide) - pixels(half)).mean() < 0.5
    made = draw(REQUEST.but(model=str(loud)), dtype="float16")
    assert made.trace.dtype == "float16"
    assert np.abs(pixels(wide) - pixels(made)).mean() < 0.5


def test_without_the_scaling_it_does_overflow(loud: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zimage_kit.engine.load.fit_block", lambda block: None)
    with pytest.raises(zk.ZImageError, match="NaN or infinity"):
        draw(REQUEST.but(model=str(loud)), dtype="float16")


def test_a_lora_adds_to_scaled_layers_what_it_adds_to_others(loud: Path) -> None:
    lora = next(iter(sorted((nano.DIRECTORY.parent / "loras").glob("*.safetensors"))))
    wide = draw(REQUEST.but(model=str(loud), loras=[(str(lora), 1.0)]))
    half = draw(REQUEST.but(model=str(loud), loras=[(str(lora), 1.0)]), dtype="float16")
    assert np.abs(pixels(wide) - pixels(half)).mean() < 0.5


def test_so_do_other_kinds(loud: Path, tmp_path: Path) -> None:
    """Of the layers that are scaled: DoRA by rows and by columns, a LoHa, a difference."""
    weights = {}
    for file in loud.glob("transformer/*.safetensors"):
        weights |= load_file(file)
    generator, state = torch.Generator().manual_seed(1), {}
    for number, kind in enumerate(("rows", "columns", "LoHa", "difference")):
        for part in ("attention.to_v", "feed_forward.w3"):
            name = f"layers.{number}.{part}"
            weight = weights[f"{name}.weight"]
            up, down = (torch.randn(size, generator=generator) for size in ((len(weight), 2), (2, weight.shape[1])))
            up *= weight.std()
            if kind == "LoHa":
                state |= {f"{name}.hada_w1_a": up, f"{name}.hada_w1_b": down}
                state |= {f"{name}.hada_w2_a": up / weight.std(), f"{name}.hada_w2_b": down / 2}
            elif kind == "difference":
                state[f"{name}.diff"] = up @ down / 2
            else:
                magnitude = 1.4 * weight.norm(dim=int(kind == "rows"), keepdim=True)
                state |= {
                    f"{name}.lora_A.weight": down,
                    f"{name}.lora_B.weight": up / 2,
                    f"{name}.dora_scale": magnitude,
                }
    save_file({name: each.clone() for name, each in state.items()}, tmp_path / "kinds.safetensors")
    request = REQUEST.but(model=str(loud), loras=[(str(tmp_path / "kinds.safetensors"), 1.0)])
    wide, half, bare = draw(request), draw(request, dtype="float16"), draw(request.but(loras=[]))
    assert "8 of its 8 layers" in half.trace.notes[-1]
    assert np.abs(pixels(wide) - pixels(half)).mean() < 0.5 < np.abs(pixels(wide) - pixels(bare)).mean() / 20


HALF = {"dtype": "float16", "memory": "100MB"}
PACKED = {"precision": "int8", "memory": "110MB"}
SETTINGS = (HALF, PACKED, {**PACKED, "precision": "fp8"}, {**HALF, "precision": "int8"})


def plenty(settings: dict[str, str]) -> dict[str, str]:
    """The same without a limit on memory."""
    return {name: value for name, value in settings.items() if name != "memory"}


@pytest.fixture(params=SETTINGS, ids=lambda given: " ".join(plenty(given).values()))
def two(request: pytest.FixtureRequest) -> Iterator[tuple[Session, Session]]:
    """A session with all the memory it wants, and one in which nearly every block is streamed."""
    with (
        alone(**plenty(request.param)) as whole,
        alone(**request.param) as small,
    ):
        yield whole, small


def test_memory_changes_no_pixel(two: tuple[Session, Session]) -> None:
    (whole, small), plans = two, []
    pose = REQUEST.but(stages=[{"kind": "pose", "preset": ["waving"]}])
    for request in (REQUEST, pose, REQUEST.but(width=64, height=64)):  # a smaller one moves blocks onto the device
        one, other = whole.run(request, fresh=True), small.run(request, fresh=True)
        assert np.array_equal(pixels(one), pixels(other))
        engine: Any = small._engine
        plans.append(engine._resident.pipeline.plan)
    assert plans[0].streamed_blocks > plans[-1].streamed_blocks
    assert plans[0].exact == (not plans[0].precision)


def test_rounded_weights_are_told_and_are_another_identity() -> None:
    made = draw(precision="int8")
    assert made.trace.identity["precision"] == "int8" and made.trace.settings["precision"] == "int8"
    assert any("rounded to int8" in note for note in made.trace.notes)
    assert 0 < np.abs(pixels(made) - pixels(draw())).mean() < 6


@pytest.mark.parametrize(("settings", "ram"), [({"memory": "110MB"}, 118e6), (HALF, 116e6), (PACKED, 114e6)], ids=str)
def test_where_ram_is_short_blocks_are_read_from_the_files(
    settings: dict[str, str], ram: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`ram`: bytes, enough for what is on the "device" and not for the blocks that are not."""
    whole = draw(**plenty(settings))
    real = resident.plan

    def with_little_ram(found: Machine, *rest: Any) -> Any:
        return real(Machine(host_bytes=round(ram)), *rest)

    monkeypatch.setattr(resident, "plan", with_little_ram)
    with alone(**settings) as session:
        made = session.run(REQUEST, fresh=True)
        engine: Any = session._engine
        pipeline = engine._resident.pipeline
        assert pipeline.plan.mapped and pipeline.host_bytes == 0
        assert any("read from the model's files" in note for note in made.trace.notes)
        assert np.array_equal(pixels(made), pixels(whole))


def test_half_sums_products_in_float16_while_it_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU sums in float32 all the same, so that the pixels are those of float16 here."""
    matmul, seen, real = torch.backends.cuda.matmul, list[bool](), resident.plan
    for speed in ("half", "exact"):
        monkeypatch.setattr(resident, "plan", lambda *given, speed=speed: replace(real(*given), speed=speed))
        with alone(dtype="float16") as session:
            session.run(REQUEST.but(steps=1))
            engine: Any = session._engine
            pipeline = engine._resident.pipeline
            decode = pipeline.decode

            def noting(latents: torch.Tensor, decode: Any = decode) -> Any:
                seen.append(matmul.allow_fp16_accumulation)
                return decode(latents)

            pipeline.decode = noting
            made = session.run(REQUEST, fresh=True)
            assert made.trace.identity["speed"] == speed and not matmul.allow_fp16_accumulation
        if speed == "half":
            first = pixels(made)
    assert seen == [True, False] and np.array_equal(first, pixels(made))


def test_half_is_float16_on_an_nvidia_card() -> None:
    card = Machine(cuda_devices=1, free_bytes=24 << 30, cuda_bfloat16=True, cuda_capability="8.6")
    found = plan(card, None, settings=Settings(speed="half"))
    assert (found.dtype, found.speed, found.precision, found.exact) == ("float16", "half", "", True)
    for machine, settings, where in (
        (card, Settings(speed="half", dtype="bfloat16"), "in bfloat16"),
        (card, Settings(speed="half", device="cpu"), "on cpu"),
    ):
        with pytest.raises(BadRequest, match=f"speed='half' {where}; expected float16 on an NVIDIA card"):
            plan(machine, None, settings=settings)


@pytest.mark.parametrize("precision", ["int8", "fp8"])
def test_packing_what_was_unpacked_gives_the_same_bytes(precision: str) -> None:
    torch.manual_seed(0)
    places = {"feed_forward.w1.weight": Place(0, (24, 40)), "norm.weight": Place(1024, (40,))}
    packing = Packing(places, torch.bfloat16, precision)
    weights = {name: torch.randn(place.shape) for name, place in places.items()}
    weights["feed_forward.w1.weight"][3] = 0
    once, again = torch.zeros(packing.bytes, dtype=torch.uint8), torch.zeros(packing.bytes, dtype=torch.uint8)
    out = torch.zeros(1064, dtype=torch.bfloat16)
    for name, weight in weights.items():
        packing.pack(name, weight, once)
    packing.unpack(once, out)
    for name, place in places.items():
        assert torch.equal(packing.round(name, weights[name]).to(torch.bfloat16), place.view(out))
        packing.pack(name, place.view(out), again)
    assert torch.equal(once, again)
    error = (places["feed_forward.w1.weight"].view(out).float() - weights["feed_forward.w1.weight"]).norm()
    assert 0 < error / weights["feed_forward.w1.weight"].norm() < (0.01 if precision == "int8" else 0.04)
    assert torch.equal(places["norm.weight"].view(out), weights["norm.weight"].to(torch.bfloat16))
