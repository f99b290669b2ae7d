"""What happens between two evaluations of the transformer: a check for NaN, a time, a preview, a report.

Separate from the pipeline, because on CUDA none of it may make the device wait.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from .preview import Preview, as_jpeg


@dataclass(frozen=True)
class Step:
    """A finished evaluation of the transformer: `step` of `steps`, the noise level after it, a JPEG preview.

    `drawing`: seconds since the first evaluation began, so without loading and encoding.
    """

    step: int
    steps: int
    sigma: float
    preview: bytes | None
    drawing: float


class StepWatch:
    """The callback after each step: checks for NaN, measures, previews, reports.

    On CUDA nothing here waits for the step that has just been queued: its data is copied in the background and reported
    when the next step is queued, so the device never idles. Reports come no later for that, since the queue is one step
    ahead of the device anyway.
    """

    def __init__(
        self,
        scheduler: Any,
        steps: int,
        noise: torch.Tensor,
        preview: Preview | None,
        on_step: Callable[[Step], None],
        not_finite: Callable[[int], Exception],
        until: int | None = None,
    ) -> None:
        """`until`: the step (from 1) that is reported at once, since `on_step` raises then."""
        self._scheduler, self._steps, self._preview, self._on_step = scheduler, steps, preview, on_step
        self._not_finite = not_finite
        self._until = until
        self._cuda = noise.device.type == "cuda"
        self._before, self._sigmas = noise, []  # type: tuple[torch.Tensor, list[float]]
        self._waiting: _Reported | None = None
        self._clock, self._begin = _Clock(noise.device), time.perf_counter()
        self.milliseconds: list[float] = []

    def __call__(self, index: int, latents: torch.Tensor) -> None:
        """Record step `index` (from 0) and the latents after it."""
        if not self._sigmas:
            self._sigmas = [float(sigma) for sigma in self._scheduler.sigmas]
        sigma, after = self._sigmas[index : index + 2]
        clean = latents - after * ((latents - self._before) / (after - sigma))  # this step's direction, followed to 0
        pixels = None if self._preview is None else self._preview.pixels(clean)
        finite = torch.isfinite(latents).all()
        if self._cuda:
            finite = finite.to("cpu", non_blocking=True)
            pixels = None if pixels is None else pixels.to("cpu", non_blocking=True)
        now = _Reported(index + 1, after, finite, pixels, self._clock.mark())
        self._before = latents
        previous, self._waiting = self._waiting, now
        if self._cuda and previous is not None:
            self._report(previous)
        if not self._cuda or index + 1 == self._until:
            self.finish()

    def finish(self) -> None:
        """Report the last step, which is still waiting."""
        if self._waiting is not None:
            last, self._waiting = self._waiting, None
            self._report(last)

    def _report(self, step: _Reported) -> None:
        self.milliseconds.append(self._clock.since_last(step.mark))
        if not bool(step.finite):
            raise self._not_finite(step.number)
        preview = None if step.pixels is None else as_jpeg(step.pixels)
        drawing = round(time.perf_counter() - self._begin, 3)
        self._on_step(Step(step.number, self._steps, round(step.sigma, 6), preview, drawing))


@dataclass(frozen=True)
class _Reported:
    """A step that waits to be reported: whether it is finite, its preview's pixels, and the mark of its end."""

    number: int
    sigma: float
    finite: torch.Tensor
    pixels: torch.Tensor | None
    mark: Any


class _Clock:
    """Milliseconds between marks: wall time on a CPU, the device's own time on CUDA, where reading a mark waits."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.current_stream(device) if device.type == "cuda" else None
        self._last = self.mark()

    def mark(self) -> Any:
        """Now; on CUDA, when the device gets there."""
        if self._stream is None:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(self._stream)
        return event

    def since_last(self, mark: Any) -> float:
        """Wait until `mark` is past; return the time since the mark of the previous call."""
        if self._stream is not None:
            mark.synchronize()
            taken = float(self._last.elapsed_time(mark))
        else:
            taken = (mark - self._last) * 1e3
        self._last = mark
        return round(taken, 3)
