"""Run by `report.py` in a separate process: imports the packages that drawing needs, and prints the result as JSON."""

from __future__ import annotations

import importlib
import json
import time

MODULES = ("torch", "torchvision", "diffusers", "transformers")


def probe() -> dict[str, object]:
    """Import each module; return the errors, the seconds, what torch says of CUDA and Apple's GPU, a rate."""
    start = time.perf_counter()
    errors: dict[str, str] = {}
    for name in MODULES:
        try:
            importlib.import_module(name)
        except Exception as error:  # a broken package may raise anything, and that is the finding
            errors[name] = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    facts: dict[str, object] = {}
    if "torch" not in errors:
        import torch

        from ..engine.machine import measured_rate

        facts["cuda_build"] = torch.version.cuda
        facts["cuda_usable"] = torch.cuda.is_available()
        facts["mps"] = torch.backends.mps.is_available()
        if not facts["cuda_usable"]:
            facts["compute_rate"] = measured_rate("mps" if facts["mps"] else "cpu")
    if "diffusers" not in errors:
        try:
            _ = importlib.import_module("diffusers").ZImagePipeline  # diffusers is lazy: only this imports the pipeline
        except Exception as error:
            errors["diffusers"] = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return {"errors": errors, "seconds": time.perf_counter() - start, **facts}


if __name__ == "__main__":
    print(json.dumps(probe()))
