"""A pane: a part of the studio with a title, a button that opens it, and one that closes it.

The studio's own panes and those of extensions are the same: a class with `name`, `label`, `build`, `state` and
`restore`, `close`. An extension names its panes in extension.toml (`panes = ["history"]`) and defines them in panes.py,
which only a studio imports.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ...recipe.artifact import Artifact
from ...recipe.request import Request
from ..panel.jobs import Jobs
from ..panel.results import Result, Results
from ..translations import Texts
from .frame import Frame

if TYPE_CHECKING:
    from ...session.session import Session


def always(result: Result) -> bool:
    """For actions that apply to every picture."""
    return True


@dataclass(frozen=True)
class Action:
    """Something that can be done with a picture: a button below it.

    `do` is called with the picture, in the thread that answers the page; `applies` says whether the button can be used.
    """

    name: str
    label: str
    help: str
    do: Callable[[Result], None]
    applies: Callable[[Result], bool] = always

    def button(self) -> dict[str, str]:
        """What the page is told of it."""
        return {"name": self.name, "label": self.label, "help": self.help}


@dataclass(frozen=True)
class PaneContext:
    """What the studio lends to its panes. Everything may be called from any thread, `use` and `open` only in callbacks.

    `request` reads the form and raises ZImageError for settings that cannot be used; `use` fills it. `make` makes
    pictures, as Generate does; `add` puts one into the strip. `open` opens another pane by its name. `in_background`
    runs a function off the kernel's main thread, `catch_errors` wraps a control's callback: errors of both are shown in
    the panel, as `report` shows one. `announce` shows a sentence beside the progress, and says it to screen readers.
    `jobs` are the panel's, `panes` the studio's panes by their names.
    """

    texts: Texts
    session: Session
    pictures: Results
    request: Callable[[], Request]
    use: Callable[[Request], None]
    make: Callable[[Sequence[Request]], None]
    add: Callable[[Artifact], Result | None]
    open: Callable[[str], None]
    in_background: Callable[[Callable[[], None]], None]
    catch_errors: Callable[[Callable[[Any], None]], Callable[[Any], None]]
    report: Callable[[BaseException], None]
    announce: Callable[[str], None]
    jobs: Jobs
    panes: Mapping[str, Any]


class Pane:
    """A part of the studio. It lives as long as the studio; in another language it is built again.

    A subclass sets `name` and defines `label` and `build`; the rest it overrides where it needs to. `where`: below
    everything, or at the side below the picture. `in_bar`: it has a button beside Generate.
    """

    name: ClassVar[str]
    where: ClassVar[Literal["below", "side"]] = "below"
    in_bar: ClassVar[bool] = True
    context: PaneContext
    _frame: Frame | None = None

    def label(self, texts: Texts) -> str:
        """Its title, and what its button says."""
        return texts(f"{self.name}.label")

    def help(self, texts: Texts) -> str:
        """A sentence that says what it is for."""
        return texts.get(f"{self.name}.help_line", self.label(texts))

    def build(self, context: PaneContext) -> Sequence[Any]:
        """Make its widgets, from top to bottom, in the language of `context.texts`."""
        raise NotImplementedError

    def opened(self) -> None:
        """It was opened, or asked for again."""

    def state(self) -> dict[str, Any]:
        """What `restore` takes, as JSON values: kept when the page is loaded again, or the kernel restarts."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Show again what `state` gave, perhaps another version's: values that do not fit are left out."""

    def close(self) -> None:
        """End what it started: threads, jobs."""

    def inputs(self) -> Sequence[Any]:
        """Controls whose values belong to what its buttons ask for; see `receive`."""
        return ()

    def actions(self, texts: Texts) -> Sequence[Action]:
        """What it does with a picture."""
        return ()

    def form_changed(self) -> None:
        """The form has changed."""

    def pictures_changed(self) -> None:
        """A picture came into the strip, or left it."""

    def jobs_changed(self) -> None:
        """A job of this panel began or is over."""

    def receive(self, message: Mapping[str, Any]) -> bool:
        """Take a message {"do": …} from the page; True if it was for this pane.

        A button with the classes zk-asks and zk-asks-NAME sends {"do": NAME}, after the values of `inputs()`.
        """
        return False

    # what the studio calls

    def button(self, texts: Texts) -> dict[str, str]:
        """What the bar is told of it."""
        return {"name": self.name, "label": self.label(texts), "help": self.help(texts)}

    def mount(self, context: PaneContext) -> None:
        """Build it, with its title and the button that closes it. It stays as open as it was."""
        self.context = context
        was, texts = self._frame is not None and self._frame.is_open, context.texts
        self._frame = Frame(self.label(texts), texts("panel.close"), *self.build(context))
        self._frame.box.add_class(f"zk-pane-{self.name}")
        self._frame.show(was)

    @property
    def box(self) -> Any:
        """The widget that holds it."""
        assert self._frame is not None, "it is not mounted yet"
        return self._frame.box

    @property
    def is_open(self) -> bool:
        """Whether it is seen."""
        return self._frame is not None and self._frame.is_open

    def open(self) -> None:
        """Open it."""
        self.show()
        self.opened()

    def show(self, open_: bool = True) -> None:
        """Show or hide it."""
        assert self._frame is not None, "it is not mounted yet"
        self._frame.show(open_)
