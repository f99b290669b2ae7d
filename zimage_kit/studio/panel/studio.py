"""The studio panel: form on the left, pictures on the right, panes below, connected to one session.

Jobs are followed in threads that only set widget values, so the kernel stays free while pictures are made.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar
from weakref import WeakValueDictionary

import ipywidgets as w

from ...engine.events import Event
from ...errors import BadRequest
from ...grid.axis_names import slots
from ...recipe.artifact import Artifact
from ...recipe.request import Request
from ..panes.pane import Action, PaneContext
from ..panes.registry import pane_classes
from ..translations import Language, Texts
from ..translations import language as users_language
from .actions import ORDER, draft, inputs, own_actions
from .bar import Bar
from .error_box import ErrorBox
from .form import Form
from .jobs import JobCallbacks, Jobs, Place, Tally
from .keeper import PAGE, Keeper, own_name
from .messages import Messages
from .plain_output import PlainOutput
from .question import Question
from .restoring import restore, state_of
from .results import Result, Results
from .status_line import StatusLine
from .strip import Strip
from .widget_tree import close_tree

if TYPE_CHECKING:
    from ...grid import Grid
    from ...session.session import Session

P = ParamSpec("P")
T = TypeVar("T")
_open: WeakValueDictionary[str, Studio] = WeakValueDictionary()
"""The panels of this process that keep their state, by name."""
_PARTS = ("form", "bar", "strip", "viewer", "problem", "question", "status_line", "panes", "_plain")
"""What a panel gives up for the next one of its cell: a notebook keeps every value that a cell has shown."""


class _Gone:
    """In the place of a part that was given up."""

    def __getattr__(self, name: str) -> Any:
        raise BadRequest("this panel was closed when its cell was run again", mend="Use the panel of the latest run.")

    __getitem__ = __getattr__


def _while_open(work: Callable[Concatenate[Studio, P], T]) -> Callable[Concatenate[Studio, P], T | None]:
    """A method that does nothing once the panel is closed; a thread or a timer may come late."""

    @wraps(work)
    def guarded(self: Studio, /, *given: P.args, **named: P.kwargs) -> T | None:
        with self._lock:
            return None if self._closed else work(self, *given, **named)

    return guarded


class Studio(w.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """The panel of a session. `artifacts` are its pictures, `artifact` the selected one, `request` what the form says.

    `save`: save each picture in the outputs folder. `pictures`: the number of latest pictures that also appear as plain
    output below the panel, which a saved notebook keeps; after reloading the page, show the panel again for that.
    `language` is a code such as "en", by default the user's. `name`: form, strip, panes and running jobs are kept under
    it and come back with the next panel of that name; by default that of the cell, "" keeps nothing. `panes` are its
    panes by their names.
    """

    _closed = True  # until its parts are there

    def __init__(
        self,
        session: Session,
        *,
        language: Language | None = None,
        save: bool = True,
        pictures: int = 8,
        name: str | None = None,
    ) -> None:
        super().__init__()
        self.add_class("zk-studio")
        self.session = session
        self._plain = PlainOutput(pictures)
        self._saver, self._worker = (ThreadPoolExecutor(1, name) for name in ("zimage-save", "zimage-panel"))
        self._lock, self.results = threading.RLock(), Results()
        self._keeper = Keeper(own_name() if name is None else name or None, lambda: state_of(self))
        callbacks = JobCallbacks(
            self.on_event, self._add, self._on_running_count, self._on_end, self._on_error, self._keeper.flush
        )
        self.jobs = Jobs(session, callbacks, self._keeps)
        self._closed, self._restoring = False, True
        self._again: Result | None = None  # what was made once more
        taken = before.hand_over() if (before := _open.pop(self._keeper.name or "", None)) is not None else []
        kept = self._keeper.load()
        classes, problems = pane_classes()
        self.panes: dict[str, Any] = {cls.name: cls() for cls in classes}
        self.save = w.Checkbox(value=bool(kept.get("save", save)), indent=False)
        self.save.observe(lambda _: self.changed(), "value")
        self._build(Texts(language or kept.get("language") or users_language()))
        if kept:
            self.run_catching(restore, self, kept, taken)
        self._restoring = False
        for problem in problems:
            self.problem.show(problem)
        if self._keeper.name is not None:
            _open[self._keeper.name] = self

    def _build(self, texts: Texts) -> None:
        """Build all parts in one language."""
        self.texts = texts
        self.form = Form(texts, self.session.models(), self._on_edit, self._catch_errors)
        self.bar = Bar(texts)
        self.strip = Strip(texts, self.results, self._actions_for, self._lock)
        self.viewer = self.strip.viewer
        self.problem = ErrorBox(texts)
        self.question = Question(texts)
        self.status_line = StatusLine(self.session.status, texts)
        self.save.description, self.save.tooltip = texts("panel.save"), texts("panel.save_help")
        context = PaneContext(
            texts, self.session, self.results, self.form.request, self.form.set, self._make, self.add_opened,
            self.open_pane, self.in_background, self._catch_errors, self._on_error, self.announce, self.jobs,
            self.panes,
        )  # fmt: skip
        for pane in self.panes.values():
            pane.mount(context)
        self.bar.panes = [pane.button(texts) for pane in self.panes.values() if pane.in_bar]
        receive = Messages(self)
        self.bar.on_msg(lambda _, message, buffers: self.run_catching(receive, message, buffers))
        self.viewer.observe(lambda _: self.run_catching(self._on_selected), "selected")
        self.viewer.actions = [each.button() for each in self.actions()]
        self.in_background(partial(self.strip.offer_inputs, inputs, texts))  # which imports every stage
        top = w.VBox([self.bar, self.problem.box, self.question.box, self.form.words]).add_class("zk-top")
        rest = w.VBox([self.form.rest, self.save]).add_class("zk-rest")
        boxes = {
            where: [pane.box for pane in self.panes.values() if pane.where == where] for where in ("side", "below")
        }
        side = w.VBox([self.viewer, *boxes["side"]]).add_class("zk-side")
        self.children = [w.Box([top, rest, side]).add_class("zk-columns"), *boxes["below"], self.status_line.box]
        self._on_edit()

    @property
    def artifacts(self) -> list[Artifact]:
        """The pictures in the strip, oldest first."""
        return [result.artifact for result in self.results]

    @property
    def artifact(self) -> Artifact | None:
        """The selected picture."""
        result = self.results.get(self.viewer.selected)
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
        return [result.artifact for result in self.panes["tray"].chosen]

    @property
    def grid(self) -> Grid | None:
        """The grid in the grid pane; None before the first."""
        found: Grid | None = self.panes["grid"].grid
        return found

    @property
    def language(self) -> Language:
        """The panel's language; may be set."""
        return self.texts.language

    @language.setter
    def language(self, language: Language) -> None:
        if language != self.texts.language:
            self._rebuild(Texts(language))

    def generate(self, draft_only: bool = False) -> None:
        """Make the form's pictures, as the Generate button does. Returns at once.

        Words in braces in the prompt are asked about first: they may be meant as an axis of a grid.
        """
        self.problem.clear()
        self.question.clear()
        requests = [draft(each) if draft_only else each for each in self.form.requests()]
        if requests and (found := sorted(slots(requests[0]))):
            asked = self.texts("question.slots", slots=", ".join(f"{{{slot}}}" for slot in found))
            grid = (self.texts("question.grid"), lambda: self.open_pane("grid"))
            self.question.ask(asked, [grid, (self.texts("question.draw"), lambda: self._make(requests))])
        else:
            self._make(requests)

    def _make(self, requests: Sequence[Request]) -> None:
        self.form.remember(requests)
        self.bar.history = self.form.history
        self.jobs.make(requests)

    def cancel(self) -> None:
        """Cancel this panel's jobs, queued ones too."""
        self.jobs.cancel()

    def close(self) -> None:
        """Close the panel, cancel its jobs and end its threads. Closing again does nothing."""
        if self._closed:
            return
        self._keeper.close()
        self.cancel()
        self._end()

    def hand_over(self) -> list[Result]:
        """Close the panel for another of its name, which takes its jobs and pictures over; returns the pictures.

        It keeps none of them, nor its parts: IPython's `Out` refers to it as long as the kernel runs.
        """
        self._keeper.changed()
        self._keeper.close()
        self.jobs.leave()
        self._end()
        with self._lock:
            pictures, self.results = list(self.results), Results()
            self.children = []
            for part in _PARTS:
                self.__dict__[part] = _Gone()
        return pictures

    def _end(self) -> None:
        with self._lock:
            self._closed = True
        self.status_line.close()
        for pane in self.panes.values():
            pane.close()
        for pool in (self._worker, self._saver):
            pool.shutdown(wait=False)
        for part in (*self.children, self.layout):
            close_tree(part)
        super().close()

    def __repr__(self) -> str:
        return f"<Studio: {len(self.results)} pictures>"

    def _ipython_display_(self) -> None:
        """Show the panel, and beneath it the places for pictures that a saved notebook keeps."""
        from IPython.display import display

        shown = {**self._repr_mimebundle_(), "text/plain": self.texts("panel.saved")}
        display(shown, raw=True)  # type: ignore[no-untyped-call]
        self._plain.display()
        for result in list(self.results)[-self._plain.count :] if self._plain.count else ():  # it is shown again
            self._plain.show(self._plain_bundle(result))

    def actions(self, message: Mapping[str, Any] | None = None) -> list[Action]:
        """What can be done with a picture, as its buttons stand; those of extensions last."""
        found = list(own_actions(self, self.texts, message or {}))
        found += [action for pane in self.panes.values() for action in pane.actions(self.texts)]
        return sorted(found, key=lambda each: ORDER.index(each.name) if each.name in ORDER else len(ORDER))

    @_while_open
    def open_pane(self, name: str) -> None:
        """Open a pane by its name."""
        self.panes[name].open()
        self.changed()

    @_while_open
    def add_opened(self, artifact: Artifact) -> Result | None:
        """Show a picture that is there already; one that is in the strip is selected."""
        artifact.connect(self.session)
        with self._lock:
            self.viewer.following = True
            path = artifact.path
            known = next((each for each in self.results if path is not None and each.artifact.path == path), None)
            if known is None:
                return self._add(artifact, save=False)
            self.strip.show(known)
            return known

    # callbacks of jobs, in the threads that follow them

    @_while_open
    def _on_running_count(self, count: int) -> None:
        self.bar.busy = count > 0
        self.bar.queue = self.texts("panel.jobs", count=count) if count else ""
        self._tell_panes("jobs_changed")

    @_while_open
    def _on_end(self, tally: Tally) -> None:
        again, self._again = self._again, None
        text = self.texts("panel.again", label=again.label()) if again is not None else tally.told(self.texts)
        self.announce(text)
        if tally.made and not self.jobs:
            self.bar.send({"finished": text})
        self._tell_panes("jobs_changed")

    @_while_open
    def _tell_panes(self, what: str) -> None:
        for pane in self.panes.values():
            getattr(pane, what)()
        self.changed()

    @_while_open
    def _on_error(self, error: BaseException, given_up: int = 0) -> None:
        with self._lock:
            self.problem.show(error)
            if not self.jobs:
                self.announce(self.texts("panel.given_up", count=given_up) if given_up > 0 else "")

    @_while_open
    def on_event(self, event: Event, place: Place) -> None:
        """Show an event as progress."""
        self.strip.show_event(event, place, self.form.stages.titles)

    @_while_open
    def announce(self, text: str) -> None:
        """Show a sentence beside the progress."""
        self.strip.announce(text, len(self.jobs) > 0)

    def _add(self, artifact: Artifact, save: bool = True) -> Result | None:
        """Add a finished picture to the viewer, the strip and the plain output, then save it.

        One that is in the strip already, of the same recipe with the same pixels, is selected instead.
        """
        with self._lock:
            if self._closed:
                return None
            result = self.results.same(artifact) if save else None
            if result is not None:
                self._again = result
                self.strip.show(result)
            else:
                result, gone = self.results.add(artifact)
                self.strip.add(result, gone)
                self._plain.show(self._plain_bundle(result))
                self.form.stages.surround(backdrop=result.jpeg)
                self._tell_panes("pictures_changed")
            if save and self.save.value:
                self._saver.submit(self.run_catching, self._write, result)
            return result

    def _plain_bundle(self, result: Result) -> dict[str, Any]:
        return {"image/jpeg": result.jpeg, "text/plain": repr(result.artifact)}

    def _actions_for(self, result: Result) -> list[str]:
        """Names of the actions that apply to a result."""
        return [each.name for each in self.actions() if each.applies(result)]

    @_while_open
    def _on_selected(self) -> None:
        self.strip.select(self.viewer.selected)
        self.changed()

    def forget(self, result: Result) -> None:
        """Remove a picture from the strip; its file stays. If it was selected, its neighbour is."""
        with self._lock:
            self.strip.remove(result)
            self._tell_panes("pictures_changed")

    def _write(self, result: Result) -> None:
        if (there := result.artifact.path) is not None and there.is_file():
            return
        path = result.artifact.save()
        if "library" in vars(self.session) and path.is_relative_to(self.session.library.folder):
            self.session.library.add(path, result.artifact)
        with self._lock:
            if not self._closed and self.viewer.selected == result.id:
                self.strip.show(result)
            self._tell_panes("pictures_changed")

    # threads and errors

    def in_background(self, work: Callable[[], None]) -> None:
        """Run `work` in the panel's worker thread, one after another."""
        with contextlib.suppress(RuntimeError):  # closed meanwhile
            self._worker.submit(self.run_catching, work)

    def run_catching(self, work: Callable[..., None], *given: Any) -> None:
        """Run `work` and show any exception in the error box; elsewhere it would be lost."""
        try:
            work(*given)
        except Exception as error:
            self._on_error(error)

    def _catch_errors(self, callback: Callable[[Any], None]) -> Callable[[Any], None]:
        """Wrap a control's callback so that its exceptions are shown."""
        return lambda argument: self.run_catching(callback, argument)

    @_while_open
    def _on_edit(self) -> None:
        self.bar.inputs = [control.model_id for control in self.inputs()]
        self._tell_panes("form_changed")

    def inputs(self) -> list[Any]:
        """Every control whose value counts."""
        return [*self.form.inputs(), *(control for pane in self.panes.values() for control in pane.inputs())]

    @_while_open
    def changed(self) -> None:
        """Something that is kept has changed."""
        with self._lock:  # one thread's look would else overtake another's
            unsaved = any(not result.name for result in self.results) or (self.bar.busy and not self.save.value)
            self.bar.loses = self._keeper.name == PAGE and unsaved
        if not self._restoring:
            self._keeper.changed()

    def _keeps(self, count: int) -> bool:
        """Whether the session goes on when this process ends; then it saves before one sees: not for one in a cell."""
        lasting = self._keeper.name == PAGE or (self._keeper.name is not None and count > 1)
        return lasting and self.save.value and self.session.status().engine == "shared"

    def _rebuild(self, texts: Texts) -> None:
        """Rebuild the panel in another language and restore its state."""
        with self._lock:
            form, strip, error = self.form.state(), self.strip, self.problem.error
            old, was = list(self.children), self.status_line
            panes = {name: pane.state() for name, pane in self.panes.items()}
            self._build(texts)
            self.form.restore(form)
            self.form.count_tokens()
            self.strip.take_over(strip)
            if (selected := self.strip.selected) is not None:
                self.form.stages.surround(backdrop=selected.jpeg)
            for name, pane in self.panes.items():
                pane.pictures_changed()
                pane.restore(panes[name])
            if error is not None:
                self.problem.show(error)
        self.jobs.report_running()  # without the lock, which a job that begins waits for while it holds the jobs' own
        was.close()
        self.status_line.page_shown()
        for part in old:
            close_tree(part, keep=self.save)
