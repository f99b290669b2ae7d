"""Importing the package is free, and its public names are what they claim to be."""

from __future__ import annotations

import json
import subprocess
import sys

import zimage_kit as zk

HEAVY = ("torch", "diffusers", "transformers", "numpy", "PIL", "peft", "modelscope", "huggingface_hub")
PYDANTIC = ("pydantic", "pydantic_core", "annotated_types", "typing_extensions", "typing_inspection")


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = run(f"import sys, zimage_kit; print([m for m in {HEAVY} if m in sys.modules])")
    assert loaded == "[]"


def test_connecting_and_naming_stages_loads_no_torch() -> None:
    code = "import sys, zimage_kit as zk; zk.connect(); dir(zk.stages); zk.connect().status()"
    loaded = run(f"{code}; print([m for m in ('torch', 'diffusers', 'transformers') if m in sys.modules])")
    assert loaded == "[]"


def test_importing_the_package_brings_pydantic_only() -> None:
    """And few modules of ours: 0.3 s on an idle machine, nearly all pydantic's. A clock would tell how busy that is."""
    names = "{name.partition('.')[0] for name in sys.modules if getattr(sys.modules[name], '__file__', None)}"
    before, after = (
        set(json.loads(run(f"import json, sys; {code}; print(json.dumps(list({names})))")))
        for code in ("pass", "import zimage_kit")
    )
    of_python = ("__editable__", "_sysconfigdata")
    brought = {name for name in after - before - sys.stdlib_module_names if not name.startswith(of_python)}
    assert {"zimage_kit"} < brought <= {"zimage_kit", *PYDANTIC}
    ours = run("import sys, zimage_kit; print(sum(name.startswith('zimage_kit') for name in sys.modules))")
    assert int(ours) <= 12


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
