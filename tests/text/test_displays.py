"""What things say of themselves in a notebook and on a terminal: plain tables, escaped; errors without a traceback."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest

from zimage_kit import Event, Request, Session, ZImageError
from zimage_kit.engine.gpus import Gpu, Holder
from zimage_kit.engine.worker_status import WorkerStatus
from zimage_kit.errors import BadRequest, JobFailed
from zimage_kit.session import progress as progress_module
from zimage_kit.session.progress import Watcher, progress, seconds_left, told, watcher
from zimage_kit.session.status import JobStatus, Status


class Words(HTMLParser):
    """The text of a page, and its tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.tags = "", list[str]()
        self.feed(page)

    def handle_data(self, data: str) -> None:
        self.text += data + " "

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)


def test_a_request_shows_what_is_set_and_escapes_it() -> None:
    request = Request(prompt="<b>red</b> boat", seed=7, loras=[("papercut", 0.5)]).then(
        {"kind": "upscale", "factor": 2, "tile": None}
    )
    page = Words(request._repr_html_())
    assert "<b>red</b> boat" in page.text and "b" not in page.tags
    assert (
        "papercut (0.5)" in page.text
        and "upscale factor=2" in page.text
        and "seed  7" in page.text.replace(" 7", "  7")
    )
    assert "negative" not in page.text and "tile" not in page.text


def test_a_status_shows_workers_jobs_and_who_holds_the_card() -> None:
    worker = WorkerStatus(name="a", host="box", pid=5, state="running", model="nano", device="cuda:0", dtype="bfloat16")
    holders = (Holder(5, "python", 8_000_000_000), Holder(9, "<script>", 2_000_000_000))
    gpu = Gpu(0, "RTX 4090", "570", 24_000_000_000, 10_000_000_000, True, holders, 61, 300.0, "box")
    job = JobStatus(id="j1", state="running", prompt="a cat", model="nano", step=2, steps=8, owner="x.ipynb")
    page = Words(Status(engine="shared", state="running", workers=(worker,), jobs=(job,), gpus=(gpu,))._repr_html_())
    assert "10.0 GB of 24.0 GB" in page.text and "61" in page.text
    assert "8.0 GB: this session" in page.text and "2.0 GB: <script> (pid 9)" in page.text
    assert "step 2 of 8" in page.text
    assert "script" not in page.tags


def test_a_job_and_the_models_show_how_they_are(session: Session, model: str) -> None:
    job = session.submit("a cat", model=model, seed=3, steps=2)
    job.result()
    page = Words(job._repr_html_())
    assert job.id in page.text and "done" in page.text and "a cat" in page.text
    models = session.models()
    assert [each.name for each in models] == ["nano", "turbo", "base"]
    assert [each.state for each in models] == ["here", "missing", "missing"]
    shown = Words(models._repr_html_()).text
    assert "nano (default)" in shown and "zimage models download turbo (33 GB)" in shown
    assert str(models).startswith("* nano: ")


def test_an_error_in_a_notebook_is_what_to_do_and_the_line_of_the_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    source = "def cell():\n    raise BadRequest('width=1000', mend='Use 992 or 1008.')\n"
    space: dict[str, object] = {"BadRequest": BadRequest}
    exec(compile(source, "/tmp/ipykernel_1/cell.py", "exec"), space)
    with pytest.raises(BadRequest) as raised:
        space["cell"]()  # type: ignore[operator]
    shown = raised.value._render_traceback_()
    assert shown[0] == "BadRequest: width=1000. Use 992 or 1008."
    broken = JobFailed("stage x broke", traceback="Traceback …\n  File stage.py, line 3")
    assert broken._render_traceback_()[1] == "  File stage.py, line 3", "whoever writes a stage sees where it broke"
    monkeypatch.setenv("ZIMAGE_DEBUG", "1")
    assert any("Traceback" in line for line in raised.value._render_traceback_())


