"""Importing the package is free, and its public names are what they claim to be."""

from __future__ import annotations

import subprocess
import sys
import time

import zimage_kit as zk

HEAVY = ("torch", "diffusers", "transformers", "numpy", "PIL", "peft", "modelscope", "huggingface_hub")


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = run(f"import sys, zimage_kit; print([m for m in {HEAVY} if m in sys.modules])")
    assert loaded == "[]"


def test_connecting_and_naming_stages_loads_no_torch() -> None:
    code = "import sys, zimage_kit as zk; zk.connect(); dir(zk.stages); zk.connect().status()"
    loaded = run(f"{code}; print([m for m in ('torch', 'diffusers', 'transformers') if m in sys.modules])")
    assert loaded == "[]"


def test_importing_the_package_takes_no_time() -> None:
    def seconds(code: str) -> float:
        begin = time.perf_counter()
        run(code)
        return time.perf_counter() - begin

    # the best of several, against an interpreter that imports nothing: the machine may be busy with other tests
    bare = min(seconds("pass") for _ in range(5))
    ours = min(seconds("import zimage_kit") for _ in range(5))
    assert ours - bare < 0.6, f"import zimage_kit took {ours - bare:.2f} s; 0.3 s on an idle machine"


def test_all_is_sorted_complete_and_real() -> None:
    assert list(zk.__all__) == sorted(zk.__all__)
    assert set(dir(zk)) >= set(zk.__all__)
    for name in zk.__all__:
        assert getattr(zk, name) is not None


def test_stage_is_the_decorator_whatever_is_imported_first() -> None:
    assert (
        run("import zimage_kit.stages.stage, zimage_kit.session.session, zimage_kit as zk; print(zk.stage.__name__)")
        == "stage"
    )
    assert run("from zimage_kit import stage; print(callable(stage))") == "True"
