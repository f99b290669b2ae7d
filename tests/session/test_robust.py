"""What crosses to a shared session: lost lines, unreadable answers, other versions, other projects and folders."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image
from programs import Hold, Place, Submit, eventually

import zimage_kit as zk
from zimage_kit import Artifact, Request, Session
from zimage_kit.errors import BadRequest, JobFailed, SessionDied
from zimage_kit.models.spec import NANO
from zimage_kit.session.shared import launch, wire
from zimage_kit.session.shared.connection import NotAnswering

TINT = '''"""Tint: one colour over the whole picture."""
from PIL import Image
from zimage_kit import Context, Stage, stage

@stage
class Tint(Stage):
    """Paints it over."""
    kind = "test_tint"

    def after(self, image: Image.Image, ctx: Context) -> Image.Image:
        return Image.new("RGB", image.size, "{colour}")
'''


def break_line(session: Session) -> None:
    """The connection ends under the session, as when a network drops it."""
    link = session._engine._connection  # type: ignore[attr-defined]
    link._loop.call_soon_threadsafe(link._comm.abort)
    eventually(lambda: not link.open, "the connection is noticed to be gone")


def test_a_kept_job_is_followed_over_a_new_line_once_the_old_one_was_lost(
    shared: Session, hold: Hold, apply: Submit
) -> None:
    held = hold(shared)
    job = apply(shared, zk.stages.probe_touch(), keep=True)
    eventually(lambda: shared.status().queued == 1, "the job waits")
    identity = job.id
    break_line(shared)
    with pytest.raises(SessionDied):
        job.result(10)
    del job
    followed = Session(shared._engine, "shared").job(identity)
    held.let_go()
    assert followed.result(30).image.size == (16, 16)
    assert list(followed.events())[-1].kind == "done"


def test_an_outcome_that_cannot_be_read_is_an_outcome(
    shared: Session, apply: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(message: wire.Message) -> Artifact:
        raise KeyError("pixels")

    with monkeypatch.context() as patch:
        patch.setattr(wire, "outcome_in", unreadable)
        with pytest.raises(JobFailed, match="cannot be read .KeyError: 'pixels'"):
            apply(shared, zk.stages.probe_touch()).result(20)
    assert apply(shared, zk.stages.probe_touch()).result(20).image.size == (16, 16)


def test_a_session_of_another_protocol_is_refused_and_not_misunderstood(
    place: Place, shared: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shared.status().state
    monkeypatch.setattr(wire, "PROTOCOL", wire.PROTOCOL + 1)
    with pytest.raises(SessionDied, match="another protocol.*zimage session stop --force"):
        place.session()


def test_a_cancel_without_an_answer_is_not_told_as_over(shared: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    link = shared._engine._connection  # type: ignore[attr-defined]

    def silent(*_: object, **__: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(link, "ask", silent)
    with pytest.raises(NotAnswering, match="did not say"):
        shared.cancel("0123456789ab")


def test_leaving_a_loop_by_break_cancels_the_rest_of_a_shared_session(shared: Session, small: Request) -> None:
    for made in shared.run([small.but(seed=seed, steps=20) for seed in range(5)], fresh=True):
        assert made.image.size == (64, 64)
        break
    eventually(lambda: not shared.status().jobs, "the session has nothing to do", 10)


def test_two_projects_with_a_stage_of_one_kind_each_run_their_own(
    shared: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for colour in ("red", "blue"):
        folder = tmp_path / colour / "tints"
        folder.mkdir(parents=True)
        (folder / "extension.toml").write_text('name = "tints"\napi = 1\nstages = ["test_tint"]\n')
        (folder / "__init__.py").write_text(TINT.format(colour=colour))
    own = zk.connect("inline", device="cpu")
    for session in (shared, own):
        for colour, pixel in (("red", (255, 0, 0)), ("blue", (0, 0, 255)), ("red", (255, 0, 0))):
            monkeypatch.setenv("ZIMAGE_EXTENSIONS", str(tmp_path / colour))
            after = session.apply(Image.new("RGB", (8, 8), "white"), zk.stages.test_tint())
            assert after.image.getpixel((0, 0)) == pixel, (session, colour)


def test_files_are_found_where_the_program_runs_and_not_in_the_workers_folder(
    shared: Session, small: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert NANO.loras is not None
    (tmp_path / "loras").mkdir()
    shutil.copy(next(NANO.loras.glob("*.safetensors")), tmp_path / "loras" / "mine.safetensors")
    monkeypatch.chdir(tmp_path)
    by_path = shared.run(small, loras=["loras/mine.safetensors"])
    monkeypatch.setenv("ZIMAGE_LORAS", str(tmp_path / "loras"))  # of this program: the session's started without
    by_name = shared.run(small, loras=["mine"])
    assert by_name.trace.cached
    assert by_name.image.tobytes() == by_path.image.tobytes()
    assert by_name.request.loras[0].path == Path("mine")


def test_a_file_that_the_worker_sees_otherwise_is_refused(tmp_path: Path) -> None:
    from zimage_kit.engine.task import Task

    file = tmp_path / "x.safetensors"
    file.write_bytes(b"one")
    request = Request(prompt="x", model="nano", loras=[file])
    message = {**wire.task_out(Task("t", request)), "files": {str(file): [str(file), "0" * 16]}}
    with pytest.raises(BadRequest, match="has other content on the worker's machine"):
        wire.task_in(message)
    message["files"] = {str(tmp_path / "gone"): [str(tmp_path / "gone"), "0" * 16]}
    with pytest.raises(BadRequest, match="does not exist on the worker's machine"):
        wire.task_in(message)


def test_a_session_file_that_others_may_read_is_refused_as_ssh_does(place: Place, shared: Session) -> None:
    assert shared.status().state
    place.file.chmod(0o644)
    try:
        with pytest.raises(SessionDied, match="others may read it.*chmod 600"):
            launch.read_session_file(place.file)
    finally:
        place.file.chmod(0o600)
    assert launch.read_session_file(place.file).alive()
