"""The error box: what went wrong, what to do about it, and the folded traceback."""

from __future__ import annotations

import html
import traceback

import ipywidgets as w

from ...errors import SessionDied, ZImageError
from ..translations import Texts


class ErrorBox:
    """Hidden until `show` is called. Exceptions in callbacks are not visible anywhere else in a notebook."""

    def __init__(self, texts: Texts) -> None:
        self._texts = texts
        self._content = w.HTML()
        close = w.Button(description=texts("error.close"), tooltip=texts("error.close_help"))
        close.on_click(lambda _: self.clear())
        self.box = w.VBox([self._content, close]).add_class("zk-error").add_class("zk-hidden")
        self.error: BaseException | None = None

    def show(self, error: BaseException) -> None:
        """Show an error. Safe from any thread."""
        self.error = error
        self._content.value = error_html(error, self._texts)
        self.box.remove_class("zk-hidden")

    def clear(self) -> None:
        """Hide the box."""
        if self.error is not None:
            self.error = None
            self.box.add_class("zk-hidden")
            self._content.value = ""


def error_html(error: BaseException, texts: Texts) -> str:
    """The error as HTML: its kind in the user's language, what was seen, the mend, the traceback folded."""
    title = texts.get(f"errors.{type(error).__name__}", texts("errors.other"))
    if isinstance(error, ZImageError):
        again = texts("error.again") if isinstance(error, SessionDied) else ""
        seen, mend = _seen(error, texts), texts.said(error.mend) or again
        details = str(error.facts.get("traceback", "")) or "".join(traceback.format_exception(error))
        if texts.language != "en" and str(error) not in details:
            details = f"{error}\n\n{details}"  # as the program says it, to look it up
    else:
        seen, mend = f"{type(error).__name__}: {error}", ""
        details = "".join(traceback.format_exception(error))
    summary = f"<summary>{html.escape(texts('error.details'))}</summary>"
    fold = f'<details>{summary}<pre tabindex="0">{html.escape(details)}</pre></details>'
    parts = [f"<p><b>{html.escape(title)}</b></p>", f"<p>{html.escape(seen)}</p>"]
    parts += [f'<p class="zk-mend">{html.escape(mend)}</p>'] if mend else []
    return f'<div role="alert">{"".join(parts)}</div>{fold}'


def error_line(error: ZImageError, texts: Texts) -> str:
    """What was seen, what was expected, and the mend, in a line of the user's language as far as it is translated."""
    if texts.language == "en":
        return str(error)
    return " ".join(filter(None, (_seen(error, texts), texts.said(error.mend))))


def _seen(error: ZImageError, texts: Texts) -> str:
    if not error.expected:
        return texts.said(error.seen)
    return texts("error.expected", seen=texts.said(error.seen), expected=texts.said(error.expected))
