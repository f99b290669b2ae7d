"""Bytes and seconds as people read them."""

from __future__ import annotations

import re

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(gb|gib|mb|mib)?", re.IGNORECASE)
_UNITS = {"gb": 10**9, "mb": 10**6, "gib": 1 << 30, "mib": 1 << 20}


def gigabytes(count: float) -> str:
    """`33.1 GB`, `12 MB`, `7 kB`: decimal, as disks are sold."""
    if count >= 1e9:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:.0f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


def counted(count: int, what: str) -> str:
    """`1 picture`, `2 pictures`."""
    return f"{count} {what}{'s' * (count != 1)}"


def duration(seconds: float) -> str:
    """`1.4 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"


def bytes_of(text: str) -> int:
    """Bytes of "8GB", "8 GiB", "8000MB"; a bare number is in GB; 0 for anything else."""
    found = _SIZE.fullmatch(text.strip())
    return int(float(found[1]) * _UNITS[(found[2] or "gb").lower()]) if found else 0
