"""The viewer with the strip of results: what is shown of the pictures, and of the one in the making."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from typing import Any

from ...engine.events import Event
from ..translations import Texts
from .job_progress import progress_of
from .jobs import Place
from .results import Result, Results
from .viewer import Viewer

IDLE = {"active": False, "value": 0, "max": 0, "text": ""}


class Strip:
    """Shows `results` in a viewer. `actions` names what can be done with one. Any thread may call it."""

    def __init__(
        self, texts: Texts, results: Results, actions: Callable[[Result], list[str]], lock: threading.RLock
    ) -> None:
        self._texts, self._results, self._actions, self._lock = texts, results, actions, lock
        self.viewer = Viewer(texts, lock)
        self.viewer.progress = IDLE

    @property
    def selected(self) -> Result | None:
        """The picture that is shown."""
        return self._results.get(self.viewer.selected)

    def show_event(self, event: Event, place: Place, stage_titles: Mapping[str, str]) -> None:
        """Show one event of a job as progress, and its preview."""
        progress = progress_of(event, self._texts, stage_titles)
        if progress is None:
            return
        text = progress["text"]
        if place.count > 1:
            text = f"{self._texts('panel.of', number=place.number, count=place.count)} · {text}"
        if place.seconds_left is not None:
            text += f" · {self._texts('panel.all_left', left=self._texts.duration(place.seconds_left))}"
        with self.viewer.hold_sync():
            if event.preview is not None:
                self.viewer.preview = event.preview
            self.viewer.progress = {"active": True, **progress, "text": text}

    def announce(self, text: str, active: bool) -> None:
        """Show a message in the progress line; screen readers read it out."""
        with self._lock:
            if not active:
                self.viewer.preview = b""
            self.viewer.progress = {"active": active, "value": 0, "max": 0, "text": text, "said": text}

    def add(self, result: Result, gone: Collection[str] = ()) -> None:
        """Show a new result at the end of the strip, without those that had to go."""
        with self._lock, self.viewer.hold_sync():
            shown = [each for each in self.viewer.results if each["id"] not in gone]
            self.viewer.results = [*shown, _in_strip(result)]
            self.viewer.preview = b""
            self.viewer.progress = {**self.viewer.progress, "said": self._texts("panel.made", label=result.label())}
            if self.viewer.following or self.selected is None:
                self.show(result)

    def show(self, result: Result) -> None:
        """Select a result."""
        with self._lock:
            self.viewer.selected = result.id
            self.viewer.picture = result.jpeg
            self.viewer.about = result.about(self._texts, self._actions(result))

    def offer_inputs(self, look: Callable[[Texts], list[dict[str, str]]], texts: Texts) -> None:
        """Offer the fields of stages that take a picture."""
        self.viewer.inputs = look(texts)

    def select(self, id_: str) -> None:
        """Show the one that was selected in the page."""
        with self._lock:
            result = self._results.get(id_)
            if result is not None and self.viewer.picture != result.jpeg:
                with self.viewer.hold_sync():
                    self.show(result)

    def remove(self, result: Result) -> None:
        """Remove a result. If it was selected, its neighbour is: the next one, or the last."""
        with self._lock:
            neighbour = self._results.remove(result.id)
            with self.viewer.hold_sync():
                self.viewer.results = [each for each in self.viewer.results if each["id"] != result.id]
                if neighbour is None:
                    self.viewer.selected, self.viewer.picture, self.viewer.about = "", b"", {}
                elif self.viewer.selected == result.id:
                    self.show(neighbour)

    def take_over(self, old: Strip) -> None:
        """Show what another one shows, in this one's language."""
        was, viewer = old.viewer, self.viewer
        with viewer.hold_sync():
            viewer.following = was.following
            viewer.results = [_in_strip(result) for result in self._results]
            viewer.progress = {**was.progress, "said": ""} if was.progress.get("active") else IDLE
            viewer.preview = was.preview
            if (result := old.selected) is not None:
                self.show(result)


def _in_strip(result: Result) -> dict[str, Any]:
    return {"id": result.id, "label": result.label(), "thumb": result.thumb}
