"""Upscale: exactly twice the size, no seams, never a wrong picture, alpha kept, and both engines agree."""

from __future__ import annotations

import hashlib
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import zimage_kit as zk
from zimage_kit import Context, Request, Session
from zimage_kit.errors import BadRequest, DownloadFailed, OutOfMemory
from zimage_kit.stages import extensions

upscale: Any = extensions.load_module("upscale")
networks, tiles = upscale.networks, __import__("importlib").import_module(f"{upscale.__name__}.tiles")
REQUEST = Request(prompt="x", model="nano")


@pytest.fixture(autouse=True)
def live_modules() -> None:
    """The modules that the stage uses now: another test of this process may have had the extension imported anew."""
    global upscale, networks, tiles
    upscale = extensions.load_module("upscale")
    networks, tiles = upscale.networks, __import__("importlib").import_module(f"{upscale.__name__}.tiles")


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """Something with edges, gradients and noise."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    waves = [np.sin(x / a + y / b) for a, b in ((7, 13), (3, 29), (17, 5))]
    pixels = np.stack(waves, -1) * 90 + 128 + rng.normal(0, 12, (height, width, 3))
    pixels[height // 3 : height // 2, width // 4 : width // 2] = (230, 40, 60)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def difference(one: Image.Image, other: Image.Image) -> int:
    return int(np.abs(np.asarray(one, int) - np.asarray(other, int)).max())


def save_network(path: Path, scale: int = 2, features: int = 64, blocks: int = 23) -> Path:
    """A file in the layout of RealESRGAN_x2plus.pth (or x4plus) with random weights about as strong as trained ones."""
    generator = torch.Generator().manual_seed(3)
    inputs, shapes = 3 * (4 // scale) ** 2, {}  # type: int, dict[str, tuple[int, int]]
    shapes["conv_first"] = (features, inputs)
    for block in range(blocks):
        for dense in (1, 2, 3):
            for number in range(1, 6):
                out = features if number == 5 else 32
                shapes[f"body.{block}.rdb{dense}.conv{number}"] = (out, features + 32 * (number - 1))
    shapes |= dict.fromkeys(("conv_body", "conv_up1", "conv_up2", "conv_hr"), (features, features))
    shapes["conv_last"] = (3, features)
    state = {}
    for name, (out, given) in shapes.items():
        # what it adds in its blocks is little, as in trained ones, so that rounding is not blown up
        strength = (0.2 if "rdb" in name else 0.3 if name == "conv_last" else 1.4) / (3 * given**0.5)
        state[f"{name}.weight"] = torch.randn(out, given, 3, 3, generator=generator) * strength
        state[f"{name}.bias"] = torch.full((out,), 0.4 if name == "conv_last" else 0.0)
    torch.save({"params_ema": state}, path)
    return path


@pytest.fixture(scope="module")
def small_x2plus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_network(tmp_path_factory.mktemp("x2plus") / "x2plus.pth", features=16, blocks=2)


def test_a_picture_comes_out_exactly_twice_as_large_and_the_input_is_left_alone(session: Session) -> None:
    for size in ((64, 48), (71, 53)):
        before = picture(*size)
        pixels = before.tobytes()
        after = session.apply(before, zk.stages.upscale(weights="nano"))
        assert after.image.size == (2 * size[0], 2 * size[1])
        assert before.tobytes() == pixels
        assert "nano_x2.safetensors" in after.trace.notes[-1]


def test_nanos_network_is_better_than_bicubic_by_three_decibels_and_small() -> None:
    assert networks.NANO.stat().st_size <= 1_500_000
    from zimage_kit.nano import scenes

    gains = []
    for seed in range(95_000_000, 95_000_006):
        large = scenes.render(scenes.sample(seed, novel=True, size=(512, 512)))
        small = large.resize((256, 256), Image.Resampling.BOX)
        ours = zk.stages.upscale(weights="nano").after(small, Context(REQUEST))
        bicubic = small.resize(large.size, Image.Resampling.BICUBIC)
        gains.append(psnr(ours, large) - psnr(bicubic, large))
    assert np.mean(gains) >= 3, gains


def psnr(one: Image.Image, other: Image.Image) -> float:
    error = np.mean((np.asarray(one, float) - np.asarray(other, float)) ** 2)
    return float(10 * np.log10(255**2 / error))


@pytest.mark.parametrize("weights", ["nano", "x2plus"])
def test_tiles_leave_no_seam(weights: str, small_x2plus: Path) -> None:
    image = picture(210, 166)
    network = networks.by_spandrel(networks.NANO if weights == "nano" else small_x2plus, "cpu")
    whole, how = tiles.enlarge(image, network, "cpu", torch.float32, 4096)
    assert how == "float32, whole"
    for side in (64, 100):
        tiled, how = tiles.enlarge(image, network, "cpu", torch.float32, side)
        assert "tiles of" in how
        assert difference(whole, tiled) <= 1


def test_neither_free_memory_nor_an_earlier_picture_changes_a_pixel(
    small_x2plus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zimage_kit.engine import memory

    image, made = picture(600, 560), []
    for free, before in ((64 << 30, picture(64, 64, 1)), (1 << 20, picture(96, 64, 2))):
        monkeypatch.setattr(memory, "free_memory", lambda device, free=free: free)
        network = networks.by_spandrel(small_x2plus, "cpu")
        tiles.enlarge(before, network, "cpu", torch.bfloat16)
        made.append(tiles.enlarge(image, network, "cpu", torch.bfloat16))
    (one, how), (other, how_other) = made
    assert how == how_other
    assert "4 tiles of 512 pixels" in how
    assert one.tobytes() == other.tobytes()


def test_out_of_memory_is_an_error_that_names_smaller_tiles(small_x2plus: Path) -> None:
    network = networks.by_spandrel(small_x2plus, "cpu")

    def short_of_memory(pixels: torch.Tensor) -> torch.Tensor:
        if max(pixels.shape[-2:]) > 150:
            raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 123 bytes")
        return network.run(pixels)

    poor = networks.Network(2, short_of_memory, network.half, network.about)
    with pytest.raises(OutOfMemory, match=r"Set upscale\.tile=256"):
        tiles.enlarge(picture(260, 200), poor, "cpu", torch.float32)
    tiled, _ = tiles.enlarge(picture(260, 200), poor, "cpu", torch.float32, 64)
    assert tiled.size == (520, 400)
    with pytest.raises(OutOfMemory, match=r"Set upscale\.tile=64"):
        tiles.enlarge(picture(64, 64), networks.Network(2, _never, False, ""), "cpu", torch.float32, 64)


def _never(pixels: torch.Tensor) -> torch.Tensor:
    raise MemoryError


def test_an_error_of_another_kind_is_not_taken_for_memory(small_x2plus: Path) -> None:
    def broken(pixels: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        tiles.enlarge(picture(64, 64), networks.Network(2, broken, False, ""), "cpu", torch.float32)


def test_half_precision_that_overflows_is_done_again_in_float32(
    small_x2plus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, types = networks.by_spandrel(small_x2plus, "cpu"), []

    def overflowing(pixels: torch.Tensor) -> torch.Tensor:
        types.append(pixels.dtype)
        out = network.run(pixels)
        return out * float("inf") if pixels.dtype == torch.bfloat16 else out

    monkeypatch.setattr(tiles, "SAFE", 1000.0)  # it seemed safe on the test pattern
    made, how = tiles.enlarge(picture(64, 64), networks.Network(2, overflowing, True, ""), "cpu", torch.bfloat16)
    assert types == [torch.float32, torch.bfloat16, torch.bfloat16, torch.float32]
    assert how.startswith("float32")
    assert difference(made, tiles.enlarge(picture(64, 64), network, "cpu", torch.float32)[0]) == 0


def test_half_precision_is_used_only_where_it_is_close_to_float32(small_x2plus: Path) -> None:
    network = networks.by_spandrel(small_x2plus, "cpu")
    exact, _ = tiles.enlarge(picture(96, 96), network, "cpu", torch.float32)

    def rough(error: float) -> Any:
        def run(pixels: torch.Tensor) -> torch.Tensor:
            out = network.run(pixels.float())
            return (out + error / 255 * (torch.arange(out.shape[-1]) % 2)).to(pixels.dtype)

        return networks.Network(2, lambda p: run(p) if p.dtype != torch.float32 else network.run(p), True, "")

    made, how = tiles.enlarge(picture(96, 96), rough(9.0), "cpu", torch.float16)
    assert how.startswith("float32")
    assert difference(made, exact) == 0
    made, how = tiles.enlarge(picture(96, 96), rough(1.0), "cpu", torch.float16)
    assert how.startswith("float16")
    assert difference(made, exact) <= 2


def test_a_network_that_computed_in_half_precision_is_exact_again_in_float32(small_x2plus: Path) -> None:
    network, image = networks.by_spandrel(small_x2plus, "cpu"), picture(64, 64)
    before, _ = tiles.enlarge(image, network, "cpu", torch.float32)
    network.run(torch.zeros(1, 3, 32, 32, dtype=torch.bfloat16))
    after, _ = tiles.enlarge(image, network, "cpu", torch.float32)
    assert before.tobytes() == after.tobytes()


def test_alpha_is_kept(session: Session) -> None:
    image = picture(64, 64)
    alpha = Image.linear_gradient("L").resize((64, 64))
    image.putalpha(alpha)
    after = session.apply(image, zk.stages.upscale(weights="nano")).image
    assert (after.mode, after.size) == ("RGBA", (128, 128))
    assert difference(after.getchannel("A").resize((64, 64), Image.Resampling.BOX), alpha) <= 2
    opaque = session.apply(image.convert("RGB"), zk.stages.upscale(weights="nano")).image
    assert after.convert("RGB").tobytes() == opaque.tobytes()


def test_a_network_that_enlarges_four_times_gives_two_when_asked(tmp_path: Path) -> None:
    save_network(tmp_path / "four.pth", 4, 16, 1)
    image, notes = picture(64, 48), []
    four = str(tmp_path / "four.pth")
    context = Context(REQUEST, note=notes.append)
    assert zk.stages.upscale(weights=four, factor=4).after(image, context).size == (256, 192)
    assert zk.stages.upscale(weights=four).after(image, context).size == (128, 96)
    assert "resized to 2x" in notes[-1]
    assert "resized" not in notes[0]
    two = str(save_network(tmp_path / "two.pth", 2, 16, 1))
    with pytest.raises(BadRequest, match="enlarges 2 times"):
        zk.stages.upscale(weights=two, factor=4).after(image, context)


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="realesrgan's basicsr does not build there")
def test_both_engines_give_the_same_picture(tmp_path: Path) -> None:
    assert networks.missing_realesrgan() == ""
    file = str(save_network(tmp_path / "full.pth"))
    image = picture(80, 64)
    one, other = (
        zk.stages.upscale(weights=file, engine=engine).after(image, Context(REQUEST))
        for engine in ("spandrel", "realesrgan")
    )
    assert one.size == other.size == (160, 128)
    assert difference(one, other) == 0
    assert np.asarray(one, float).std() > 5, "a picture, not a grey field"


def test_a_missing_engine_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BadRequest, match=r'pip install "zimage-kit\[realesrgan\]"'):
        zk.stages.upscale(engine="realesrgan").check(REQUEST)


@pytest.mark.parametrize(("content", "said"), [(b"no weights", "cannot be read"), (None, "does not exist")])
def test_a_file_that_is_no_network_is_told(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(BadRequest, match=said):
        zk.stages.upscale(weights=str(tmp_path / "x.pth")).after(picture(64, 64), Context(REQUEST))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path, list[str]]]:
    """(address, folder, requests) of a small server on this machine."""
    folder, asked = tmp_path / "served", []  # type: tuple[Path, list[str]]
    folder.mkdir()

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(folder))

        def log_message(self, format: str, *arguments: Any) -> None:
            asked.append(self.path)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", folder, asked
        running.shutdown()
        thread.join()


def test_x2plus_is_fetched_once_and_checked(
    server: tuple[str, Path, list[str]], monkeypatch: pytest.MonkeyPatch, small_x2plus: Path
) -> None:
    address, folder, asked = server
    (folder / "x2plus.pth").write_bytes(small_x2plus.read_bytes())
    monkeypatch.setattr(networks, "X2PLUS_URL", f"{address}/x2plus.pth")
    digest = hashlib.sha256(small_x2plus.read_bytes()).hexdigest()
    stage, turbo, said = zk.stages.upscale(weights="x2plus"), Request(prompt="x", model="turbo"), []
    with pytest.raises(DownloadFailed, match="failed its checksum"):
        stage.after(picture(64, 64), Context(turbo))
    assert not networks.file_of("x2plus").exists(), "a broken file must not be taken for the right one later"
    monkeypatch.setattr(networks, "X2PLUS_SHA256", digest)
    for _ in range(2):
        assert stage.after(picture(64, 64), Context(turbo, progress=said.append)).size == (128, 128)
    assert len(asked) == 2, "the broken one and the right one, and no third"
    assert said[0] == "downloading RealESRGAN_x2plus.pth (67 MB, once)"


def test_without_a_network_connection_the_way_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "X2PLUS_URL", "http://127.0.0.1:9/x2plus.pth")
    with pytest.raises(DownloadFailed, match="put it at .*RealESRGAN_x2plus.pth"):
        zk.stages.upscale(weights="x2plus").after(picture(64, 64), Context(Request(prompt="x")))


def test_the_default_network_goes_with_the_model() -> None:
    assert zk.stages.upscale().resolved(Request(prompt="x", model="nano")).weights == "nano"
    assert zk.stages.upscale().resolved(Request(prompt="x", model="turbo")).weights == "x2plus"


def test_before_and_after_are_both_at_hand(session: Session) -> None:
    made = session.run(Request(prompt="a red boat", seed=3, model="nano").then(zk.stages.upscale()))
    before = made.before()
    assert (before.image.size, made.image.size) == ((256, 256), (512, 512))
    assert list(made.trace.pictures) == ["drawn", "stage 1 upscale"]
    assert before.trace.cached, "it comes out of the cache"


def test_the_network_is_loaded_once_and_goes_with_unload(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[Path] = []
    load = networks.load
    monkeypatch.setattr(networks, "load", lambda file, *rest: (loads.append(file), load(file, *rest))[1])
    session.unload()
    for seed in (1, 2):
        session.apply(picture(64, 64, seed), zk.stages.upscale(weights="nano"))
    assert len(loads) == 1
    session.unload()
    session.apply(picture(64, 64), zk.stages.upscale(weights="nano"))
    assert len(loads) == 2


def test_the_cache_tells_a_file_from_its_successor_and_from_none(small_x2plus: Path, tmp_path: Path) -> None:
    file = tmp_path / "net.pth"
    stage = zk.stages.upscale(weights=str(file))
    keys = [stage.depends(REQUEST)["weights"]]
    for content in (b"one", b"another"):
        file.write_bytes(content)
        keys.append(stage.depends(REQUEST)["weights"])
    assert len(set(keys)) == 3
