"""A panel's state as JSON values, and a panel that shows it again: after F5, a new kernel, or the next day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from ...errors import BadRequest, ZImageError
from ...library.store import outputs_dir
from ...recipe.artifact import Artifact, read_any
from ...recipe.request import Request
from ..translations import language as users_language
from .results import Result
from .widget_tree import close_tree

if TYPE_CHECKING:
    from ..translations import Texts
    from .studio import Studio


def state_of(studio: Studio) -> dict[str, Any]:
    """What `restore` takes. Pictures are named, as files of the library: those that were not saved are left out."""
    selected = studio.strip.selected
    jobs = [(id_, request) for id_, request in studio.jobs.running.items() if request is not None]
    return {
        "language": _chosen(studio.language),
        "save": studio.save.value,
        "form": studio.form.state(),
        "strip": [result.name for result in studio.results if result.name],
        "selected": selected.name if selected is not None else "",
        "panes": {name: {"open": pane.is_open, "state": pane.state()} for name, pane in studio.panes.items()},
        "jobs": [[id_, request.to_json()] for id_, request in jobs],
        "unmade": [request.to_json() for request in studio.jobs.unmade],
    }


def _chosen(language: str) -> str:
    """The language, if it was chosen in the panel; "" for the user's, which may be another one next time."""
    try:
        return "" if language == users_language() else language
    except BadRequest:  # the environment names none of ours
        return language


def restore(studio: Studio, kept: Mapping[str, Any], taken: Sequence[Result]) -> None:
    """Show what was kept, follow its jobs, and ask about those that are gone with their session.

    `taken` are the pictures of the panel before, if it was in this process. What does not fit any more is told in the
    error box, and the rest is shown.
    """
    studio.run_catching(studio.form.restore, kept.get("form") or {})
    studio.bar.history = studio.form.history
    for artifact in [result.artifact for result in taken] or _read(kept.get("strip") or []):
        artifact.connect(studio.session)
        studio.strip.add(*studio.results.add(artifact))
    if (selected := studio.results.named(kept.get("selected") or "")) is not None:
        studio.strip.show(selected)
        studio.form.stages.surround(backdrop=selected.jpeg)
    for name, pane in studio.panes.items():
        was = (kept.get("panes") or {}).get(name) or {}
        pane.pictures_changed()
        studio.run_catching(pane.restore, was.get("state") or {})
        if was.get("open"):
            pane.open()
    jobs = studio.jobs
    jobs.unmade = [Request.from_json(text) for text in kept.get("unmade") or ()]
    jobs.resume([(id_, Request.from_json(text)) for id_, text in kept.get("jobs") or ()])
    if jobs.unmade:
        asked = studio.texts("question.unmade", count=len(jobs.unmade))
        answers = [(studio.texts("question.make_them"), jobs.retry), (studio.texts("question.drop"), jobs.drop)]
        studio.question.ask(asked, answers)


def _read(names: Sequence[str]) -> list[Artifact]:
    """The pictures of these names in the library that are still there."""

    def read(name: str) -> Artifact | None:
        try:
            found = read_any(outputs_dir() / name)
            found.image.load()
        except (ZImageError, OSError):
            return None
        return found

    with ThreadPoolExecutor() as pool:  # they are decoded on all cores
        return [found for found in pool.map(read, names) if found is not None]


def in_language(studio: Studio, texts: Texts) -> None:
    """Build a panel anew in another language, with all that it showed."""
    with studio.lock:
        form, strip, error = studio.form.state(), studio.strip, studio.problem.error
        old, was = list(studio.children), studio.status_line
        panes = {name: pane.state() for name, pane in studio.panes.items()}
        studio.build(texts)
        studio.form.restore(form)
        studio.form.count_tokens()
        studio.strip.take_over(strip)
        if (selected := studio.strip.selected) is not None:
            studio.form.stages.surround(backdrop=selected.jpeg)
        for name, pane in studio.panes.items():
            pane.pictures_changed()
            pane.restore(panes[name])
        if error is not None:
            studio.problem.show(error)
    studio.jobs.report_running()  # without the lock, which a job that begins waits for while it holds the jobs' own
    was.close()
    studio.status_line.page_shown()
    for part in old:
        close_tree(part, keep=studio.save)
