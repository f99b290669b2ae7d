"""Cell: one place of a grid, with its picture, trace, rating and state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from ..errors import BadRequest, ZImageError
from ..recipe.artifact import Artifact, Trace
from ..recipe.request import Request
from .cell_store import CellStore, Mark
from .dimensions import Place, Point

if TYPE_CHECKING:
    from ..engine.preflight import Checked

CellState = Literal["waiting", "running", "done", "failed"]


class Cell:
    """A cell's picture is read when it is asked for. `values` are its axes' values, `label` its name for people.

    `computed`: this grid had to run it. `error`: why it failed. Two cells with the same recipe share a `key`, and so
    their picture.
    """

    def __init__(self, index: int, place: Place, values: Point, label: str, key: str, store: CellStore) -> None:
        self.index, self.place, self.values, self.label, self.key = index, place, values, label, key
        self.state: CellState = "waiting"
        self.error: ZImageError | None = None
        self.computed = False
        self.checked: Checked | None = None
        self._store = store
        self._requested: Request | None = None
        self._recipe: tuple[Request, Trace, tuple[int, int]] | None = None

    @property
    def request(self) -> Request:
        """The resolved recipe; unresolved for a cell of a reopened grid that was never made."""
        if self.checked is not None:
            return self.checked.request
        known = self._stored_recipe()
        if known is not None:
            return known[0]
        assert self._requested is not None  # a reopened grid gives it
        return self._requested

    def reopened(self) -> Request:
        """The recipe as it was asked for, with its seed: what nobody gave is open again; see Artifact.reopened."""
        known = self.checked or self.trace
        return self.request.opened(name for name in (known.derived if known else ()) if name != "seed")

    @property
    def artifact(self) -> Artifact | None:
        """The picture with recipe and trace; None for a cell that is not done."""
        return self._store.read(self.key) if self.state == "done" else None

    @property
    def trace(self) -> Trace | None:
        """The picture's trace; None for a cell that is not done."""
        known = self._stored_recipe()
        return None if known is None else known[1]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels: the picture's, or what is asked for."""
        known = self._stored_recipe()
        if known is not None:
            return known[2]
        return self.request.width or 0, self.request.height or 0

    @property
    def path(self) -> Path | None:
        """The file of the picture; None for a cell that is not done."""
        return self._store.path(self.key) if self.state == "done" else None

    @property
    def thumb(self) -> bytes | None:
        """The picture as a JPEG of at most 256 pixels a side; None for a cell that is not done."""
        return self._store.thumb(self.key) if self.state == "done" else None

    @property
    def rating(self) -> int:
        """1 to 5, 0 for none. It belongs to the picture, so every grid that has this picture has its rating."""
        return self._store.mark(self.key).rating

    @rating.setter
    def rating(self, rating: int) -> None:
        mark = self._mark_of_done()
        self._store.set_mark(self.key, Mark(rating, mark.winner))

    @property
    def winner(self) -> bool:
        """Whether it was picked as the best."""
        return self._store.mark(self.key).winner

    @winner.setter
    def winner(self, winner: bool) -> None:
        mark = self._mark_of_done()
        self._store.set_mark(self.key, Mark(mark.rating, winner))

    def _mark_of_done(self) -> Mark:
        if self.state != "done":
            raise BadRequest(f"cell {self.label!r} is {self.state}", expected="a picture", mend="Wait for it first.")
        return self._store.mark(self.key)

    def _stored_recipe(self) -> tuple[Request, Trace, tuple[int, int]] | None:
        if self._recipe is None and self.state == "done":
            self._recipe = self._store.recipe(self.key)
        return self._recipe

    def __repr__(self) -> str:
        return f"<Cell {self.index}: {self.label}, {self.state}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """Its picture, in a notebook."""
        artifact = self.artifact
        shown: dict[str, Any] = {} if artifact is None else artifact._repr_mimebundle_()
        return {**shown, "text/plain": repr(self)}


class Cells(Sequence[Cell]):
    """Some of a grid's cells. Compares equal to their number: `grid.computed == 20`."""

    def __init__(self, cells: Sequence[Cell] = ()) -> None:
        self._cells = tuple(cells)

    @overload
    def __getitem__(self, index: int) -> Cell: ...
    @overload
    def __getitem__(self, index: slice) -> Cells: ...
    def __getitem__(self, index: int | slice) -> Cell | Cells:
        return Cells(self._cells[index]) if isinstance(index, slice) else self._cells[index]

    def __len__(self) -> int:
        return len(self._cells)

    def __iter__(self) -> Iterator[Cell]:
        return iter(self._cells)

    def __int__(self) -> int:
        return len(self._cells)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, int):
            return len(self._cells) == other
        return list(self) == list(other) if isinstance(other, Sequence) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        some = ", ".join(cell.label for cell in self._cells[:4]) + (", …" if len(self) > 4 else "")
        return f"<{len(self)} cell{'s' * (len(self) != 1)}{': ' * bool(some)}{some}>"
