"""Measures how long pictures take on this machine: speeds and memory limits beside each other, in one run.

Every profile loads the model in this process and draws each size: twice to warm up, then several pictures of a known
prompt, then as many of new prompts. What is told are medians. Like all times of GPUs they can be compared within one
run only: cards differ, and a warm card is slower.
"""

from __future__ import annotations

import csv
import gc
import io
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import median
from typing import Any

import psutil

from ..engine import gpus
from ..engine.settings import Settings
from ..files import portable
from ..recipe.artifact import Artifact, library_versions
from ..recipe.request import Request
from ..session.inline import InlineEngine
from ..session.session import Session
from .bench_compare import Difference

PROMPT = "a red hot-air balloon over the sea"
STOCK = "stock"


@dataclass(frozen=True)
class Profile:
    """A way to compute: a speed, and what the model may take on the device ("": all). Written `exact`, `exact:8GB`."""

    speed: str
    memory: str = ""

    @classmethod
    def parse(cls, text: str) -> Profile:
        """From its written form. Raises BadRequest."""
        speed, _, memory = text.strip().partition(":")
        Settings(speed=speed, memory=memory or None)
        return cls(speed, memory)

    def __str__(self) -> str:
        return f"{self.speed}:{self.memory}" if self.memory else self.speed


@dataclass(frozen=True)
class Row:
    """A profile at one size. Seconds are medians of `rounds` pictures; bytes are of the device, temperatures in °C.

    `picture`: denoised and decoded to 8 bits, with the prompt encoded before. `encode`: of a new prompt. `first`: the
    first picture after loading, with its encoding, beyond what a warm one takes; 0 where it was not of this size.
    `over_stock`: stock's time of a picture over this one's, 0 where stock was not measured.
    """

    profile: str
    size: str
    rounds: int
    picture: float
    step: float
    decode: float
    encode: float
    load: float
    first: float
    idle_bytes: int
    peak_bytes: int
    placement: str
    temperature: int | None = None
    clock: int | None = None
    over_stock: float = 0.0


