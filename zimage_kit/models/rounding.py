"""Rounding: a safetensors file written again, its float32 numbers as bfloat16, in little RAM. Without torch.

The format: 8 bytes with the length of a JSON header (name -> type, shape, place), then the numbers, without gaps.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import JobFailed
from .weights import header

CHUNK_BYTES = 16 << 20
"""Read at once; what is held for it takes about five times as much RAM."""

Received = Callable[[int], None]
"""Called with numbers of bytes that were read."""


def to_bfloat16(bits: NDArray[np.uint32]) -> NDArray[np.uint16]:
    """float32 to the nearest bfloat16, ties to even, both as bits. NaN stays NaN (quiet), infinity stays."""
    rounded = bits >> 16
    rounded &= 1
    rounded += 0x7FFF
    rounded += bits
    rounded >>= 16
    found = rounded.astype("<u2")
    nan = (bits & 0x7FFFFFFF) > 0x7F800000
    found[nan] = bits[nan] >> 16 | 0x40
    return found


def rounded_size(tensor: Mapping[str, Any]) -> int:
    """Bytes of a tensor, given as in a file's header, once it is rounded."""
    return _size(tensor) // (2 if tensor["dtype"] == "F32" else 1)


def _size(tensor: Mapping[str, Any]) -> int:
    start, stop = tensor["data_offsets"]
    return int(stop) - int(start)


def write_rounded(source: Path, part: Path, received: Received) -> tuple[str, str]:
    """Write a safetensors file's tensors to `part`, float32 ones as bfloat16, the others and the metadata as they are.

    `received` is told the bytes that were read. Returns the MD5 of what was read ("" if that was not in the file's
    order) and the SHA-256 of what was meant to be written. Raises JobFailed for a file that is not whole.
    """
    entries = header(source)
    metadata = entries.pop("__metadata__", None)
    read, written = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    buffer = memoryview(bytearray(CHUNK_BYTES))
    with source.open("rb") as old, part.open("wb") as new:
        begin = 8 + int.from_bytes(old.read(8), "little")
        in_file = sorted(entries, key=lambda name: entries[name]["data_offsets"])
        ends = [0, *(entries[name]["data_offsets"][1] for name in in_file)]
        starts = [entries[name]["data_offsets"][0] for name in in_file]
        odd = any(each["dtype"] == "F32" and _size(each) != 4 * prod(each["shape"]) for each in entries.values())
        if not entries or odd or starts != ends[:-1] or begin + ends[-1] != source.stat().st_size:
            raise _broken(source)
        # wide types first, so that each number lies at a multiple of its size; a published file's order stays
        order = sorted(in_file, key=lambda name: -rounded_size(entries[name]) // max(1, prod(entries[name]["shape"])))

        def put(data: Any) -> None:
            new.write(data)
            written.update(data)

        place, layout = 0, {} if metadata is None else {"__metadata__": metadata}
        for name in order:
            size, dtype = rounded_size(entries[name]), entries[name]["dtype"]
            layout[name] = {
                "dtype": "BF16" if dtype == "F32" else dtype,
                "shape": entries[name]["shape"],
                "data_offsets": [place, place + size],
            }
            place += size
        head = json.dumps(layout, separators=(",", ":")).encode()
        head += b" " * (-len(head) % 8)
        put(len(head).to_bytes(8, "little") + head)
        old.seek(0)
        read.update(old.read(begin))
        received(begin)
        for name in order:
            old.seek(begin + entries[name]["data_offsets"][0])
            left = _size(entries[name])
            while left:
                piece = buffer[: min(left, CHUNK_BYTES)]
                if old.readinto(piece) != len(piece):
                    raise _broken(source)
                read.update(piece)
                put(to_bfloat16(np.frombuffer(piece, "<u4")) if entries[name]["dtype"] == "F32" else piece)
                left -= len(piece)
                received(len(piece))
        new.flush()
        os.fsync(new.fileno())
    return read.hexdigest() if order == in_file else "", written.hexdigest()


def _broken(source: Path) -> JobFailed:
    return JobFailed(f"{source} is not a whole safetensors file", mend="Download it again.")


def read_back(part: Path, received: Received) -> str:
    """The SHA-256 of a file that was just written, read from the disk where the system can be told so."""
    found = hashlib.sha256()
    with part.open("rb") as file:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while piece := file.read(CHUNK_BYTES):
            found.update(piece)
            received(len(piece))
    return found.hexdigest()
