"""The library: every picture of a folder, found by words, facts, stars and likeness; removed with undo.

library = zk.library()
library.search("red boat", stars=3, since="7d")
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property, partial
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import BadRequest, ZImageError
from ..files import check_allowed, expanded
from ..recipe.artifact import Artifact
from ..text.units import counted, gigabytes
from . import marks, scan, similar, trash
from .found import Found, Picture
from .index import Damaged, Query
from .marks import Marks
from .refresh import BATCH, FOLDER, Changes, OnProgress, open_index, refresh
from .store import outputs_dir
from .thumbs import FILE, Thumbs
from .times import When, moment
from .trash import Removal

if TYPE_CHECKING:
    from .cleaning import Cleaning

Result = TypeVar("Result")


class Library:
    """The pictures in a folder and the folders in it. Several processes may use one; any thread may call it."""

    def __init__(self, folder: Path | str | None = None, on_progress: OnProgress | None = None) -> None:
        """Open the library of `folder`, by default the outputs folder, and look for what has changed in it.

        `on_progress(done, total)` is called while pictures are read that the index does not know. Raises BadRequest for
        a `folder` that does not exist.
        """
        if folder and not expanded(Path(folder)).is_dir():
            raise BadRequest(f"{folder} is not a folder")
        self.folder = expanded(Path(folder)).absolute() if folder else outputs_dir().absolute()
        self._lock = RLock()
        self._index, self.index_note = open_index(self.folder)
        try:
            self.refresh(on_progress)
        except ZImageError:  # this disk is full, which is when one wants to clean it
            self._index.close()
            self._index, self.index_note = open_index(self.folder, elsewhere=True)
            self.refresh(on_progress)
        trash.empty(self.folder)

    def close(self) -> None:
        """Close its files."""
        self._index.close()
        if "_thumbs" in self.__dict__:
            self._thumbs.close()

    @cached_property
    def _thumbs(self) -> Thumbs:
        file = self._index.file
        return Thumbs(file.with_name(FILE if file.parent.name == FOLDER else f"{file.stem}-{FILE}")
                      if isinstance(file, Path) else None)  # fmt: skip

    def thumb(self, picture: Picture) -> bytes:
        """A picture as a small JPEG, at most 256 pixels on its longer side; empty if its file cannot be read."""
        return self._thumbs.of(picture.path, picture.name)

    def __repr__(self) -> str:
        count, size = self._safely(self._index.count)
        return f"the library {self.folder}: {counted(count, 'picture')}, {gigabytes(size)}"

    # What is there

    def refresh(self, on_progress: OnProgress | None = None, *, quick: bool = False) -> Changes:
        """Bring the index in step with the folder. `quick` looks only into folders in which files came or went."""
        with self._lock:
            return self._safely(lambda: refresh(self.folder, self._index, on_progress, quick=quick))

    def add(self, path: Path, artifact: Artifact | None = None) -> None:
        """Index one picture of the folder that was just written; with its `artifact` it is not read again."""
        name, stamp, hashed = self._name(path), _stamp(path), None
        if artifact is None:
            facts = scan.facts(path, stamp)
        else:
            facts = scan.of_recipe(
                artifact.request, artifact.trace, artifact.image.size, marks.read(path), stamp.changed / 1e9
            )
            hashed = similar.hash_of(artifact.image)
        self._safely(lambda: self._index.put([(name, stamp, facts, hashed)]))

    def search(
        self,
        words: str = "",
        *,
        model: str | None = None,
        size: tuple[int, int] | None = None,
        since: When | None = None,
        until: When | None = None,
        stage: str | None = None,
        lora: str | None = None,
        stars: int = 0,
        winner: bool = False,
        tags: Iterable[str] = (),
        seed: int | None = None,
        cells: bool | None = None,
        like: Path | str | Picture | Artifact | None = None,
        oldest_first: bool = False,
        limit: int | None = 50,
        offset: int = 0,
    ) -> Found:
        """The pictures for which all of this holds, the latest first.

        words: each occurs in the prompt, a tag, the file's name …; `"a phrase"`, and `-without`. stars: the fewest.
        since, until: a datetime, a date, "2026-11-30", or "7d" (also h, w) ago. size: width and height. cells: those of
        grids only, or none of them. like: a picture; those that look like it, the likest first.
        Raises BadRequest for what cannot be read as a date.
        """
        if offset < 0 or (limit is not None and limit < 0):
            raise BadRequest(f"offset={offset}, limit={limit}", expected="0 or more")
        tags = (tags,) if isinstance(tags, str) else tags
        query = Query(order="made, id" if oldest_first else "made DESC, id DESC").words(words)
        for column, value in (("model", model), ("seed", seed)):
            if value is not None:
                query.add(f"{column} = ?", str(value))
        if size is not None:
            query.add("width = ? AND height = ?", *size)
        if since is not None:
            query.add("made >= ?", moment(since).timestamp())
        if until is not None:
            query.add("made < ?", moment(until, end=True).timestamp())
        for column, wanted in (("stages", stage), ("loras", lora), *(("tags", tag) for tag in tags)):
            if wanted is not None:
                query.add(f"EXISTS (SELECT 1 FROM json_each({column}) WHERE value = ?)", wanted)
        if stars:
            query.add("stars >= ?", stars)
        if winner:
            query.add("winner = 1")
        if cells is not None:
            query.add(f"name {'' if cells else 'NOT '}LIKE ?", f"{'/'.join(scan.CELLS)}/%")
        self.refresh(quick=True)
        if like is not None:
            return self._like(like, query, limit, offset)
        rows, total, total_bytes = self._safely(lambda: self._index.select(query, limit, offset))
        return Found([self._picture(row) for row in rows], total, total_bytes)

    def _like(self, like: Path | str | Picture | Artifact, query: Query, limit: int | None, offset: int) -> Found:
        path = like.path if isinstance(like, Picture | Artifact) else self.folder / str(like)
        if isinstance(like, Artifact):
            wanted = similar.hash_of(like.image)
        else:
            path = path if path and path.is_file() else expanded(Path(str(like)))
            check_allowed(path)
            found = similar.hash_file(path)
            if found is None:
                raise BadRequest(f"like={path} is not a readable picture")
            wanted = found
        self.hash()
        rows, *_ = self._safely(lambda: self._index.select(query.add("hash IS NOT NULL"), None))
        near = [(similar.distance(wanted, row["hash"]), row) for row in rows]
        near = [each for each in near if each[0] <= similar.ALIKE]
        itself = path.absolute() if path else None  # comes first of those that look just like it
        near.sort(key=lambda each: (each[0], self.folder / each[1]["name"] != itself))
        size = sum(row["bytes"] for _, row in near)
        page = near[offset : None if limit is None else offset + limit]
        return Found([self._picture(row) for _, row in page], len(near), size)

    def hash(self, on_progress: OnProgress | None = None) -> int:
        """Compute the perceptual hashes that are missing, for searches by likeness, from the pixels; how many."""
        rows, *_ = self._safely(lambda: self._index.select(Query().add("hash IS NULL"), None))
        done = 0
        with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
            for start in range(0, len(rows), BATCH):
                names = [row["name"] for row in rows[start : start + BATCH]]
                hashes = pool.map(similar.hash_file, [self.folder / name for name in names])
                found = {name: value for name, value in zip(names, hashes, strict=True) if value is not None}
                self._safely(partial(self._index.set_hashes, found))
                done += len(names)
                if on_progress is not None:
                    on_progress(done, len(rows))
        return done

    def values(self, what: str) -> dict[str, int]:
        """The "models", "stages", "loras" or "tags" that occur, with how many pictures have each, commonest first."""
        columns = {"models": "model", "stages": "stages", "loras": "loras", "tags": "tags"}
        if what not in columns:
            raise BadRequest(f"values({what!r})", expected=", ".join(columns))
        return self._safely(lambda: self._index.values(columns[what]))

    def problems(self) -> dict[str, str]:
        """Files that are not shown, and why: damaged ones, and contact sheets."""
        rows, *_ = self._safely(lambda: self._index.select(Query(problems=True).add("problem != ''"), None))
        return {row["name"]: row["problem"] for row in rows}

    def __getitem__(self, name: str) -> Picture:
        """One picture by its name or path. Raises BadRequest if it is not in the library."""
        row = self._row(self._name(Path(name)))
        if row is None:
            raise BadRequest(f"{name} is not in the library {self.folder}")
        return self._picture(row)

    # What people say of it

    def star(self, pictures: Iterable[Picture | Path | str], stars: int = 1) -> None:
        """Give pictures 1 to 5 stars, or 0 for none."""
        self._mark(pictures, lambda old: replace(old, stars=stars))

    def tag(self, pictures: Iterable[Picture | Path | str], *tags: str, remove: Iterable[str] = ()) -> None:
        """Add tags to pictures, and remove others."""
        gone = {remove} if isinstance(remove, str) else set(remove)
        if bad := [tag for tag in tags if not tag.strip()]:
            raise BadRequest(f"the tag {bad[0]!r} is empty")
        added = [tag.strip() for tag in tags]
        self._mark(pictures, lambda old: replace(old, tags=tuple(dict.fromkeys(
            tag for tag in (*old.tags, *added) if tag not in gone
        ))))  # fmt: skip

    def _mark(self, pictures: Iterable[Picture | Path | str], change: Callable[[Marks], Marks]) -> None:
        rows = []
        with self._lock:  # two threads that mark one picture
            for name in self._names(pictures):
                path = trash.inside(self.folder, name)
                if not path.is_file():
                    raise BadRequest(f"{path} does not exist")
                marks.change(path, change)
                stamp = _stamp(path)
                rows.append((name, stamp, scan.facts(path, stamp), (self._row(name) or {}).get("hash")))
            self._safely(lambda: self._index.put(rows))

    def _row(self, name: str) -> dict[str, Any] | None:
        query = Query(problems=True).add("name = ?", name)
        rows, *_ = self._safely(lambda: self._index.select(query, 1))
        return rows[0] if rows else None

    # Removing

    def remove(self, pictures: Iterable[Picture | Path | str]) -> Removal:
        """Move pictures to the trash, from which `restore` brings them back for 30 days."""
        with self._lock:
            removal = trash.remove(self.folder, self._names(pictures))
            self._safely(lambda: self._index.put((), removal.pictures))
        return removal

    def restore(self, removal: Removal | str | None = None) -> tuple[Picture, ...]:
        """Bring back what was removed together, by default what was removed last."""
        if removal is None:
            there = self.trash()
            if not there:
                raise BadRequest("the trash is empty")
            removal = there[0]
        with self._lock:
            names = trash.restore(self.folder, removal if isinstance(removal, str) else removal.name)
            self.refresh()
        return tuple(self[name] for name in names)

    def trash(self) -> list[Removal]:
        """What was removed and can be brought back, the latest first."""
        return trash.removals(self.folder)

    def empty_trash(self) -> int:
        """Delete what is in the trash, for good; how many removals."""
        return trash.empty(self.folder, timedelta(0))

    def clean(
        self, older_than: str | timedelta | None = None, *, max_bytes: int | None = None, keep_starred: bool = True
    ) -> Cleaning:
        """What would be removed: pictures older than so much, and the oldest until the rest is at most `max_bytes`.

        Nothing is removed until `.remove()`. Pictures with stars, tags, or that won in a grid stay, unless
        `keep_starred` is False. Raises BadRequest where neither limit is given.
        """
        from .cleaning import plan

        return plan(self, older_than, max_bytes, keep_starred)

    def export(
        self,
        pictures: Iterable[Picture | Path | str],
        target: Path | str,
        *,
        sheet: bool = True,
        recipe: bool = True,
        on_progress: OnProgress | None = None,
    ) -> Path:
        """Copy pictures into a new folder or a .zip file, with a contact sheet; `recipe=False` leaves recipes out.

        Raises CannotWrite, and BadRequest where there is nothing to copy or the target exists.
        """
        from .export import export

        return export(
            self.folder, [self[name] for name in self._names(pictures)], Path(target), sheet, recipe, on_progress
        )

    # Inside

    def _names(self, pictures: Iterable[Picture | Path | str]) -> list[str]:
        if isinstance(pictures, str | Path | Picture):
            pictures = [pictures]
        return list(
            dict.fromkeys(each.name if isinstance(each, Picture) else self._name(Path(each)) for each in pictures)
        )

    def _name(self, path: Path) -> str:
        """A path's name in the library: absolute, or relative to its folder, or to the working folder."""
        if "\0" in str(path):
            raise BadRequest(f"{str(path)!r} is no name of a file")
        if not os.path.lexists(self.folder / path):
            path = expanded(path) if str(path).startswith(("~/", "~\\")) else path
            if path.exists() and path.absolute().is_relative_to(self.folder):
                path = path.absolute()
        if path.is_absolute():
            if not path.is_relative_to(self.folder):  # the folder's real name, or a link to it
                path = self.folder.joinpath(path).parent.resolve() / path.name
                path = (
                    self.folder / path.relative_to(real) if path.is_relative_to(real := self.folder.resolve()) else path
                )
            if not path.is_relative_to(self.folder):
                raise BadRequest(f"{path} is not in the library {self.folder}")
            path = path.relative_to(self.folder)
        trash.inside(self.folder, path.as_posix())
        return path.as_posix()

    def _picture(self, row: dict[str, Any]) -> Picture:
        return Picture(
            path=self.folder / row["name"],
            name=row["name"],
            made=datetime.fromtimestamp(row["made"]).astimezone(),
            bytes=row["bytes"],
            width=row["width"],
            height=row["height"],
            prompt=row["prompt"],
            negative_prompt=row["negative"],
            model=row["model"],
            seed=int(row["seed"]) if row["seed"] else None,
            stages=row["stages"],
            loras=row["loras"],
            marks=row["marks"],
        )

    def _safely(self, action: Callable[[], Result]) -> Result:
        """Do something with the index; if it is found damaged, once more with one that was made anew."""
        try:
            try:
                return action()
            except Damaged:
                with self._lock:
                    refresh(self.folder, self._index)
                    return action()
        except sqlite3.Error as error:
            if isinstance(error, sqlite3.ProgrammingError) and "closed" in str(error):
                raise ZImageError(f"the library {self.folder} is closed", mend="Open it again: zk.library().") from None
            raise ZImageError(
                f"the library's index {self._index.file} cannot be used ({error})",
                mend="Is the disk full? The index can be deleted: it is made anew from the pictures.",
            ) from None


def _stamp(path: Path) -> scan.Stamp:
    stat = path.stat()
    return scan.Stamp(stat.st_size, scan.when_changed(stat), marks.changed(path))
