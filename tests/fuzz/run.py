"""Fuzzes what reads files and texts of others, guided by the branches that an input reaches (atheris: libFuzzer).

    python -m tests.fuzz.run                         every target, two minutes each
    python -m tests.fuzz.run gguf pose --minutes 10
    python -m tests.fuzz.run --keep found            inputs that reach new branches stay in found/<target>/

Begins with the inputs in tests/fuzz/seeds/<target>/. What a reader takes wrongly is written to found/<target>/ under a
name that begins with "broken-", once for each place where it went wrong, and the run goes on. Mend it, and keep the
input as a seed if it is small. Needs atheris (`pip install atheris`), which no test does.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(Path(__file__).parent))  # the targets, under the names that tests have for them
LONGEST = 1 << 16
"""Bytes of an input."""
HANGS, MOST_MEMORY = 30, 3000
"""Seconds and megabytes at which libFuzzer ends the run."""


def main() -> int:
    """Every target after the other, each in a process of its own; prints a Markdown table. 1 if anything is broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--minutes", type=float, default=2.0, help="for each target")
    parser.add_argument("--keep", type=Path, default=ROOT / ".fuzz", help="a folder for what is found")
    parser.add_argument("--seed", type=int, default=0, help="of the fuzzer's choices; 0: another one each time")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        fuzz(chosen.targets[0], chosen.keep, chosen.minutes, chosen.seed)
    from targets import TARGETS

    if strange := [name for name in chosen.targets if name not in TARGETS]:
        parser.error(f"no target {strange[0]}; there are {', '.join(TARGETS)}")
    print("| target | minutes | runs | branches | broken |\n|---|---|---|---|---|", flush=True)
    broken = 0
    for name in chosen.targets or TARGETS:
        broken += _in_a_process(name, chosen.keep, chosen.minutes, chosen.seed)
    return 1 if broken else 0


def _in_a_process(name: str, keep: Path, minutes: float, seed: int) -> int:
    """Fuzz one target, print its line, and return how many ways it was broken in."""
    command = [sys.executable, "-m", "tests.fuzz.run", "--one", name, "--keep", str(keep)]
    command += ["--minutes", str(minutes), "--seed", str(seed)]
    keep.mkdir(parents=True, exist_ok=True)
    log = keep / f"{name}.log"
    with log.open("w") as out:
        done = subprocess.run(command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, check=False)
    text = log.read_text(errors="replace")
    runs = re.findall(r"^#(\d+)", text, re.MULTILINE)
    branches = re.findall(r" cov: (\d+)", text)
    found = sorted((keep / name).glob("broken-*"))
    told = ", ".join(path.name.removeprefix("broken-") for path in found) or "none"
    ended = "" if "Done " in text else f"; ended with {done.returncode}, see {log}"
    print(f"| {name} | {minutes:g} | {(runs or [0])[-1]} | {(branches or [0])[-1]} | {told}{ended} |", flush=True)
    return len(found)


def fuzz(name: str, keep: Path, minutes: float, seed: int) -> None:
    """Fuzz one target in this process, which ends with it."""
    import atheris
    import bounds
    import targets

    one, corpus = targets.TARGETS[name], keep / name
    corpus.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="zimage-fuzz-"))
    os.environ |= bounds.prepare(folder)
    with atheris.instrument_imports(include=["zimage_kit", "zimage_extensions", *one.packages]):
        _import_all(one, folder)
    known: set[str] = {path.name.rpartition("-")[0] for path in corpus.glob("broken-*")}

    def run(data: bytes) -> None:
        try:
            with bounds.bounded():
                one.read(data, folder)
        except Exception as error:
            place = _place(error)
            if place not in known:
                known.add(place)
                (corpus / f"{place}-{hashlib.sha256(data).hexdigest()[:8]}").write_bytes(data)
                traceback.print_exc()

    seeds = str(bounds.SEEDS / name)
    arguments = [sys.argv[0], f"-max_total_time={round(60 * minutes)}", f"-max_len={LONGEST}", f"-timeout={HANGS}"]
    arguments += [f"-rss_limit_mb={MOST_MEMORY}", f"-artifact_prefix={corpus}/broken-", f"-seed={seed}"]
    arguments += ["-print_final_stats=1", str(corpus), *([seeds] if Path(seeds).is_dir() else [])]
    atheris.Setup(arguments, run)
    try:
        atheris.Fuzz()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _import_all(one: object, folder: Path) -> None:
    """Run a target on nothing and on its seeds once, so that what it imports is imported with its branches counted."""
    from bounds import Target

    assert isinstance(one, Target)
    for data in (b"{}", *(path.read_bytes() for path in one.seeds())):
        try:
            one.read(data, folder)
        except Exception:
            traceback.print_exc()


def _place(error: BaseException) -> str:
    """broken-<kind of error>-<module>-<line>: where it came from, in our own code."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if str(ROOT) in frame.filename] or frames
    where = f"{Path(own[-1].filename).stem}-{own[-1].lineno}"
    return f"broken-{type(error).__name__}-{where}"


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
