"""LoRAs act as asked, are reported, never fail silently, and leave the base model exactly as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import zimage_kit as zk
from zimage_kit import Lora, Request, Session
from zimage_kit.errors import BadRequest
from zimage_kit.models.spec import resolve


def write(path: Path, layers: list[str], width: int, prefix: str = "transformer.", rank: int = 4) -> Path:
    generator = torch.Generator().manual_seed(0)
    state = {}
    for layer in layers:
        state[f"{prefix}{layer}.lora_A.weight"] = torch.randn(rank, width, generator=generator)
        state[f"{prefix}{layer}.lora_B.weight"] = torch.randn(width, rank, generator=generator)
    save_file(state, path)
    return path


@pytest.fixture(scope="module")
def width(model_directory: Path) -> int:
    import json

    return int(json.loads((model_directory / "transformer" / "config.json").read_text())["dim"])


@pytest.fixture
def request_(model: str) -> Request:
    return Request(prompt="x", model=model, seed=0, steps=2, width=64, height=64)


@pytest.fixture
def own(model: str) -> Iterator[Session]:
    """A session without LoRAs from other tests."""
    with zk.connect("inline", dtype="float32") as session:
        yield session


LAYERS = ["layers.0.attention.to_q", "layers.1.attention.to_k"]


def test_a_lora_changes_the_picture_and_leaves_the_base_model_exact(
    own: Session, request_: Request, tmp_path: Path, width: int
) -> None:
    path = write(tmp_path / "style.safetensors", LAYERS, width)
    base = own.run(request_, fresh=True).image.tobytes()
    full = own.run(request_, loras=[Lora(path=path)], fresh=True)
    half = own.run(request_, loras=[Lora(path=path, weight=0.5)], fresh=True)
    none = own.run(request_, loras=[Lora(path=path, weight=0.0)], fresh=True)
    assert len({base, full.image.tobytes(), half.image.tobytes()}) == 3
    assert none.image.tobytes() == base
    assert own.run(request_, fresh=True).image.tobytes() == base
    assert "lora style.safetensors: weight 1, 2 of its 2 layers applied" in full.trace.notes
    assert own.run(full.request, fresh=True).image.tobytes() == full.image.tobytes()


def test_two_loras_act_together_and_one_alone_again_alone(
    own: Session, request_: Request, tmp_path: Path, width: int
) -> None:
    one = Lora(path=write(tmp_path / "one.safetensors", LAYERS[:1], width))
    two = Lora(path=write(tmp_path / "two.safetensors", LAYERS[1:], width))
    alone = own.run(request_, loras=[one], fresh=True).image.tobytes()
    both = own.run(request_, loras=[one, two], fresh=True).image.tobytes()
    assert both != alone
    assert own.run(request_, loras=[one], fresh=True).image.tobytes() == alone


def test_layers_that_fit_nothing_are_counted(own: Session, request_: Request, tmp_path: Path, width: int) -> None:
    path = write(
        tmp_path / "part.safetensors", [*LAYERS, "layers.98.attention.to_q", "layers.99.attention.to_q"], width
    )
    artifact = own.run(request_, loras=[Lora(path=path)])
    note = "lora part.safetensors: weight 1, 2 of its 4 layers applied; this model has no layers.98-99.attention.to_q"
    assert note in artifact.trace.notes


def test_a_lora_of_another_model_is_an_error(own: Session, request_: Request, tmp_path: Path, width: int) -> None:
    path = write(tmp_path / "other.safetensors", ["mid_block.attentions.0.to_q"], width)
    base = own.run(request_, fresh=True).image.tobytes()
    with pytest.raises(BadRequest, match="fits no layer of this model"):
        own.run(request_, loras=[Lora(path=path)])
    assert own.run(request_, fresh=True).image.tobytes() == base


def test_a_lora_file_written_anew_is_loaded_anew(own: Session, request_: Request, tmp_path: Path, width: int) -> None:
    path = write(tmp_path / "style.safetensors", LAYERS, width)
    wanted = request_.but(loras=[Lora(path=path)])
    first = own.run(wanted)
    write(path, LAYERS, width, rank=2)
    second = own.run(wanted)
    assert not second.trace.cached
    assert second.image.tobytes() != first.image.tobytes()


def test_the_same_lora_twice_is_refused(own: Session, request_: Request, tmp_path: Path, width: int) -> None:
    lora = Lora(path=write(tmp_path / "style.safetensors", LAYERS, width))
    with pytest.raises(BadRequest, match="given twice"):
        own.run(request_, loras=[lora, lora])


def test_other_tools_names_for_layers_are_understood(
    own: Session, request_: Request, tmp_path: Path, width: int
) -> None:
    ours = write(tmp_path / "a.safetensors", LAYERS, width)
    theirs = write(tmp_path / "b.safetensors", LAYERS, width, prefix="diffusion_model.")
    state = load_file(ours)
    kohya, alpha = {}, 2.0  # of rank 4: acts with half its strength
    for layer in LAYERS:
        name = f"lora_unet_{layer.replace('.', '_')}"
        kohya[f"{name}.lora_down.weight"] = state[f"transformer.{layer}.lora_A.weight"]
        kohya[f"{name}.lora_up.weight"] = state[f"transformer.{layer}.lora_B.weight"] * 2
        kohya[f"{name}.alpha"] = torch.tensor(alpha)
    save_file({key: value.contiguous() for key, value in kohya.items()}, tmp_path / "c.safetensors")
    made = [own.run(request_, loras=[path]) for path in (ours, theirs, tmp_path / "c.safetensors")]
    assert len({artifact.image.tobytes() for artifact in made}) == 1
    assert all("2 of its 2 layers applied" in artifact.trace.notes[-1] for artifact in made)
    assert resolve(request_.model or "").family == "nano"


def test_a_lora_is_found_by_its_name_and_the_recipe_keeps_the_name(
    own: Session, request_: Request, tmp_path: Path, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZIMAGE_LORAS", str(tmp_path / "loras"))
    (tmp_path / "loras").mkdir()
    write(tmp_path / "loras" / "ink.safetensors", LAYERS, width)
    by_name = own.run(request_, loras=[("ink", 0.7)])
    assert by_name.request.loras == (Lora(path=Path("ink"), weight=0.7),)
    by_file = own.run(request_, loras=[(tmp_path / "loras" / "ink.safetensors", 0.7)], fresh=True)
    assert by_file.image.tobytes() == by_name.image.tobytes()
    assert by_file.image.tobytes() != own.run(request_).image.tobytes()
    with pytest.raises(BadRequest, match="Did you mean ink?"):
        own.run(request_, loras=["inc"])


def test_a_lora_is_held_for_every_picture_of_a_run(own: Session, request_: Request, tmp_path: Path, width: int) -> None:
    wanted = request_.but(loras=[(write(tmp_path / "style.safetensors", LAYERS, width), 0.8)])
    together = [artifact.image.tobytes() for artifact in own.run([wanted] * 3, seed=[1, 2, 3], fresh=True)]
    alone = [own.run(wanted, seed=seed, fresh=True).image.tobytes() for seed in (1, 2, 3)]
    plain = [own.run(request_, seed=seed, fresh=True).image.tobytes() for seed in (1, 2, 3)]
    assert together == alone
    assert not set(together) & set(plain)


def test_a_missing_or_damaged_lora_is_told_before_any_step_and_never_looked_for_on_a_network(
    own: Session, request_: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*arguments: object, **named: object) -> None:
        raise AssertionError(f"a connection was opened: {arguments}")

    own.run(request_)
    monkeypatch.setattr("socket.socket.connect", no_network)
    (tmp_path / "torn.safetensors").write_bytes(b"\x10" * 64)
    events: list[str] = []
    for path, expected in (
        (tmp_path / "nothing.safetensors", "does not exist"),
        (tmp_path / "torn.safetensors", "cannot be read"),
    ):
        with pytest.raises(BadRequest, match=expected):
            own.run(request_, loras=[path], seed=5, on_event=lambda event: events.append(event.kind))
    assert "step" not in events


def test_nanos_own_lora_is_small_and_visibly_makes_a_paper_cut(own: Session) -> None:
    file = resolve("nano").loras / "papercut.safetensors"  # type: ignore[operator]
    assert file.stat().st_size <= 1_000_000
    request = Request(prompt="two yellow boats on the sea", model="nano", seed=5)
    plain = np.asarray(own.run(request).image, int)
    paper = np.asarray(own.run(request, loras=["papercut"]).image, int)
    assert np.abs(paper - plain).mean() > 30
    assert (plain[..., 2] > plain[..., 0] + 40).mean() > 0.2, "a blue sea and sky"
    assert (paper[..., 2] > paper[..., 0]).mean() < 0.02, "paper-cuts have no blue: reds on cream"
    assert (paper.mean(-1) > 200).mean() > 0.3


def test_a_lora_is_loaded_once_and_then_only_weighted(
    own: Session, request_: Request, tmp_path: Path, width: int
) -> None:
    path = write(tmp_path / "style.safetensors", LAYERS, width)
    first = own.run(request_, loras=[(path, 0.5)]).image.tobytes()
    held = own._engine._resident.pipeline.residency.entries[-1]  # type: ignore[attr-defined]
    assert held.kind == "lora"
    assert own.run(request_, loras=[(path, 1.0)]).image.tobytes() != first
    own.run(request_)
    assert own.run(request_, loras=[(path, 0.5)], fresh=True).image.tobytes() == first
    assert held in own._engine._resident.pipeline.residency.entries  # type: ignore[attr-defined]


def test_a_lora_acts_too_where_diffusers_modules_take_over(
    own: Session, request_: Request, tmp_path: Path, width: int
) -> None:
    path = write(tmp_path / "style.safetensors", LAYERS, width)
    posed = request_.then(zk.stages.pose(preset="waving"))
    with zk.connect("inline", dtype="float32", memory="300MB") as fresh:
        first = fresh.run(posed, loras=[path])
    own.run(posed)
    again = own.run(posed, loras=[path], fresh=True)
    assert first.image.tobytes() == again.image.tobytes() != own.run(posed).image.tobytes()


def test_a_lora_of_other_sizes_is_told_and_leaves_the_model_as_it_was(
    own: Session, request_: Request, tmp_path: Path, width: int
) -> None:
    base = own.run(request_, fresh=True).image.tobytes()
    with pytest.raises(BadRequest, match="fits no layer of this model"):
        own.run(request_, loras=[write(tmp_path / "wide.safetensors", LAYERS, 2 * width)])
    assert own.run(request_, fresh=True).image.tobytes() == base
    fitting = own.run(request_, loras=[write(tmp_path / "fits.safetensors", LAYERS, width)])
    assert fitting.image.tobytes() != base
