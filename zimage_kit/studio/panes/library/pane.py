"""The library pane: every picture of the outputs folder, found by words and facts, marked, used, removed with undo."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

from ....errors import ZImageError
from ....library.found import Picture
from ....library.library import Library
from ....recipe.artifact import Artifact
from ....text.units import gigabytes
from ...panel.results import TYPES, Result
from ...translations import Texts
from ..pane import Pane, PaneContext
from .view import LibraryView

CHUNK = 12
"""Small pictures that are sent together, so that the first ones are seen soon."""
SINCE = ("today", "7d", "30d", "365d")


class LibraryPane(Pane):
    """Thousands of pictures in pages. What is asked for is done in a thread of its own, in its order."""

    name = "library"

    def __init__(self) -> None:
        self._worker = ThreadPoolExecutor(1, "zimage-library")
        self._painters = ThreadPoolExecutor(2, "zimage-thumbs")
        self._library: Library | None = None
        self._query: dict[str, Any] = {}
        self._removed: list[str] = []  # removals, for undo
        self._stale = True

    def build(self, context: PaneContext) -> Sequence[Any]:
        """The view, with the filters that were set."""
        view = LibraryView(context.texts, query=self._query)
        view.observe(self._asked, "query")
        view.on_msg(lambda _, message, __: self._ask(lambda: self._do(message)))
        self.view = view
        self._stale = True
        if self.is_open:
            self.opened()
        return [view]

    def _asked(self, change: Any) -> None:
        if self.is_open:
            self._ask(lambda: self._find(change["new"]))

    def opened(self) -> None:
        """Look for what is new."""
        self._ask(lambda: self._find(self.view.query))

    def pictures_changed(self) -> None:
        """A picture may have been saved."""
        if self.is_open:
            self._ask(self._look)

    def state(self) -> dict[str, Any]:
        """The filters."""
        return {"query": dict(self.view.query)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Set the filters."""
        query = state.get("query")
        if isinstance(query, dict):
            self.view.query = {str(name): value for name, value in query.items() if isinstance(value, str)}

    def close(self) -> None:
        """End its threads."""
        for pool in (self._worker, self._painters):
            pool.shutdown(wait=False, cancel_futures=True)

    @property
    def library(self) -> Library:
        """The session's library; opened when it is first asked for."""
        if self._library is None:
            self._library = self.context.session.library
        return self._library

    # what the page asks for

    def _ask(self, work: Any) -> None:
        def run() -> None:
            try:
                work()
            except Exception as error:
                self.context.report(error)

        try:
            self._worker.submit(run)
        except RuntimeError:  # closed meanwhile
            return

    def _search(self, limit: int | None, offset: int = 0) -> Any:
        query = self._query
        cells = {"only": True, "without": False}.get(str(query.get("cells")))
        return self.library.search(
            str(query.get("words") or ""),
            model=query.get("model") or None,
            stage=query.get("stage") or None,
            lora=query.get("lora") or None,
            tags=[query["tag"]] if query.get("tag") else [],
            stars=int(query.get("stars") or 0),
            since=datetime.now().date() if query.get("since") == "today" else query.get("since") or None,
            cells=cells,
            like=query.get("like") or None,
            limit=limit,
            offset=offset,
        )

    def _find(self, query: Mapping[str, Any]) -> None:
        """Show what a query finds, from the top."""
        view = self.view
        self._query = dict(query)
        view.busy = self._library is None
        try:
            found = self._search(1)
        finally:
            view.busy = False
        with view.hold_sync():
            view.facets = self._facets()
            view.total, view.size = found.total, gigabytes(found.bytes)
            view.note = self._note()
            view.version += 1
        self._stale = False

    def _look(self) -> None:
        """Show it anew if pictures came or went."""
        found = self._search(1)
        if found.total != self.view.total or self._stale:
            self._find(self._query)

    def _note(self) -> str:
        texts, like = self.context.texts, self._query.get("like")
        return texts("library.alike", name=Path(str(like)).name) if like else self.library.index_note

    def _facets(self) -> dict[str, list[tuple[str, str]]]:
        texts = self.context.texts
        counted = {
            name: [(f"{Path(each).name} ({count})", each) for each, count in self.library.values(what).items() if each]
            for name, what in (("model", "models"), ("stage", "stages"), ("lora", "loras"), ("tag", "tags"))
        }
        return {
            **counted,
            "stars": [("★" * stars, str(stars)) for stars in range(1, 6)],
            "since": [(texts(f"library.since_{since}"), since) for since in SINCE],
            "cells": [(texts(f"library.cells_{which}"), which) for which in ("without", "only")],
        }

    def _do(self, message: dict[str, Any]) -> None:
        match message:
            case {"do": "page", "page": int(page), "size": int(size), "version": int(version)}:
                if version == self.view.version and 0 < size <= 500:
                    self._send_page(page, size)
            case {"do": "names", "from": int(start), "end": int(end), "version": int(version)}:
                if version == self.view.version:
                    names = [row.name for row in self._search(max(0, end - start), start)]
                    self.view.send({"names": names, "version": version})
            case {"do": "full", "name": str(name)}:
                self._send_full(self.library[name])
            case {"do": "before", "name": str(name)}:
                self._send_before(self.library[name])
            case {"do": "file", "name": str(name)}:  # the pointer rested on it; it may be deleted by now
                if (self.library.folder / name).is_file():
                    self._send_file(self.library[name].open(), Path(name).stem, name=name)
            case {"do": "mark", "names": [*names], "stars": int(stars)}:
                self.library.star(names, stars)
                self.view.send({"marks": dict.fromkeys(names, stars)})
            case {"do": "tag", "names": [*names], "tags": str(tags)}:
                self.library.tag(names, *[tag for tag in tags.replace("，", ",").split(",") if tag.strip()])
                self.view.facets = self._facets()
                self.context.announce(self.context.texts("library.tagged", count=len(names)))
            case {"do": "undo"}:
                self._undo()
            case {"do": str(what), "names": [*names]} if names:
                self._do_with(what, [self.library[name] for name in names], message)

    def _do_with(self, what: str, chosen: list[Picture], message: dict[str, Any]) -> None:
        context = self.context
        match what:
            case "use":
                artifact = chosen[0].open()
                context.use(artifact.reopened(seed=message.get("how") != "open"))
                context.announce(context.texts("panel.opened", name=chosen[0].path.name))
            case "strip":
                self._into_strip(chosen)
            case "compare" if len(chosen) == 2:
                first, second = self._into_strip(chosen)
                context.panes["compare"].pair(first, second)
            case "grid":
                for result in self._into_strip(chosen):
                    context.panes["tray"].add(result)
            case "like":
                self.view.query = {"like": chosen[0].name}
            case "download" if len(chosen) == 1:
                self._send_file(chosen[0].open(), chosen[0].path.stem)
            case "download":
                self._send_zip(chosen)
            case "remove":
                removal = self.library.remove(chosen)
                self._removed.append(removal.name)
                self.view.undoable = True
                self._find(self._query)
                context.announce(context.texts("library.removed", count=len(removal.pictures)))

    def _undo(self) -> None:
        """Bring back what was removed last here."""
        if not self._removed:
            return
        back = self.library.restore(self._removed.pop())
        self.view.undoable = bool(self._removed)
        self._find(self._query)
        self.context.announce(self.context.texts("library.restored", count=len(back)))

    def _into_strip(self, chosen: Iterable[Picture]) -> list[Result]:
        added = [self.context.add(picture.open()) for picture in chosen]
        return [result for result in added if result is not None]

    # what the page is sent

    def _send_page(self, page: int, size: int) -> None:
        """Send a page's rows with their small pictures, a few at a time."""
        found = self._search(size, page * size)
        version = self.view.version
        for start in range(0, len(found), CHUNK):
            if version != self.view.version:
                return
            rows = found[start : start + CHUNK]
            thumbs = list(self._painters.map(self.library.thumb, rows))
            told = [{"name": row.name, "label": self._label(row), "stars": row.stars, "staged": bool(row.stages)}
                    for row in rows]  # fmt: skip
            self.view.send({"page": page, "from": start, "version": version, "rows": told}, thumbs)

    def _send_full(self, row: Picture) -> None:
        """Send a picture and what is known of it, for the lightbox."""
        result = Result(0, row.open())
        about = result.about(self.context.texts, [])
        facts = [about["caption"], "★" * row.stars, ", ".join(row.tags)]
        told = {"caption": " · ".join(filter(None, facts)), "recipe": about["recipe"], "notes": about["notes"]}
        self.view.send({"full": row.name, "alt": about["alt"], **told}, [result.jpeg])

    def _send_before(self, row: Picture) -> None:
        """Send a picture as it was before its last stage; it may have to be made again."""
        artifact = row.open()
        artifact.connect(self.context.session)
        try:
            jpeg = Result(0, artifact.before(on_event=lambda event: None)).jpeg
        except ZImageError as error:
            self.view.send({"before": row.name, "error": str(error)})
        else:
            self.view.send({"before": row.name}, [jpeg])

    def _label(self, row: Picture) -> str:
        facts = [row.prompt or row.path.name, row.model, "" if row.seed is None else str(row.seed)]
        facts += [row.made.strftime("%Y-%m-%d %H:%M"), ", ".join(row.tags)]
        return " · ".join(fact for fact in facts if fact)

    def _send_file(self, artifact: Artifact, stem: str, **more: Any) -> None:
        content = artifact.encoded(".png")
        self.view.send({"file": f"{stem}.png", "type": TYPES["png"], **more}, [content])

    def _send_zip(self, chosen: list[Picture]) -> None:
        texts: Texts = self.context.texts

        def tell(done: int, total: int) -> None:
            self.context.announce(texts("library.packing", done=done, count=total))

        with tempfile.TemporaryDirectory(prefix="zimage-") as folder:
            file = self.library.export(chosen, Path(folder) / "pictures.zip", on_progress=tell)
            if (size := file.stat().st_size) > 300_000_000:
                raise ZImageError(
                    f"{len(chosen)} pictures take {gigabytes(size)}, too much for a download in a browser",
                    mend=f"zimage library export writes them to a folder; they are in {self.library.folder}.",
                )
            self.view.send({"file": "pictures.zip", "type": "application/zip"}, [file.read_bytes()])
