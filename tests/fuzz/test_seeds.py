"""Every input that fuzzing kept goes through its reader: only our errors come out, in bounded time and memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from bounds import SEEDS, Target, bounded, prepare
from targets import TARGETS

LARGEST = 150_000
"""Bytes of all seeds together."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in prepare(tmp_path).items():
        monkeypatch.setenv(name, value)
    return tmp_path


@pytest.fixture(scope="module")
def imported() -> Callable[[Target, Path], None]:
    """`imported(target, folder)`: what a reader imports at its first call does not count as the input's time."""
    done: set[str] = set()

    def once(target: Target, folder: Path) -> None:
        if target.name not in done:
            target.read(target.seeds()[0].read_bytes(), folder)
        done.add(target.name)

    return once


@pytest.mark.parametrize(
    ("target", "seed"),
    [pytest.param(each, seed, id=f"{each.name}-{seed.name}") for each in TARGETS.values() for seed in each.seeds()],
)
def test_a_kept_input_is_read_or_refused_in_our_words(
    target: Target, seed: Path, folder: Path, imported: Callable[[Target, Path], None]
) -> None:
    imported(target, folder)
    with bounded():
        target.read(seed.read_bytes(), folder)


def test_every_target_has_seeds_and_all_are_small() -> None:
    assert all(target.seeds() for target in TARGETS.values())
    assert {path.name for path in SEEDS.iterdir()} == {*TARGETS}
    assert sum(path.stat().st_size for path in SEEDS.rglob("*") if path.is_file()) < LARGEST
