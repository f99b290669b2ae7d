"""Examines this machine: a list of findings, each with what to do.

The calling process never imports torch. Packages are imported in a separate process (`probe.py`), so that a crash is a
finding and not the end of the report.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from ..engine import gpus
from ..engine.cards import Card, advise, advise_without_card, card_of, plan_for, plan_without_card
from ..engine.plan import Plan
from ..errors import INSTALL_ENGINE, OutOfMemory, engine_is_here
from ..library import store
from ..models import spec as models
from ..models.directories import added, missing_files
from ..recipe import word_lists
from ..session.shared import launch
from ..stages import extensions
from ..text import fonts

PACKAGES = ("pydantic", "pillow", "numpy", "tokenizers", "distributed", "modelscope", "huggingface_hub")
ENGINE = ("torch", "torchvision", "diffusers", "transformers", "safetensors", "spandrel")
OPTIONAL = {"jupyterlab": "notebook", "ipywidgets": "notebook", "controlnet-aux": "pose", "realesrgan": "realesrgan"}
PROBE_SECONDS = 120.0
TURBO_RAM = 20e9  # bytes; what a card with 4 GB leaves in RAM, and the system


@dataclass(frozen=True)
class Finding:
    """One thing that was checked. `verdict`: ok, note (worth knowing), warn (causes trouble), fail (does not work)."""

    area: str
    what: str
    saw: str
    verdict: str = "ok"
    mend: str = ""


@dataclass
class Report:
    """All findings, and `advice`: estimates for Z-Image-Turbo on the GPU."""

    findings: list[Finding] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)
    plan: dict[str, Any] | None = None

    @property
    def healthy(self) -> bool:
        """Whether pictures can be made: here, at least with nano, or by a light client in a session elsewhere."""
        return not any(f.verdict == "fail" for f in self.findings)

    def to_json(self) -> dict[str, Any]:
        """The whole report as JSON values."""
        return {
            "healthy": self.healthy,
            "findings": [asdict(f) for f in self.findings],
            "advice": self.advice,
            "advice_is_an_estimate": True,
            "plan": self.plan,
        }


def examine(card: Card | None = None, quick: bool = False) -> Report:
    """Examine this machine. If `card` is given, advise on it instead of this machine's GPU.

    `quick` skips importing the packages, which takes about ten seconds.
    """
    report = Report()
    report.findings += _system()
    report.findings += _packages()
    facts: dict[str, Any] = {}
    if not quick and engine_is_here():
        found, facts = _probe()
        report.findings += found
    cards, findings = _graphics()
    report.findings += findings
    report.findings += _session()
    report.findings += _models()
    report.findings += _extensions()
    report.findings += _letters_and_folders()
    if card is not None or cards:
        own = [card] if card is not None else cards
        report.plan = _facts(partial(plan_for, own[0]))
        report.advice = [line for each in own for line in advise(each)]
    else:
        kind, free = "mps" if facts.get("mps") else "cpu", psutil.virtual_memory().available
        report.plan = _facts(partial(plan_without_card, kind, free, facts.get("compute_rate", 0.0)))
        report.advice = advise_without_card(kind, free, facts.get("compute_rate", 0.0))
    if not engine_is_here():
        report.advice.insert(0, "Once the engine is installed:")
    return report


def _facts(made: Callable[[], Plan]) -> dict[str, Any] | None:
    """A plan as JSON values; None where Z-Image-Turbo does not fit."""
    try:
        return made().facts
    except OutOfMemory:
        return None


def _system() -> Iterator[Finding]:
    version = platform.python_version()
    old = sys.version_info < (3, 11)
    yield Finding("system", "Python", version, "fail" if old else "ok", "Install Python 3.11 or newer." if old else "")
    yield Finding("system", "platform", f"{platform.system()} {platform.release()} {platform.machine()}")
    memory = psutil.virtual_memory()
    small = memory.total < TURBO_RAM * 0.9
    yield Finding(
        "system",
        "memory",
        f"{memory.total / 1e9:.0f} GB, {memory.available / 1e9:.0f} GB free; {os.cpu_count()} CPU threads",
        "note" if small else "ok",
        "Enough for nano; what RAM does not hold of Z-Image-Turbo is read from the disk in each step." if small else "",
    )


def _packages() -> Iterator[Finding]:
    for name in (*PACKAGES, *(ENGINE if engine_is_here() else ())):
        version = _version(name)
        if version is None:
            yield Finding("packages", name, "missing", "fail", f"{_pip()} install {name}")
        else:
            yield Finding("packages", name, version)
    if not engine_is_here():
        saw = "not installed: this is a light client, which draws in a session elsewhere"
        yield Finding("packages", "engine", saw, "note", f"To draw here: {INSTALL_ENGINE}")
    for name, extra in OPTIONAL.items():
        version = _version(name)
        mend = "" if version else f"{_pip()} install {requirements_of(extra) or name}"
        yield Finding(
            "packages", name, version or f"not installed (optional: {extra})", "ok" if version else "note", mend
        )
    yield from torch_pair(_version("torch"), _version("torchvision"), _required_torch())


def requirements_of(extra: str) -> str:
    """The pip requirements of an optional extra, quoted for a shell, with those of extras that it brings.

    Empty if zimage_kit was not installed by pip. Not the extra's name, so that the command also works in a checkout.
    """
    try:
        lines = importlib.metadata.requires("zimage-kit") or []
    except importlib.metadata.PackageNotFoundError:
        return ""
    wanted = [Requirement(line) for line in lines]
    chosen, todo = [], [extra]
    while todo:
        name = todo.pop()
        for each in wanted:
            if each.marker and f'extra == "{name}"' in str(each.marker):
                todo += each.extras
                chosen += [] if each.extras else [f'"{each.name}{each.specifier}"']
    return " ".join(chosen)


def torch_pair(torch: str | None, torchvision: str | None, required: str | None) -> Iterator[Finding]:
    """Check that torch and torchvision match. `required`: the torch versions that torchvision requires.

    A pair from two indexes fails on import: "operator torchvision::nms does not exist".
    """
    if torch is None or torchvision is None:
        return
    pair = f"torch {torch} and torchvision {torchvision}"
    mend = f"{_pip()} install --upgrade --force-reinstall torch torchvision   (both from one index)"
    builds = [Version(version).local for version in (torch, torchvision)]  # `cpu`, `cu128`, None
    if required is not None and not SpecifierSet(required).contains(Version(torch).base_version, prereleases=True):
        yield Finding("packages", "torch and torchvision", f"{pair}, which requires torch {required}", "fail", mend)
    elif builds[0] != builds[1]:
        yield Finding("packages", "torch and torchvision", f"{pair} come from two indexes", "fail", mend)
    else:
        yield Finding("packages", "torch and torchvision", "match")


def _probe() -> tuple[list[Finding], dict[str, Any]]:
    """Findings about imports, and what `probe.py` found."""
    facts: dict[str, Any] = {}
    command = [sys.executable, "-W", "ignore", "-m", "zimage_kit.doctor.probe"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_SECONDS, check=False)
        facts = json.loads(done.stdout.strip().splitlines()[-1])
    except subprocess.TimeoutExpired:
        late = f"not imported within {PROBE_SECONDS:.0f} s"
        return [Finding("imports", "packages", late, "warn", "Is the disk very slow?")], facts
    except (ValueError, IndexError):
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        mend = f"{_pip()} install --upgrade --force-reinstall torch torchvision"
        ended = f"Python ended with status {done.returncode}: {last}"
        return [Finding("imports", "packages", ended, "fail", mend)], facts
    return list(_imported(facts)), facts


def _imported(facts: Mapping[str, Any]) -> Iterator[Finding]:
    for name, error in facts["errors"].items():
        yield Finding("imports", name, error, "fail", f"{_pip()} install --upgrade --force-reinstall {name}")
    if not facts["errors"]:
        yield Finding("imports", "packages", f"all import, in {facts['seconds']:.1f} s")
    if built := facts.get("cuda_build"):
        yield Finding("graphics", "torch's CUDA", built)
    if facts.get("mps"):
        yield Finding("graphics", "Apple GPU", "torch can use it", "note", "Not measured by this project.")
    yield from cuda_agrees(facts.get("cuda_build"), facts.get("cuda_usable", False), bool(gpus.list_gpus()[0]))


def cuda_agrees(build: str | None, usable: bool, card: bool) -> Iterator[Finding]:
    """Check that torch can use the card that the driver sees."""
    if card and build is None:
        yield Finding(
            "graphics", "CUDA in torch", "this torch was built without CUDA, so it does not use the card", "warn",
            f"{_pip()} install --upgrade --force-reinstall torch torchvision   (on Windows see pytorch.org)",
        )  # fmt: skip
    elif card and not usable:
        yield Finding(
            "graphics", "CUDA in torch", f"torch (CUDA {build}) cannot use the card", "warn",
            "The driver is probably too old: update the NVIDIA driver, or install a torch for an older CUDA.",
        )  # fmt: skip
    elif card:
        yield Finding("graphics", "CUDA in torch", "usable")


def _graphics() -> tuple[list[Card], list[Finding]]:
    found, why = gpus.list_gpus()
    if not found:
        return [], [Finding("graphics", "NVIDIA card", why, "note")]
    findings = [Finding("graphics", "driver", found[0].driver)]
    cards = []
    for gpu in found:
        cards.append(card_of(gpu.name, round(gpu.total / 2**30), bfloat16=gpu.bfloat16))
        saw = f"{gpu.total / 1e9:.1f} GB, {gpu.used / 1e9:.1f} GB in use"
        if gpu.holders:
            saw += ": " + ", ".join(f"{h.command} (pid {h.pid}) {h.bytes / 1e9:.1f} GB" for h in gpu.holders)
        heavy = gpu.used > 0.25 * gpu.total
        mend = "`zimage session unload` frees what your session holds." if heavy else ""
        findings.append(Finding("graphics", gpu.name, saw, "warn" if heavy else "ok", mend))
        findings.append(
            Finding("graphics", "bfloat16", "yes")
            if gpu.bfloat16
            else Finding("graphics", "bfloat16", "no", "warn", "It computes in fp32; fp16 would give black pictures.")
        )
    return cards, findings


def _session() -> Iterator[Finding]:
    if launch.WINDOWS:
        yield Finding("session", "shared", "not on native Windows", "note", launch.WINDOWS_SAYS)
    elif launch.runs():
        yield Finding("session", "shared", f"running; its log is {launch.state_folder() / launch.LOG}")
    else:
        attach = "ZIMAGE_SESSION=…/scheduler.json attaches to one elsewhere"
        then = "zk.connect() starts it" if engine_is_here() else attach
        yield Finding("session", "shared", f"not running; {then}")


def _models() -> Iterator[Finding]:
    for spec in models.known().values():
        place = spec.directory()
        if place is not None:
            yield Finding("models", spec.name, str(place))
        elif spec.path is not None and spec.name != models.NANO.name:
            mend = f"zimage models remove {spec.name}" if spec.name in added() else "complete the folder"
            missing = ", ".join(missing_files(spec.path))
            yield Finding("models", spec.name, f"lacks {missing}", "fail", f"Put them back, or {mend}.")
        elif not spec.hub_ids:
            yield Finding(
                "models", spec.name, "files are missing", "fail", f"{_pip()} install --force-reinstall zimage-kit"
            )
        else:
            mend = f"zimage models download {spec.name}"
            yield Finding("models", spec.name, f"not on this disk ({spec.download_bytes / 1e9:.0f} GB)", "note", mend)
    yield Finding("models", "default", models.default_model())
    folder = models.models_dir()
    free = models.free_bytes(folder)
    tight = free < 50e9
    mend = "Z-Image-Turbo needs 50 GB; ZIMAGE_MODELS names another folder." if tight else ""
    yield Finding("models", "free disk", f"{free / 1e9:.0f} GB at {folder}", "note" if tight else "ok", mend)


def _letters_and_folders() -> Iterator[Finding]:
    font = fonts.cjk_font()
    yield (
        Finding("fonts", "Chinese", str(font))
        if font
        else Finding("fonts", "Chinese", "no font with Chinese characters", "warn", fonts.MEND)
    )
    folder = store.outputs_dir()
    exists = next(p for p in (folder, *folder.parents) if p.is_dir())
    writable = os.access(exists, os.W_OK)
    yield Finding(
        "outputs", "folder", str(folder), "ok" if writable else "fail",
        "" if writable else "Not writable: choose another with ZIMAGE_OUTPUTS.",
    )  # fmt: skip
    lists = len(word_lists.word_lists())
    yield Finding("word lists", "folder", f"{word_lists.folder()}, {lists} list{'s' * (lists != 1)}")


def _extensions() -> Iterator[Finding]:
    for extension in extensions.discover():
        if extension.problem:
            yield Finding("extensions", extension.name, extension.problem, "warn", "Skipped; the others work.")
        elif extension.missing:
            saw = f"needs {', '.join(extension.missing)}"
            yield Finding("extensions", extension.name, saw, "note", extension.install)
        else:
            yield Finding("extensions", extension.name, ", ".join(extension.stages) or "no stages")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _required_torch() -> str | None:
    """The torch versions that the installed torchvision requires, as `==2.15.0` or `>=2.14`."""
    try:
        wants = [Requirement(line) for line in importlib.metadata.requires("torchvision") or []]
    except importlib.metadata.PackageNotFoundError:
        return None
    return next((str(want.specifier) for want in wants if want.name == "torch"), None)


def _pip() -> str:
    """The command for this environment's pip, as the user would type it."""
    own = Path(sys.executable)
    return f"{own.relative_to(Path.cwd())} -m pip" if own.is_relative_to(Path.cwd()) else f"{own} -m pip"
