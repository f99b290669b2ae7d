"""The panel's progress bar: an event of a job as a number and a sentence in the user's language."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...engine.events import Event
from ...session.progress import seconds_left
from ...text.units import gigabytes
from ..translations import Texts


def progress_of(event: Event, texts: Texts, stage_titles: Mapping[str, str]) -> dict[str, Any] | None:
    """{value, max, text}, with `max` 0 where the length is not known; None for an event that shows no progress."""
    value, most = 0.0, 0.0
    match event.kind:
        case "queued":
            text = texts("panel.waiting", count=event.position) if event.position else texts("panel.next")
        case "loading":
            value, most = event.bytes_done or 0, event.bytes_total or 0
            text = texts.said(event.message) if event.message else texts("panel.loading")
            if most:
                text += f" ({gigabytes(int(value))} / {gigabytes(int(most))})"
        case "step":
            value, most = event.step or 0, event.steps or 0
            left = seconds_left(event)
            counted = "panel.seed" if event.message == "seed" else "panel.step"
            text = texts(counted, step=event.step, steps=event.steps)
            if left is not None:
                text += f" · {texts('panel.left', left=texts.duration(left))}"
        case "stage":
            kind, colon, more = event.message.partition(":")
            text = stage_titles.get(kind, kind)
            if colon:
                text = texts("panel.stage", stage=text, what=texts.said(more.strip()))
        case _:
            return None
    return {"value": value, "max": most, "text": text}
