"""What breaks says so: NaN is no black picture, memory that runs out is told, and the session stays usable."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import zimage_kit as zk
from zimage_kit import Request, Session
from zimage_kit.engine import gpus, resident
from zimage_kit.engine.gpus import Gpu, Holder
from zimage_kit.engine.memory import out_of_memory
from zimage_kit.errors import JobFailed, NotFinite, OutOfMemory


def poison(folder: Path, key: str) -> None:
    """Put NaN into one tensor of a component."""
    for file in folder.glob("*.safetensors"):
        tensors = load_file(file)
        if key in tensors:
            tensors[key].fill_(float("nan"))
            save_file(tensors, file, metadata={"format": "pt"})
            return
    raise AssertionError(f"no {key} in {folder}")


def test_nan_while_denoising_is_an_error_and_no_black_picture(session: Session, copied_model: Path) -> None:
    poison(copied_model / "transformer", "layers.0.attention.to_q.weight")
    with pytest.raises(NotFinite) as caught:
        session.run("x", model=str(copied_model), seed=0, steps=4, width=64, height=64)
    assert (caught.value.facts["step"], caught.value.facts["dtype"]) == (1, "float32")
    assert "after step 1 in float32 on cpu" in str(caught.value)


def test_nan_while_decoding_is_an_error_too(session: Session, copied_model: Path) -> None:
    poison(copied_model / "vae", "decoder.conv_in.weight")
    with pytest.raises(NotFinite, match="while decoding"):
        session.run("x", model=str(copied_model), seed=0, steps=1, width=64, height=64)


def test_the_session_is_usable_after_a_failure(session: Session, copied_model: Path, model: str) -> None:
    request = Request(prompt="x", seed=0, steps=1, width=64, height=64)
    poison(copied_model / "vae", "decoder.conv_in.weight")
    before = session.run(request, model=model, fresh=True)
    job = session.submit(request, model=str(copied_model))
    with pytest.raises(NotFinite):
        job.result(60)
    assert job.state == "failed"
    assert list(job.events())[-1].message.startswith(str(copied_model))
    assert session.run(request, model=model, fresh=True).image.tobytes() == before.image.tobytes()


def test_broken_weights_are_told_with_their_folder(session: Session, copied_model: Path) -> None:
    file = next((copied_model / "vae").glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(JobFailed, match="does not load") as caught:
        session.run("x", model=str(copied_model), steps=1)
    assert str(copied_model) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on the address space")
def test_running_out_of_memory_is_told_and_the_session_stays_usable(model: str) -> None:
    code = (
        "import resource, sys, zimage_kit as zk\n"
        "session = zk.connect('inline')\n"
        "small = zk.Request(prompt='x', model=sys.argv[1], seed=0, steps=1, width=64, height=64)\n"
        "before = session.run(small).image.tobytes()\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (48 << 20), -1))\n"
        "try:\n"
        "    session.run(small.but(width=512, height=512))\n"
        "except zk.ZImageError as error:\n"
        "    print(type(error).__name__, '|', error)\n"
        "resource.setrlimit(resource.RLIMIT_AS, (-1, -1))\n"
        "print(session.run(small, fresh=True).image.tobytes() == before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, model], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    told, usable = done.stdout.splitlines()
    assert told.startswith("OutOfMemory | cpu ran out of memory for 512x512 with")
    assert "Use a smaller size" in told
    assert usable == "True"


def test_errors_that_mean_memory_are_told_from_others() -> None:
    assert out_of_memory(MemoryError(), "cpu", "x") is not None
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory"), "cpu", "x") is not None
    assert out_of_memory(RuntimeError("shape mismatch"), "cpu", "x") is None
    assert out_of_memory(ValueError("not enough memory of an elephant"), "cpu", "x") is None


def test_who_else_holds_a_card_is_named_largest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    def card(uuid: str, *holders: Holder) -> Gpu:
        return Gpu(0, "a card", "570", 8 << 30, 7 << 30, True, holders, uuid=uuid)

    ours = Holder(os.getpid(), "python", 2_000_000_000)
    busy = card(
        "GPU-1f", Holder(7, "a game", 500_000_000), ours, Holder(9, "python train.py", 4_000_000_000), Holder(3, "X", 9)
    )
    other = card("GPU-2f", Holder(11, "another", 6_000_000_000))
    monkeypatch.setattr(gpus, "list_gpus", lambda: ([busy, other], ""))
    assert gpus.held_by_others("1f") == "python train.py (pid 9) holds 4.0 GB of it. a game (pid 7) holds 500 MB of it."
    assert gpus.held_by_others("") == "", "which of the two is meant is not known"
    monkeypatch.setattr(gpus, "list_gpus", lambda: ([busy], ""))
    assert gpus.held_by_others("").startswith("python train.py (pid 9)")
    monkeypatch.setattr(gpus, "list_gpus", lambda: ([], "none"))
    assert gpus.held_by_others("") == ""


def test_too_little_memory_is_refused_with_who_holds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resident, "held_by_others", lambda device: f"python (pid 9) holds 4.0 GB of {device}.")
    with zk.connect("inline", device="cpu", memory="20MB") as session, pytest.raises(OutOfMemory) as found:
        session.run("a boat", model="nano", width=128, height=128, steps=1)
    assert found.value.mend.endswith("llow more memory. python (pid 9) holds 4.0 GB of cpu.")


def test_a_failed_job_keeps_no_tensor_alive(session: Session, model: str) -> None:
    from PIL import Image

    from zimage_kit import Context, Stage
    from zimage_kit.stages.stage import registry, stage

    alive: list[weakref.ref[torch.Tensor]] = []

    @stage
    class Holds(Stage):
        """Breaks while it holds a tensor."""

        kind = "test_holds"

        def after(self, image: Image.Image, ctx: Context) -> Image.Image:
            tensor = torch.zeros(10)
            alive.append(weakref.ref(tensor))
            raise zk.ZImageError("broke") if len(alive) == 1 else RuntimeError("broke")

    jobs = [session.submit("x", model=model, steps=1, width=64, height=64, stages=[Holds()]) for _ in range(2)]
    errors = [job._outcome.exception(60) for job in jobs]
    registry.remove("test_holds")
    gc.collect()
    assert all(error is not None for error in errors)
    assert [reference() for reference in alive] == [None, None]
