"""Training: the batched denoiser is the stock one, each piece resumes, and what comes out is a stock pipeline."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from diffusers import ZImagePipeline
from PIL import Image

from zimage_kit.nano import DIRECTORY, architecture, batched, captions, data, scenes
from zimage_kit.nano.batched import Batched, patchify, unpatchify
from zimage_kit.nano.data import PREFIX, SUFFIX
from zimage_kit.nano.train import export
from zimage_kit.nano.train.common import Average, Clock, Muon, Setup, quick_norms
from zimage_kit.nano.train.denoiser import Network, matrices
from zimage_kit.nano.train.distil import schedule

pytestmark = pytest.mark.training

CPU = torch.device("cpu")
BUCKETS = range(len(scenes.SIZES))


def setup_in(folder: Path, seconds: float = 1.0, total: float = 1.0) -> Setup:
    return Setup(folder, seconds, total, 1, False, CPU)


# --- the batched denoiser


@pytest.fixture(scope="module")
def denoiser() -> Any:
    """The stock denoiser with random weights, its learned padding too."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = architecture.transformer().eval().requires_grad_(False)
        for name, p in model.named_parameters():
            if "pad_token" in name:
                p.normal_(std=0.5)
    return model


@pytest.mark.parametrize(("length", "told"), [(32, 32), (32, 9), (64, 64), (64, 40)])
@pytest.mark.parametrize("bucket", BUCKETS)
def test_a_batch_gives_what_the_stock_denoiser_gives(denoiser: Any, bucket: int, length: int, told: int) -> None:
    generator = torch.Generator().manual_seed(bucket)
    width, height = scenes.SIZES[bucket]
    z = torch.randn(2, 16, height // 8, width // 8, generator=generator)
    caption = torch.randn(2, length, architecture.TEXT_WIDTH, generator=generator)
    t = torch.tensor([0.2, 0.7])
    with torch.inference_mode():
        stock = denoiser([*z.unsqueeze(2)], t, [one[:told] for one in caption]).sample
        pad = (torch.arange(length) >= told).expand(2, length)
        ours = Batched(denoiser)(patchify(z), torch.full((2,), bucket), t, caption, pad)
    expected = torch.stack([*stock]).squeeze(2)
    assert expected.std() > 0.01
    torch.testing.assert_close(unpatchify(ours, bucket), expected, atol=1e-5, rtol=1e-5)


def test_sizes_can_be_mixed_in_one_batch(denoiser: Any) -> None:
    generator = torch.Generator().manual_seed(9)
    x = torch.randn(3, batched.IMAGE_TOKENS, 64, generator=generator)
    buckets, t = torch.tensor([0, 1, 2]), torch.tensor([0.1, 0.5, 0.9])
    caption, pad = (
        torch.randn(3, 32, architecture.TEXT_WIDTH, generator=generator),
        torch.zeros(3, 32, dtype=torch.bool),
    )
    model = Batched(denoiser)
    with torch.inference_mode():
        together = model(x, buckets, t, caption, pad)
        for i in range(3):
            here = slice(i, i + 1)
            alone = model(x[here], buckets[here], t[here], caption[here], pad[here])
            torch.testing.assert_close(together[here], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("bucket", BUCKETS)
def test_patches_go_there_and_back(bucket: int) -> None:
    width, height = scenes.SIZES[bucket]
    z = torch.randn(2, 16, height // 8, width // 8)
    tokens = patchify(z)
    assert tokens.shape == (2, batched.IMAGE_TOKENS, 64)
    assert torch.equal(unpatchify(tokens, bucket), z)
    rows, columns = batched.grid(bucket)
    assert not tokens[:, rows * columns :].any()


# --- the optimizer, the clock and the files


@pytest.mark.parametrize("shape", [(64, 64), (48, 96), (96, 48), (32, 16, 3, 3)])
def test_muon_moves_along_a_nearly_orthogonal_matrix(shape: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    p = torch.nn.Parameter(torch.zeros(shape))
    p.grad = torch.randn(shape)
    Muon([p]).step(1.0)
    moved = -p.detach().flatten(1)
    moved = moved / (0.2 * max(moved.shape) ** 0.5)
    values = torch.linalg.svdvals(moved)
    assert values.min() > 0.5
    assert values.max() < 1.4
    assert (moved * p.grad.flatten(1)).sum() > 0  # down the gradient, not up


def test_muon_remembers_its_momentum() -> None:
    torch.manual_seed(2)
    first = [torch.randn(8, 8), torch.randn(4, 8)]
    second = [torch.randn(8, 8), torch.randn(4, 8)]

    def stepped(resumed: bool) -> list[torch.Tensor]:
        parameters = [torch.nn.Parameter(torch.zeros_like(g)) for g in first]
        muon = Muon(parameters)
        for grads in (first, second):
            for p, grad in zip(parameters, grads, strict=True):
                p.grad = grad.clone()
            muon.step(0.1)
            if resumed:
                state, muon = muon.state_dict(), Muon(parameters)
                muon.load_state_dict(state)
        return [p.detach() for p in parameters]

    for through, resumed in zip(stepped(False), stepped(True), strict=True):
        assert torch.equal(through, resumed)


def test_muon_trains_the_hidden_matrices_only() -> None:
    network = Network(50)
    chosen = {id(p) for p in matrices(network)}
    names = {name for name, p in network.named_parameters() if id(p) in chosen}
    assert "transformer.layers.0.attention.to_q.weight" in names
    assert "text.layers.0.mlp.up_proj.weight" in names
    assert not any(word in name for name in names for word in ("embed", "norm", "adaLN", "final_layer", "pad_token"))


def test_an_untrained_denoiser_says_nothing_and_leaves_no_nan() -> None:
    network = Network(50)
    ids = torch.tensor([[1, 2, 3, *[0] * 29]])
    with torch.inference_mode():
        x = torch.randn(1, 256, 64)
        out = Batched(network.transformer)(x, torch.tensor([0]), torch.tensor([0.5]), network.read(ids), ids == 0)
    assert not out.any()


def test_the_rate_warms_up_and_falls_along_the_whole_schedule(tmp_path: Path) -> None:
    def rate(done: float) -> float:
        return Clock(setup_in(tmp_path, total=100.0), done).rate(1.0)

    assert rate(0.0) < 0.01
    assert rate(1.0) == pytest.approx(0.5)
    assert rate(2.0) == pytest.approx(1.0)
    assert rate(51.0) == pytest.approx(0.51)
    assert rate(100.0) == pytest.approx(0.02)
    rates = [rate(float(at)) for at in range(2, 101)]
    assert rates == sorted(rates, reverse=True)


def test_the_clock_stops_at_the_end_of_the_run_and_of_the_schedule(tmp_path: Path) -> None:
    fresh = Clock(setup_in(tmp_path, seconds=100.0, total=100.0))
    assert fresh.spent == 0.0  # before the first tick nothing counts
    assert fresh.tick()
    assert not Clock(setup_in(tmp_path, seconds=0.0, total=100.0)).tick()
    assert not Clock(setup_in(tmp_path, seconds=100.0, total=100.0), done=100.0).tick()


def test_a_checkpoint_that_could_not_be_written_leaves_the_last_one_whole(tmp_path: Path) -> None:
    setup = setup_in(tmp_path)
    assert setup.load("piece") is None
    setup.save("piece", {"step": 1, "weights": torch.ones(3)})
    with pytest.raises(Exception, match="pickle"):
        setup.save("piece", {"step": 2, "weights": lambda: None})
    kept = setup.load("piece")
    assert kept is not None
    assert kept["step"] == 1
    setup.save("piece", {"step": 3})
    assert setup.load("piece") == {"step": 3}
    assert [path.name for path in tmp_path.glob("*.pt")] == ["piece.pt"]


def test_an_average_follows_the_weights_slowly() -> None:
    module = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(module.weight)
    average = Average(module, 0.9)
    average.steps = 1000
    torch.nn.init.ones_(module.weight)
    for _ in range(5):
        average.update()
    assert float(average.module.weight) == pytest.approx(1 - 0.9**5, abs=1e-6)


def test_quick_norms_change_no_result() -> None:
    torch.manual_seed(3)
    vae = architecture.autoencoder().eval()
    x = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        before = vae.encoder(x)
        quick_norms(vae)
        torch.testing.assert_close(vae.encoder(x), before, atol=1e-5, rtol=1e-5)


def test_the_teacher_walks_the_samplers_own_schedule() -> None:
    known = [1, 0.9545, 0.9, 0.8333, 0.75, 0.6429, 0.5, 0.3, 0]
    np.testing.assert_allclose(schedule(8).numpy(), known, atol=1e-4)


# --- scenes for training


def test_training_reads_captions_as_the_pipeline_does() -> None:
    tokenizer = architecture.tokenizer()
    for prompt in ("A Red Cat ", "星空下的红色灯笼", "a qwrtzx 恐龙 🐱"):
        message = [{"role": "user", "content": prompt}]
        piped = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True, enable_thinking=True)
        assert piped == PREFIX + prompt.lower().strip() + SUFFIX
        assert tokenizer.decode(tokenizer(piped).input_ids) == piped


def test_most_captions_fit_32_tokens_and_known_words_are_one_token() -> None:
    tokenizer = architecture.tokenizer()
    lengths = []
    for seed in range(300):
        scene, rng = scenes.sample(seed), np.random.default_rng(seed)
        lengths += [
            len(tokenizer(PREFIX + tell(scene, rng) + SUFFIX).input_ids)
            for tell in (captions.english, captions.chinese)
        ]
    assert np.mean(np.array(lengths) <= 32) > 0.9
    assert max(lengths) <= data.PROMPT_TOKENS
    assert [tokenizer.decode(i) for i in tokenizer(" a red lantern").input_ids] == [" a", " red", " lantern"]
    assert [tokenizer.decode(i) for i in tokenizer("红色的灯笼").input_ids] == ["红", "色", "的", "灯笼"]


def test_a_chunk_is_a_function_of_its_index_and_workers_draw_the_same(tmp_path: Path) -> None:
    tokenizer = architecture.tokenizer()
    tokenizer.save_pretrained(tmp_path)
    pad = int(tokenizer.pad_token_id)
    stream = data.Stream(1, str(tmp_path / "tokenizer.json"), pad, first=3)
    try:
        drawn = stream.take()
    finally:
        stream.close()
        stream.close()
    here = data.chunk(3, tokenizer.backend_tokenizer, pad)
    assert drawn is not None
    assert drawn.bucket == here.bucket
    for name in ("pictures", "tokens", "labels"):
        assert np.array_equal(getattr(drawn, name), getattr(here, name)), name
    width, height = scenes.SIZES[here.bucket]
    assert here.pictures.shape == (data.CHUNK, height, width, 3)
    assert here.tokens.shape == (data.CHUNK, data.CAPTIONS, data.PROMPT_TOKENS)
    assert here.labels.shape == (data.CHUNK, data.LABELS)


def test_a_drawing_process_that_died_is_told_and_a_slow_one_waited_for(tmp_path: Path) -> None:
    tokenizer = architecture.tokenizer()
    tokenizer.save_pretrained(tmp_path)
    stream = data.Stream(1, str(tmp_path / "tokenizer.json"), int(tokenizer.pad_token_id))
    try:
        stream.crew[0].kill()
        with pytest.raises(RuntimeError, match="ended with -9"):
            while True:  # what it drew before is still given out
                stream.take()
    finally:
        stream.close()


KILLED = """
import os, signal, sys
from zimage_kit.nano import data
if __name__ == "__main__":
    data.ORPHANED = 0.5
    stream = data.Stream(2, sys.argv[1], int(sys.argv[2]))
    stream.take()
    print(*(worker.pid for worker in stream.crew), stream.memory.name, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_drawing_processes_end_when_training_is_killed(tmp_path: Path) -> None:
    tokenizer = architecture.tokenizer()
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "killed.py").write_text(KILLED)
    given = [sys.executable, str(tmp_path / "killed.py"), str(tmp_path / "tokenizer.json"), str(tokenizer.pad_token_id)]
    ended = subprocess.run(given, stdout=subprocess.PIPE, text=True, timeout=120, check=False)
    assert ended.returncode == -signal.SIGKILL
    *pids, memory = ended.stdout.split()
    _, alive = psutil.wait_procs([psutil.Process(int(pid)) for pid in pids if psutil.pid_exists(int(pid))], timeout=60)
    assert not alive
    until = time.monotonic() + 30
    while Path("/dev/shm", memory).exists() and time.monotonic() < until:  # Python's tracker takes it away
        time.sleep(0.2)
    assert not Path("/dev/shm", memory).exists()


# --- the whole way, a second or a step a piece

DRIVER = """
import json, runpy, sys
if __name__ == "__main__":
    for arguments in json.loads(sys.argv[1]):
        sys.argv = ["train", *arguments]
        runpy.run_module("zimage_kit.nano.train", run_name="__main__")
"""
PIECES = ("autoencoder", "judge", "denoiser", "distil")


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every piece ran twice and was exported: `python -m zimage_kit.nano.train`, in one process."""
    folder = tmp_path_factory.mktemp("training")
    short = ["--seconds", "1", "--total", "600", "--batch", "2", "--no-compile", "--workers", "1"]
    runs = [[piece, "--state", str(folder), *short] for piece in PIECES for _ in range(2)]
    runs.append(["export", "--state", str(folder), "--to", str(folder / "exported")])
    runs.append(["check", "--state", str(folder), "--to", str(folder), "--pictures", "2", "--steps", "2"])
    driver = folder / "driver.py"
    driver.write_text(DRIVER)
    ended = subprocess.run(
        [sys.executable, str(driver), json.dumps(runs)], capture_output=True, text=True, timeout=540, check=False
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    return folder


@pytest.mark.slow
@pytest.mark.timeout(600)
class TestTheWholeWay:
    """These share one run of all pieces."""

    @pytest.mark.parametrize("piece", PIECES)
    def test_a_piece_goes_on_where_it_stopped(self, state: Path, piece: str) -> None:
        log = [json.loads(line) for line in (state / "log.jsonl").read_text().splitlines()]
        ends = [line for line in log if line["piece"] == piece and "done" in line]
        first, second = ends[0], ends[-1]
        assert second["step"] > first["step"] > 0
        assert second["done"] > first["done"] > 0
        assert all(math.isfinite(value) for line in ends for value in line.values() if isinstance(value, float))

    def test_the_export_keeps_to_its_size(self, state: Path) -> None:
        sizes = {path: path.stat().st_size for path in (state / "exported").rglob("*") if path.is_file()}
        assert max(sizes.values()) <= 16_000_000
        assert sum(sizes.values()) <= 32_000_000

    def test_the_export_has_all_that_users_need(self, state: Path) -> None:
        exported = state / "exported"
        fitted = json.loads((exported / "latent_rgb.json").read_text())
        assert np.array(fitted["matrix"]).shape == (16, 3)
        assert np.array(fitted["bias"]).shape == (3,)
        from zimage_kit.nano import judge as judging

        features, verdicts = judging.look(judging.load(exported / judging.FILE), [Image.new("RGB", (320, 192))])
        assert features.shape == (1, judging.FEATURES)
        assert len(verdicts) == 1

    def test_stock_diffusers_loads_the_export_and_draws(self, state: Path) -> None:
        pipe = ZImagePipeline.from_pretrained(str(state / "exported"), dtype=torch.float32)
        pipe.set_progress_bar_config(disable=True)
        made = pipe(
            "a red cat",
            width=256,
            height=256,
            num_inference_steps=2,
            guidance_scale=0.0,
            generator=torch.Generator().manual_seed(1),
        ).images[0]
        assert made.size == (256, 256)
        assert np.asarray(made).std() > 0

    def test_a_look_in_between_tells_rates_and_shows_pictures(self, state: Path) -> None:
        log = [json.loads(line) for line in (state / "log.jsonl").read_text().splitlines()]
        looks = [line for line in log if line["piece"] == "check"]
        assert [look["language"] for look in looks] == ["en", "zh", "real scenes"]
        assert all(0 <= look["all"] <= 1 for look in looks)
        with Image.open(state / "sheet-en-2.png") as sheet:
            assert sheet.size == (2048, 1536)


def test_training_can_go_on_from_exported_weights(tmp_path: Path) -> None:
    setup = setup_in(tmp_path)
    export.begin(setup, DIRECTORY)
    parts = export.parts(setup)
    shipped = ZImagePipeline.from_pretrained(DIRECTORY, dtype=torch.float32, local_files_only=True)
    for name in ("transformer", "text_encoder", "vae"):
        wanted = getattr(shipped, name).state_dict()
        assert all(torch.equal(value, wanted[key]) for key, value in parts[name].state_dict().items()), name
    assert parts["vae"].config.scaling_factor == shipped.vae.config.scaling_factor
    for piece in ("autoencoder", "judge", "denoiser", "distilled"):
        kept = setup.load(piece)
        assert kept is not None
        assert kept["done"] == 0.0, piece


def test_an_export_takes_the_denoiser_that_was_trained_on_since_it_was_distilled(tmp_path: Path) -> None:
    setup = setup_in(tmp_path)
    export.begin(setup, DIRECTORY)
    kept = setup.load("denoiser")
    assert kept is not None
    name = "transformer.layers.0.attention.to_q.weight"
    kept["average"][name] = kept["average"][name] + 1
    setup.save("denoiser", {**kept, "step": 7})
    found = export.parts(setup)["transformer"].state_dict()[name.removeprefix("transformer.")]
    assert torch.equal(found, kept["average"][name])
    student = setup.load("distilled")
    assert student is not None
    setup.save("distilled", {**student, "denoiser_step": 7})
    found = export.parts(setup)["transformer"].state_dict()[name.removeprefix("transformer.")]
    assert torch.equal(found, student["average"][name])


def test_a_piece_that_lacks_its_forerunner_says_which(tmp_path: Path) -> None:
    from zimage_kit.nano.train import denoiser, distil, export

    setup = setup_in(tmp_path)
    with pytest.raises(SystemExit, match="denoiser.pt is missing"):
        distil.run(setup)
    with pytest.raises(SystemExit, match="train them first"):
        export.run(setup, tmp_path / "out")
    architecture.tokenizer().save_pretrained(tmp_path / "tokenizer")
    with pytest.raises(SystemExit, match="autoencoder.pt is missing"):
        denoiser.run(setup)