@dataclass
class Bench:
    """What was measured: on which machine, with which model and versions, a row for each profile and size."""

    machine: str
    model: str
    device: str
    dtype: str
    steps: int
    versions: dict[str, str]
    rows: list[Row] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return asdict(self)

    def to_csv(self) -> str:
        """The rows, with a head."""
        out = io.StringIO()
        names = list(Row.__dataclass_fields__)
        writer = csv.DictWriter(out, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in self.rows)
        return out.getvalue()

    def to_markdown(self) -> str:
        """A table for people, with a line above it that says what it is of."""
        heads = ("size", "profile", "picture", "times stock", "step", "decode", "new prompt", "load", "first", "peak")
        lines = [self.line(), "", f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
        for row in self.rows:
            over = f"{row.over_stock:.2f}" if row.over_stock else ""
            first = f"+{row.first:.2f} s" if row.first else ""
            load = f"{row.load:.1f} s" if row.load else ""
            cells = (
                row.size, row.profile, f"{row.picture:.3f} s", over, f"{row.step * 1e3:.1f} ms",
                f"{row.decode * 1e3:.1f} ms", f"+{row.encode * 1e3:.1f} ms", load, first,
                f"{row.peak_bytes / 1e9:.2f} GB",
            )  # fmt: skip
            lines.append(f"| {' | '.join(cells)} |")
        lines += ["", *map(str, self.differences)] if self.differences else []
        return "\n".join(lines) + "\n"

    def line(self) -> str:
        """What was measured where, in one line; the row that is fastest for the first size at its end."""
        told = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        where = f"{self.model}, {self.steps} steps, {self.dtype} on {self.device}, {self.machine}; {told}"
        same = [row for row in self.rows if row.size == self.rows[0].size]
        best = min(same, key=lambda row: row.picture, default=None)
        if best is None:
            return where
        over = f", {best.over_stock:.2f} times stock's rate" if best.over_stock and best.profile != STOCK else ""
        return f"{where}: {best.picture:.3f} s for {best.size} ({best.profile}{over})"


def measure(
    model: str | None,
    profiles: Sequence[Profile],
    sizes: Sequence[tuple[int, int]],
    settings: Settings,
    steps: int | None = None,
    rounds: int = 5,
    progress: Callable[[str, int, int], None] = lambda doing, done, total: None,
    keep: Callable[[Profile, Artifact], None] = lambda profile, artifact: None,
) -> Bench:
    """Measure all profiles, one after the other, at all sizes. `progress(what, pictures done, of all)`.

    `keep` gets every profile's pictures of the same seeds. Raises what `Session.run` raises.
    """
    total, done = len(profiles) * len(sizes) * (2 * rounds + 2), 0
    found: Bench | None = None
    for profile in profiles:
        given = {**settings.given(), "speed": profile.speed} | ({"memory": profile.memory} if profile.memory else {})
        session = Session(InlineEngine(Settings(**given)), "bench")

        def draw(request: Request, session: Session = session, profile: Profile = profile) -> Artifact:
            nonlocal done
            progress(f"{profile} {request.width}x{request.height}", done, total)
            done += 1
            return session.run(request, on_event=lambda event: None, fresh=True)

        try:
            for width, height in sizes:
                base = Request(prompt=PROMPT, model=model, width=width, height=height, steps=steps, seed=0)
                row, pictures = _row(profile, base, rounds, draw, session, first=(width, height) == sizes[0])
                for picture in pictures:
                    keep(profile, picture)
                if found is None:
                    found = _of_machine(pictures[0])
                found.rows.append(row)
        finally:
            session.close()
            gc.collect()
    assert found is not None, "no profile or no size"
    progress("", total, total)
    found.rows = [_beside_stock(row, found.rows) for row in found.rows]
    return found


def _row(
    profile: Profile, base: Request, rounds: int, draw: Callable[[Request], Artifact], session: Session, first: bool
) -> tuple[Row, list[Artifact]]:
    """One profile at one size, and the pictures of the known prompt."""
    cold = draw(base).trace
    draw(base.but(seed=1))
    known = [draw(base.but(seed=number)) for number in range(rounds)]
    new = [
        draw(base.but(prompt=f"{PROMPT}, {base.width} {base.height} {number}", seed=number)) for number in range(rounds)
    ]
    traces = [artifact.trace for artifact in known]
    idle, cards = session.status().memory_bytes or 0, gpus.list_gpus()[0]
    card = cards[0] if cards else None

    def seconds(part: str, of: Sequence[Artifact] = known) -> float:
        return round(median(artifact.trace.milliseconds[part] for artifact in of) / 1e3, 5)

    warm = sum(seconds(part, new) for part in ("encode", "denoise", "decode"))
    extra = sum(cold.milliseconds[part] for part in ("encode", "denoise", "decode")) / 1e3 - warm
    return Row(
        profile=str(profile),
        size=f"{base.width}x{base.height}",
        rounds=rounds,
        picture=round(seconds("denoise") + seconds("decode"), 5),
        step=round(median(step for trace in traces for step in trace.step_milliseconds) / 1e3, 5),
        decode=seconds("decode"),
        encode=seconds("encode", new),
        load=round(cold.milliseconds.get("load", 0.0) / 1e3, 3),
        first=round(extra, 3) if first else 0.0,
        idle_bytes=idle,
        peak_bytes=max(max(trace.peak_bytes.values(), default=0) for trace in traces),
        placement=traces[0].placement,
        temperature=card.temperature if card else None,
        clock=card.clock if card else None,
    ), known


def _of_machine(artifact: Artifact) -> Bench:
    trace = artifact.trace
    cards = gpus.list_gpus()[0]
    on_gpu = trace.device.startswith("cuda") and cards
    processor = f"{psutil.cpu_count(logical=False) or psutil.cpu_count()} cores, {platform.machine()}"
    return Bench(
        machine=f"{cards[0].name}, driver {cards[0].driver}" if on_gpu else processor,
        model=portable(trace.model),
        device=trace.device,
        dtype=trace.dtype,
        steps=artifact.request.steps or 0,
        versions=library_versions(),
    )


def _beside_stock(row: Row, rows: Sequence[Row]) -> Row:
    stock = next((each.picture for each in rows if each.profile == STOCK and each.size == row.size), 0.0)
    return replace(row, over_stock=round(stock / row.picture, 3) if row.picture else 0.0)
