"""What a target of the fuzzer is, how much an input may take, and what every target says of what it read."""

from __future__ import annotations

import io
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

SECONDS, MEGABYTES = 2.0, 200
"""The most that an input of any kind may take, of time and of memory beyond what the process had."""
SEEDS = Path(__file__).parent / "seeds"
LISTS = {"animals": "cat\n2::dog\n{big|small} fox\n", "sea": "# none\nwave __animals__\n", "round": "a __round__\n"}

Read = Callable[[bytes, Path], None]


class Broken(AssertionError):
    """An input that a reader took wrongly: another error than ours, a wrong answer, too long or too much."""


@dataclass(frozen=True)
class Target:
    """`read` gets an input and a folder; `packages` are those whose branches guide the fuzzer, beside our own."""

    name: str
    read: Read
    packages: tuple[str, ...] = ()

    def seeds(self) -> list[Path]:
        """The inputs that are kept."""
        return sorted((SEEDS / self.name).glob("*"))


TARGETS: dict[str, Target] = {}


def target(*packages: str) -> Callable[[Read], Read]:
    """Decorator: this function is a target of its own name."""

    def add(read: Read) -> Read:
        TARGETS[read.__name__] = Target(read.__name__, read, packages)
        return read

    return add


@contextmanager
def bounded(seconds: float = SECONDS, megabytes: int = MEGABYTES) -> Iterator[None]:
    """Context manager: raises Broken if what is inside took more processor time, or memory at its peak.

    What waits without end is the business of whoever runs this: pytest's time-out, libFuzzer's.
    """
    _forget_peak()
    before, begin = _megabytes("VmRSS"), time.process_time()
    yield
    took, grown = time.process_time() - begin, _megabytes("VmHWM") - before
    if took > seconds:
        raise Broken(f"took {took:.1f} s, at most {seconds:g} are allowed")
    if grown > megabytes:
        raise Broken(f"took {grown:.0f} MB, at most {megabytes} are allowed")


def _forget_peak() -> None:
    """The peak of memory counts from here (Linux alone; elsewhere only time is bounded)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _megabytes(field: str) -> float:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0.0
    found = next((line for line in status.splitlines() if line.startswith(field + ":")), "x 0 kB")
    return int(found.split()[1]) / 1024


def prepare(folder: Path) -> dict[str, str]:
    """Fill a folder with what readers look for; returns the environment in which they find it there."""
    lists = folder / "wordlists"
    lists.mkdir(exist_ok=True)
    for name, text in LISTS.items():
        (lists / f"{name}.txt").write_text(text)
    for name in ("presets", "loras", "model", "outputs"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "loras" / "known.safetensors").write_bytes(struct.pack("<Q", 2) + b"{}")
    own = {f"ZIMAGE_{name.upper()}": str(folder / name) for name in ("outputs", "wordlists", "presets", "loras")}
    return {"HOME": str(folder), "ZIMAGE_LARGEST_PIXELS": "4000000", **own}


def as_text(data: bytes) -> str:
    """Any text: also characters that are half of a pair, as JSON may hold them."""
    return data.decode("utf-8", "surrogatepass" if b"\xed" in data else "replace") if _is_text(data) else latin(data)


def _is_text(data: bytes) -> bool:
    try:
        data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


def latin(data: bytes) -> str:
    return data.decode("latin-1")


@cache
def stage(kind: str) -> Any:
    """A stage's class, looked for once: its folder is read anew at each look."""
    from zimage_kit.stages.extensions import stage_class

    return stage_class(kind)


def one_line(error: BaseException) -> None:
    """An error's message is one line that any terminal can show."""
    assert "\n" not in str(error)
    str(error).encode()


def same_again(request: object) -> None:
    """A request that was read is a request that can be written and read."""
    from zimage_kit.recipe.request import Request

    assert isinstance(request, Request)
    text = request.to_json()
    text.encode()
    again = Request.from_json(text)
    assert again.to_json() == text, "a request reads back as another one"


def with_checksums(data: bytes) -> bytes:
    """A PNG whose chunks have the right checksums, so that what is in them is read; anything else as it is."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    out, at = io.BytesIO(), 8
    out.write(data[:8])
    while at + 8 <= len(data):
        length = struct.unpack(">I", data[at : at + 4])[0]
        body = data[at + 4 : at + 8 + length]
        out.write(data[at : at + 4] + body)
        if len(body) == 4 + length:
            out.write(struct.pack(">I", zlib.crc32(body)))
        at += 12 + length
    return out.getvalue()