def test_progress_is_told_in_words_with_the_time_left() -> None:
    step = Event(kind="step", job="j", step=2, steps=8, seconds=1.0)
    assert told(step) == (2, 8, "step 2 of 8")
    assert seconds_left(step) == 3.0
    assert told(Event(kind="queued", job="j", position=0)) is None
    assert seconds_left(Event(kind="stage", job="j")) is None


PROGRAM = """
import sys, zimage_kit as zk
with zk.connect() as session:
    session.run("a cat", model=sys.argv[1], steps=12, seed=1, fresh=True)
"""


COMMAND = """
from zimage_kit.session.progress import progress
with progress("measuring") as bar:
    bar.update(1, 4, "exact 256x256")
"""


def on_terminal(program: str, *arguments: str, **environment: str) -> str:
    """What a program writes on a terminal."""
    outer, inner = pty.openpty()
    inherited = {name: value for name, value in os.environ.items() if name != "JPY_PARENT_PID"}
    whole = {**inherited, "TERM": "xterm-256color", "COLUMNS": "100", **environment}
    done = subprocess.Popen([sys.executable, "-c", program, *arguments], stderr=inner, stdout=inner, env=whole)
    os.close(inner)
    shown = b""
    while True:
        try:
            part = os.read(outer, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(outer)
    assert done.wait() == 0, shown.decode()
    return shown.decode()


def test_a_program_on_a_terminal_shows_a_bar_and_a_pipe_shows_nothing(model: str, running: Path) -> None:
    assert "of 12" in on_terminal(PROGRAM, model)
    piped = subprocess.run([sys.executable, "-c", PROGRAM, model], capture_output=True, text=True, check=True)
    assert "step" not in piped.stdout + piped.stderr


def test_lines_of_progress_miss_none_when_the_clock_steps_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A virtual machine's monotonic clock can; lines that are not limited in time must not depend on it."""
    times = iter([50.0, 49.999999, 50.5])
    monkeypatch.setattr(progress_module, "time", SimpleNamespace(monotonic=lambda: next(times)))
    with progress("queued") as bar:
        for step in (1, 2, 3):
            bar.update(step, 4, f"step {step} of 4")
    assert capsys.readouterr().err == "step 1 of 4\nstep 2 of 4\nstep 3 of 4\n"


def test_lines_of_a_log_come_at_most_so_often_and_the_last_one_always(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    times = iter([50.0, 51.0, 60.5, 61.0, 20.0])
    monkeypatch.setattr(progress_module, "time", SimpleNamespace(monotonic=lambda: next(times)))
    with progress("downloading", line_seconds=10) as bar:
        for done in (1, 2, 3, 4):
            bar.update(done, 4, f"{done} of 4 files")
        bar.update(1, 4, "again, on a clock that was set back by 41 s")
    assert (
        capsys.readouterr().err
        == "1 of 4 files\n3 of 4 files\n4 of 4 files\nagain, on a clock that was set back by 41 s\n"
    )


def test_a_command_in_a_cell_tells_its_progress_in_lines_since_a_page_erases_nothing() -> None:
    assert "\x1b[" in on_terminal(COMMAND), "a bar that redraws itself"
    assert on_terminal(COMMAND, JPY_PARENT_PID="1").split("\r\n") == ["exact 256x256", ""]


def test_progress_can_be_switched_off_and_is_the_main_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    here, elsewhere = watcher(), list[Watcher]()
    thread = threading.Thread(target=lambda: elsewhere.append(watcher()))
    thread.start()
    thread.join()
    monkeypatch.setenv("ZIMAGE_PROGRESS", "0")
    assert type(watcher()) is type(elsewhere[0]) is not type(here)


def test_every_error_can_be_shown() -> None:
    assert ZImageError("seen", expected="this", mend="Do that.")._render_traceback_() == [
        "ZImageError: seen; expected this. Do that."
    ]
