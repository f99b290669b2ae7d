"""The index: an SQLite file beside the pictures that answers questions about all of them.

It is a cache. The folder is the truth: an index that is missing, damaged or of another version is made anew, and two
processes may write at once (write-ahead log). Words are found by trigrams, so within Chinese sentences too.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import RLock
from typing import Any

from ..errors import BadRequest
from .marks import Marks
from .scan import Facts, Stamp

VERSION = 1
_BUSY_SECONDS = 20.0
_TABLES = """
CREATE TABLE pictures (
    id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, bytes INTEGER, changed INTEGER, marked INTEGER, made REAL,
    width INTEGER, height INTEGER, prompt TEXT, negative TEXT, model TEXT, seed TEXT, stages TEXT, loras TEXT,
    stars INTEGER, winner INTEGER, tags TEXT, problem TEXT, hash INTEGER
);
CREATE INDEX by_time ON pictures (made DESC, id DESC);
CREATE TABLE folders (name TEXT PRIMARY KEY, changed INTEGER);
CREATE VIRTUAL TABLE words USING fts5 (text, tokenize = 'trigram');
"""
_COLUMNS = (
    "name", "bytes", "changed", "marked", "made", "width", "height", "prompt", "negative", "model", "seed", "stages",
    "loras", "stars", "winner", "tags", "problem", "hash",
)  # fmt: skip
_WIDE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\U00020000-\U0003ffff]+")
"""Chinese, Japanese and Korean characters, of which two make a word: the index has them a second time, spaced out."""
_SPOILT = re.compile("decode to UTF-8|malformed JSON")
"""What SQLite says of damaged texts, which to it are errors of the program."""
_MOST_WORDS = 200
_PAGE = 500  # rows that are read at once
_SHORTEST = 3
"""Characters that trigrams can find; shorter words are looked for in every text."""


class Index:
    """The index in one file, or in memory (":memory:"). Used from any thread."""

    def __init__(self, file: Path | str) -> None:
        """Open it, or make it anew. Raises sqlite3.Error where neither can be done."""
        self.file, self._lock = file, RLock()
        self.made_anew = False
        self._connection = self._opened()

    def _opened(self) -> sqlite3.Connection:
        for again in (False, True):
            connection = sqlite3.connect(
                self.file, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            try:
                connection.execute("PRAGMA journal_mode = WAL").fetchone()
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.execute("BEGIN IMMEDIATE")
                if connection.execute("PRAGMA user_version").fetchone()[0] != VERSION:
                    self._make(connection)
                connection.execute(f"PRAGMA user_version = {VERSION}")  # fails here if the disk is full or read-only
                connection.execute("COMMIT")
                return connection
            except sqlite3.DatabaseError as error:
                connection.close()
                if again or isinstance(error, sqlite3.OperationalError) or not isinstance(self.file, Path):
                    raise
                self._discard()
        raise AssertionError

    def _make(self, connection: sqlite3.Connection) -> None:
        for kind, name in connection.execute(
            "SELECT type, name FROM sqlite_master WHERE type IN ('table', 'index') AND sql IS NOT NULL "
            "AND name NOT LIKE 'words\\_%' ESCAPE '\\' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
        ).fetchall():
            connection.execute(f'DROP {kind} IF EXISTS "{name}"')
        for statement in _TABLES.split(";\n"):
            if statement.strip():
                connection.execute(statement)
        self.made_anew = True

    def _discard(self) -> None:
        assert isinstance(self.file, Path)
        for ending in ("", "-wal", "-shm"):
            self.file.with_name(self.file.name + ending).unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def _safely(self, write: bool = False) -> Iterator[sqlite3.Connection]:
        """The connection, in a transaction. A damaged file is replaced by an empty index, and `Damaged` raised."""
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
                try:
                    yield self._connection
                except BaseException:
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                    raise
                self._connection.execute("COMMIT")
            except sqlite3.DatabaseError as error:
                deleted = isinstance(self.file, Path) and not self.file.exists()
                usual = sqlite3.OperationalError | sqlite3.ProgrammingError | sqlite3.IntegrityError
                if isinstance(error, usual) and not deleted and not _SPOILT.search(str(error)):
                    if isinstance(error, sqlite3.OperationalError) and self._is_of_another_version():
                        raise sqlite3.OperationalError(
                            "another version of zimage_kit has made it anew: restart this program"
                        ) from None
                    raise
                self._connection.close()
                if isinstance(self.file, Path):
                    self._discard()
                self._connection = self._opened()
                raise Damaged from error

    def _is_of_another_version(self) -> bool:
        with suppress(sqlite3.Error):
            return bool(self._connection.execute("PRAGMA user_version").fetchone()[0] != VERSION)
        return False

    def stamps(self) -> dict[str, Stamp]:
        """The stamp of every picture, by name."""
        with self._safely() as connection:
            rows = connection.execute("SELECT name, bytes, changed, marked FROM pictures").fetchall()
        return {name: Stamp(size, changed, marked) for name, size, changed, marked in rows}

    def folders(self) -> dict[str, int]:
        """When each folder was changed before it was looked at; 0: it may have changed since."""
        with self._safely() as connection:
            return dict(connection.execute("SELECT name, changed FROM folders").fetchall())

    def in_folder(self, folder: str) -> dict[str, Stamp]:
        """The stamps of the pictures directly in a folder."""
        before = f"{folder}/" if folder else ""
        with self._safely() as connection:
            rows = connection.execute(
                "SELECT name, bytes, changed, marked FROM pictures WHERE name >= ? AND name < ?",
                (before, f"{before}\U0010ffff"),
            ).fetchall()
        return {name: Stamp(*stamp) for name, *stamp in rows if "/" not in name[len(before) :]}

    def put(
        self,
        found: Iterable[tuple[str, Stamp, Facts, int | None]],
        gone: Iterable[str] = (),
        folders: Mapping[str, int | None] | None = None,
    ) -> None:
        """Write pictures (with a perceptual hash, where one is known), forget others, and note folders (None: gone)."""
        with self._safely(write=True) as connection:
            for name in gone:
                _forget(connection, name)
            for name, stamp, facts, hashed in found:
                _forget(connection, name)
                values = _row(name, stamp, facts, hashed)
                marks = ", ".join("?" * len(values))
                done = connection.execute(f"INSERT INTO pictures ({', '.join(_COLUMNS)}) VALUES ({marks})", values)
                connection.execute(
                    "INSERT INTO words (rowid, text) VALUES (?, ?)", (done.lastrowid, _text(name, facts))
                )
            for folder, changed in (folders or {}).items():
                if changed is None:
                    connection.execute("DELETE FROM folders WHERE name = ?", (folder,))
                else:
                    connection.execute("INSERT OR REPLACE INTO folders VALUES (?, ?)", (folder, changed))

    def set_hashes(self, hashes: Mapping[str, int]) -> None:
        """Note perceptual hashes, signed 64-bit numbers."""
        with self._safely(write=True) as connection:
            connection.executemany(
                "UPDATE pictures SET hash = ? WHERE name = ?", [(value, name) for name, value in hashes.items()]
            )

    def select(self, query: Query, limit: int | None, offset: int = 0) -> tuple[list[dict[str, Any]], int, int]:
        """A page of the rows that a query finds, in its order; how many it finds in all, and their bytes."""
        where, values = query.condition()
        with self._safely() as connection:
            every = connection.execute(
                f"SELECT id, bytes FROM pictures WHERE {where} ORDER BY {query.order}", values
            ).fetchall()
            page = [each for each, _ in every[offset : None if limit is None else offset + limit]]
            rows: dict[int, dict[str, Any]] = {}
            for start in range(0, len(page), _PAGE):
                part = page[start : start + _PAGE]
                found = connection.execute(f"SELECT * FROM pictures WHERE id IN ({', '.join('?' * len(part))})", part)
                names = [each[0] for each in found.description]
                rows |= {row[0]: _opened_row(dict(zip(names, row, strict=True))) for row in found}
        return [rows[each] for each in page], len(every), sum(size for _, size in every)

    def count(self) -> tuple[int, int]:
        """How many pictures there are, and their bytes."""
        with self._safely() as connection:
            count, size = connection.execute("SELECT count(*), sum(bytes) FROM pictures WHERE problem = ''").fetchone()
        return count, size or 0

    def values(self, column: str) -> dict[str, int]:
        """The values of "model", "stages", "loras" or "tags", with how many pictures have each, the commonest first."""
        lists = column != "model"
        part = f"each.value FROM pictures, json_each({column}) AS each" if lists else f"{column} FROM pictures"
        sql = f"SELECT {part} WHERE problem = ''" + ("" if lists else f" AND {column} != ''")
        found: dict[str, int] = {}
        with self._safely() as connection:
            for (value,) in connection.execute(sql):
                found[value] = found.get(value, 0) + 1
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


class Damaged(Exception):
    """The index was damaged; an empty one is in its place, for the caller to fill."""


class Query:
    """A question: conditions that all hold. `order` is SQL of ours."""

    def __init__(self, order: str = "made DESC, id DESC", problems: bool = False) -> None:
        self.order = order
        self._parts: list[str] = [] if problems else ["problem = ''"]
        self._values: list[Any] = []

    def add(self, part: str, *values: Any) -> Query:
        """One more condition, with its values for the question marks."""
        self._parts.append(part)
        self._values += [_plain(value) if isinstance(value, str) else value for value in values]
        return self

    def words(self, text: str) -> Query:
        """Every word, or phrase in quotes, occurs somewhere: prompt, tags, name; one after a minus does not.

        Raises BadRequest for more than 200.
        """
        asked = list(words(text))
        if len(asked) > _MOST_WORDS:
            raise BadRequest(f"a search of {len(asked)} words", expected=f"at most {_MOST_WORDS}")
        for word, wanted in asked:
            word = " ".join(word) if len(word) == 2 and _WIDE.fullmatch(word) else word
            if len(word) >= _SHORTEST:
                phrase = '"' + word.replace('"', '""') + '"'
                found, value = "SELECT rowid FROM words WHERE words MATCH ?", phrase
            else:
                escaped = word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
                found, value = "SELECT rowid FROM words WHERE text LIKE ? ESCAPE '\\'", f"%{escaped}%"
            self.add(f"id {'' if wanted else 'NOT '}IN ({found})", value)
        return self

    def condition(self) -> tuple[str, tuple[Any, ...]]:
        """SQL, and the values of its question marks."""
        return " AND ".join(self._parts) or "1", tuple(self._values)


def words(text: str) -> Iterator[tuple[str, bool]]:
    """The words of a search, and whether each is wanted: `red "hot air" -cat`."""
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        wanted = not (text[at] == "-" and at + 1 < len(text) and not text[at + 1].isspace())
        at += not wanted
        quoted = text[at] == '"'
        end = (
            text.find('"', at + 1)
            if quoted
            else next((i for i in range(at, len(text)) if text[i].isspace()), len(text))
        )
        end = len(text) if end < 0 else end
        word = text[at + quoted : end]
        at = end + quoted
        if word.strip():
            yield word, wanted


def _forget(connection: sqlite3.Connection, name: str) -> None:
    row = connection.execute("SELECT id FROM pictures WHERE name = ?", (name,)).fetchone()
    if row is not None:
        connection.execute("DELETE FROM words WHERE rowid = ?", row)
        connection.execute("DELETE FROM pictures WHERE id = ?", row)


def _row(name: str, stamp: Stamp, facts: Facts, hashed: int | None) -> tuple[Any, ...]:
    marks = facts.marks
    return (
        name, stamp.bytes, stamp.changed, stamp.marked, facts.made, facts.width, facts.height, _plain(facts.prompt),
        _plain(facts.negative), facts.model, facts.seed, _json(facts.stages), _json(facts.loras), marks.stars,
        int(marks.winner), _json(marks.tags), facts.problem, hashed,
    )  # fmt: skip


def _opened_row(row: dict[str, Any]) -> dict[str, Any]:
    try:
        lists = {name: tuple(json.loads(row[name])) for name in ("stages", "loras")}
        marks = Marks(row.pop("stars"), tuple(json.loads(row.pop("tags"))), bool(row.pop("winner")))
    except (ValueError, TypeError, BadRequest) as error:
        raise sqlite3.DatabaseError(f"a damaged row: {error}") from None
    return {**row, **lists, "marks": marks}


def _text(name: str, facts: Facts) -> str:
    parts: Sequence[str] = (facts.prompt, facts.negative, name, facts.model, facts.seed, *facts.stages, *facts.loras)
    text = _plain("\n".join((*parts, *facts.marks.tags)))
    return "\n".join((text, *(" ".join(run) for run in _WIDE.findall(text) if len(run) > 1)))


def _json(values: Sequence[str]) -> str:
    return json.dumps([_plain(value) for value in values], ensure_ascii=False)


def _plain(text: str) -> str:
    """Without halves of surrogate pairs, which SQLite cannot keep, and without NUL."""
    return text.encode("utf-8", "replace").decode().replace("\0", " ")
