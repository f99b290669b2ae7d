"""The studio panel: form on the left, pictures on the right, connected to one session.

Jobs are followed in threads that only set widget values, so the kernel stays free while pictures are made.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import ipywidgets as w

from ...engine.events import Event
from ...errors import BadRequest
from ...recipe.artifact import Artifact, read_any
from ...recipe.request import Request, random_seed
from ...stages.kinds import stages
from ...text.units import gigabytes
from ..panes.compare.pane import ComparePane, TrayPane
from ..panes.grid.pane import GridPane
from ..translations import Language, Texts
from ..translations import language as users_language
from .bar import Bar
from .error_box import ErrorBox
from .form import Form
from .job_progress import progress_of
from .jobs import JobCallbacks, Jobs
from .plain_output import PlainOutput
from .results import TYPES, Result, Results, used
from .status_line import StatusLine
from .viewer import Viewer
from .widget_tree import close_tree

if TYPE_CHECKING:
    from ...grid import Grid
    from ...session.session import Session


class Studio(w.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """The panel of a session. `artifacts` are its pictures, `artifact` the selected one, `request` what the form says.

    `save`: save each picture in the outputs folder. `pictures`: the number of latest pictures that also appear as plain
    output below the panel, which a saved notebook keeps; after reloading the page, show the panel again for that.
    `language` is "en" or "zh", by default the user's.
    """

    def __init__(
        self, session: Session, *, language: Language | None = None, save: bool = True, pictures: int = 8
    ) -> None:
        super().__init__()
        self.add_class("zk-studio")
        self._session = session
        self._plain = PlainOutput(pictures)
        self._saver = ThreadPoolExecutor(1, "zimage-save")
        self._worker = ThreadPoolExecutor(1, "zimage-panel")
        self._lock = threading.RLock()
        self._results = Results()
        self.jobs = Jobs(
            session, JobCallbacks(self._on_event, self._add, self._on_running_count, self._on_end, self._on_error)
        )
        self._closed = False
        self._parts: list[bytes] = []  # of a file that is being uploaded
        self._save = w.Checkbox(value=save, indent=False)
        self._build(Texts(language or users_language()))

    def _build(self, texts: Texts) -> None:
        """Build all parts in one language."""
        self._texts = texts
        self.form = Form(texts, self._session.models(), self._on_edit, self._catch_errors)
        self.bar = Bar(texts)
        self.viewer = Viewer(texts, self._lock)
        self.problem = ErrorBox(texts)
        self.compare = ComparePane(texts, self._results, self._in_background)
        self.tray = TrayPane(texts)
        self.grid_pane = GridPane(texts, self._session, self.form.request, self._in_background, self._catch_errors)
        self._status = StatusLine(self._session.status, texts)
        self._save.description = texts("panel.save")
        self._save.tooltip = texts("panel.save_help")
        self.bar.on_msg(lambda _, message, buffers: self._run_catching(self._on_bar_message, message, buffers))
        self.viewer.observe(lambda _: self._run_catching(self._select, self.viewer.selected), "selected")
        top = w.VBox([self.bar, self.problem.box, self.form.words]).add_class("zk-top")
        rest = w.VBox([self.form.rest, self._save]).add_class("zk-rest")
        side = w.VBox([self.viewer, self.compare.box, self.tray.box]).add_class("zk-side")
        columns = w.Box([top, rest, side]).add_class("zk-columns")
        self.children = [columns, self.grid_pane.box, self._status.box]
        self.viewer.progress = {"active": False, "value": 0, "max": 0, "text": ""}
        self._on_edit()

    @property
    def artifacts(self) -> list[Artifact]:
        """The pictures in the strip, oldest first."""
        return [result.artifact for result in self._results]

    @property
    def artifact(self) -> Artifact | None:
        """The selected picture."""
        result = self._results.get(self.viewer.selected)
        return None if result is None else result.artifact

    @property
    def request(self) -> Request:
        """The form's request; set it to fill the form. Raises ZImageError for invalid settings."""
        return self.form.request()

    @request.setter
    def request(self, request: Request) -> None:
        self.form.set(request)

    @property
    def sent(self) -> list[Artifact]:
        """The pictures that were sent to the grid."""
        return [result.artifact for result in self.tray.chosen]

    @property
    def grid(self) -> Grid | None:
        """The grid in the grid pane; None before the first."""
        return self.grid_pane.grid

    @property
    def language(self) -> Language:
        """The panel's language; may be set."""
        return self._texts.language

    @language.setter
    def language(self, language: Language) -> None:
        if language != self._texts.language:
            self._rebuild(Texts(language))

    def generate(self) -> None:
        """Make the form's pictures, as the Generate button does. Returns at once."""
        self.problem.clear()
        requests = self.form.requests()
        self.jobs.make(requests)

    def cancel(self) -> None:
        """Cancel this panel's jobs, queued ones too."""
        self.jobs.cancel()

    def close(self) -> None:
        """Close the panel, cancel its jobs and end its threads."""
        with self._lock:
            self._closed = True
        self.cancel()
        self._status.close()
        self.grid_pane.close()
        for pool in (self._worker, self._saver):
            pool.shutdown(wait=False)
        for part in self.children:
            close_tree(part)
        super().close()

    def __repr__(self) -> str:
        return f"<Studio: {len(self._results)} pictures>"

    def _ipython_display_(self) -> None:
        """Show the panel, and beneath it the places for pictures that a saved notebook keeps."""
        from IPython.display import display

        shown = {**self._repr_mimebundle_(), "text/plain": self._texts("panel.saved")}
        display(shown, raw=True)  # type: ignore[no-untyped-call]
        self._plain.display()
        for result in list(self._results)[-self._plain.count :]:  # of a panel that is shown again
            self._plain.show(self._plain_bundle(result))

    # messages from the page

    def _on_bar_message(self, message: dict[str, Any], buffers: list[Any]) -> None:
        if message.get("do") == "shown":
            self._status.page_shown()
            return
        try:
            self._apply_pending_values(message.get("values", ()))
            self._do(message, buffers)
        finally:
            self.bar.send({"heard": True})

    def _do(self, message: dict[str, Any], buffers: list[Any]) -> None:
        match message:
            case {"do": "generate"}:
                self.generate()
            case {"do": "cancel"}:
                self.cancel()
            case {"do": "grid_pane"}:
                self.grid_pane.open()
            case {"do": "make_grid" | "make_all" as what}:
                self.grid_pane.make(sure=what == "make_all")
            case {"do": "open", "name": str(name), "part": int(part), "parts": int(parts)}:
                self._parts = [*(self._parts if part else []), bytes(buffers[0])]
                if part == parts - 1:
                    content, self._parts = b"".join(self._parts), []
                    self._open(content, name)
            case {"do": "refuse", "name": str(name), "bytes": int(size)}:
                raise BadRequest(f"{name} has {gigabytes(size)}", expected="a PNG of at most 300 MB")
            case {"do": "language", "to": "en" | "zh" as language}:
                self.language = language
            case {"do": str(action), "id": str(id_)} if (result := self._results.get(id_)) is not None:
                self._do_with(result, action, message)

    def _apply_pending_values(self, values: Sequence[Sequence[Any]]) -> None:
        """Changes made in the page while the kernel was busy with a cell, in their order."""
        controls = {control.model_id: control for control in self._inputs()}
        for model, attribute, value in values:
            if model in controls and attribute in ("value", "index"):
                setattr(controls[model], attribute, value)

    def _do_with(self, result: Result, action: str, message: dict[str, Any]) -> None:
        self.problem.clear()
        artifact = result.artifact
        match action:
            case "use":
                self.form.set(used(artifact, message.get("how")))
            case "vary":
                self.jobs.make([artifact.request.but(seed=random_seed())])
            case "upscale":
                self.jobs.apply(artifact, stages.upscale())
            case "compare":
                self.compare.open(result)
            case "grid":
                self.tray.add(result)
            case "download":
                self._in_background(lambda: self._download(result, message.get("view", ""), message.get("format")))
            case "forget":
                self._forget(result)

    def _open(self, content: bytes, name: str) -> None:
        """A picture that was dropped on the panel: add it to the strip; its recipe, if it has one, fills the form."""
        self.problem.clear()
        artifact = read_any(content)
        artifact.connect(self._session)
        if not (plain := artifact.request.source is not None and not artifact.request.stages):
            self.form.set(artifact.reopened())
        with self._lock:
            self.viewer.following = True
            self._add(artifact, save=False)
        self._announce(self._texts("panel.opened_plain" if plain else "panel.opened", name=name))

    # callbacks of jobs, in the threads that follow them

    def _on_running_count(self, count: int) -> None:
        self.bar.busy = count > 0
        self.bar.queue = self._texts("panel.jobs", count=count) if count else ""

    def _on_end(self, cancelled: bool) -> None:
        self._announce(self._texts("panel.cancelled" if cancelled else "panel.done"))

    def _on_error(self, error: BaseException, given_up: int = 0) -> None:
        with self._lock:
            self.problem.show(error)
            if not self.jobs:
                self._announce(self._texts("panel.given_up", count=given_up) if given_up else "")

    def _on_event(self, event: Event, number: int, count: int) -> None:
        """One event of a job, as progress."""
        progress = progress_of(event, self._texts, self.form.stages.titles)
        if progress is None:
            return
        of = self._texts("panel.of", number=number, count=count) + " · " if count > 1 else ""
        with self.viewer.hold_sync():
            if event.preview is not None:
                self.viewer.preview = event.preview
            self.viewer.progress = {"active": True, **progress, "text": f"{of}{progress['text']}"}

    def _announce(self, text: str) -> None:
        """Show a message in the progress line; screen readers read it out."""
        with self._lock:
            active = len(self.jobs) > 0
            if not active:
                self.viewer.preview = b""
            self.viewer.progress = {"active": active, "value": 0, "max": 0, "text": text, "said": text}

    def _add(self, artifact: Artifact, save: bool = True) -> None:
        """Add a finished picture to the viewer, the strip and the plain output, then save it."""
        with self._lock:
            if self._closed:
                return
            result, gone = self._results.add(artifact)
            shown = [each for each in self.viewer.results if each["id"] not in gone]
            with self.viewer.hold_sync():
                self.viewer.results = [*shown, self._in_strip(result)]
                self.viewer.preview = b""
                self.viewer.progress = {**self.viewer.progress, "said": self._texts("panel.made", label=result.label())}
                if self.viewer.following or self._results.get(self.viewer.selected) is None:
                    self._show(result)
            self._plain.show(self._plain_bundle(result))
            self.form.stages.surround(backdrop=result.jpeg)
            self.compare.offer_results()
            if save and self._save.value:
                self._saver.submit(self._run_catching, self._write, result)

    def _plain_bundle(self, result: Result) -> dict[str, Any]:
        return {"image/jpeg": result.jpeg, "text/plain": repr(result.artifact)}

    def _in_strip(self, result: Result) -> dict[str, Any]:
        return {"id": result.id, "label": result.label(), "thumb": result.thumb}

    def _show(self, result: Result) -> None:
        self.viewer.selected = result.id
        self.viewer.picture = result.jpeg
        self.viewer.about = result.about(self._texts, self._actions_for(result))

    def _actions_for(self, result: Result) -> list[str]:
        """Names of the actions that apply to a result."""
        request = result.artifact.request
        can = ["download", "compare", "grid", "forget"]
        if request.source is None and request.prompt:
            can += ["use", "vary"]
        return [*can, *(["upscale"] if "upscale" in self.form.stages.titles else [])]

    def _select(self, id_: str) -> None:
        with self._lock:
            result = self._results.get(id_)
            if result is not None and self.viewer.picture != result.jpeg:
                with self.viewer.hold_sync():
                    self._show(result)

    def _forget(self, result: Result) -> None:
        with self._lock:
            self._results.remove(result.id)
            self.tray.set([each for each in self.tray.chosen if each.id != result.id])
            self.compare.offer_results()
            left = list(self._results)
            with self.viewer.hold_sync():
                self.viewer.results = [each for each in self.viewer.results if each["id"] != result.id]
                if left:
                    self._show(left[-1])
                else:
                    self.viewer.selected, self.viewer.picture, self.viewer.about = "", b"", {}

    def _write(self, result: Result) -> None:
        result.artifact.save()
        self._update_about(result)

    def _download(self, result: Result, view: str, format: Any) -> None:
        format = format if format in TYPES else "png"
        name, content = result.file(format)
        self.viewer.send({"file": name, "type": TYPES[format], "view": view}, [content])

    def _update_about(self, result: Result) -> None:
        with self._lock:
            if self.viewer.selected == result.id:
                self.viewer.about = result.about(self._texts, self._actions_for(result))

    # threads and errors

    def _in_background(self, work: Callable[[], None]) -> None:
        """Run `work` in the panel's worker thread, one after another."""
        self._worker.submit(self._run_catching, work)

    def _run_catching(self, work: Callable[..., None], *given: Any) -> None:
        """Run `work` and show any exception in the error box; elsewhere it would be lost."""
        try:
            work(*given)
        except Exception as error:
            self._on_error(error)

    def _catch_errors(self, callback: Callable[[Any], None]) -> Callable[[Any], None]:
        """Wrap a control's callback so that its exceptions are shown."""
        return lambda argument: self._run_catching(callback, argument)

    def _on_edit(self) -> None:
        self.bar.inputs = [control.model_id for control in self._inputs()]
        self.grid_pane.form_changed()

    def _inputs(self) -> list[Any]:
        return [*self.form.inputs(), *self.grid_pane.inputs()]

    def _rebuild(self, texts: Texts) -> None:
        """Rebuild the panel in another language and restore its state."""
        with self._lock:
            form, selected, old, was = self.form.state(), self.viewer.selected, list(self.children), self._status
            progress, chosen, preview = self.viewer.progress, self.tray.chosen, self.viewer.preview
            error, panes, following = (
                self.problem.error,
                (self.compare.state(), self.tray.is_open),
                self.viewer.following,
            )
            grid = self.grid_pane.state()
            self._build(texts)
            self.form.restore(form)
            self.form.count_tokens()
            with self.viewer.hold_sync():
                self.viewer.following = following
                self.viewer.results = [self._in_strip(result) for result in self._results]
                self.viewer.progress, self.viewer.preview = {**progress, "said": ""}, preview
                if (result := self._results.get(selected)) is not None:
                    self._show(result)
                    self.form.stages.surround(backdrop=result.jpeg)
            self.tray.set(chosen)
            self.tray.show(panes[1])
            self.compare.restore(panes[0])
            self.grid_pane.restore(grid)
            if error is not None:
                self.problem.show(error)
            self.jobs.report_running()
        was.close()
        self._status.page_shown()
        for part in old:
            close_tree(part, keep=self._save)
