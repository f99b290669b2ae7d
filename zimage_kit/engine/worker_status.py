"""WorkerStatus: the status of one process that draws, in plain values."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class WorkerStatus(BaseModel):
    """The status of one process that draws.

    Memory in bytes: `resident_bytes` of the weights (on a GPU: all that torch holds), `peak_bytes` the most since the
    last unload, `held` of each entry on the device by its name. `plan`: where the model is, predicted bytes and seconds
    (`Plan.facts`). `settings`: those that the user gave. `last_seen`:
    seconds since its last sign of life. `models`: names of the models on its disk; `fingerprints`: those of their
    files, by model name. `machine` identifies the disk that it sees.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    host: str
    pid: int
    state: Literal["idle", "loading", "running", "not answering", "closed"]
    device: str | None = None
    dtype: str | None = None
    model: str | None = None
    placement: str | None = None
    plan: dict[str, Any] = {}
    model_loads: int = 0
    load_seconds: float | None = None
    running: str | None = None
    resident_bytes: int = 0
    peak_bytes: int = 0
    held: dict[str, int] = {}
    settings: dict[str, str] = {}
    last_seen: float = 0.0
    models: tuple[str, ...] = ()
    fingerprints: dict[str, str] = {}
    machine: str = ""
