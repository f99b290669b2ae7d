"""A CUDA error that sticks: the job that met it fails, nobody waits, and the process says that it is of no more use."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.gpu

PROGRAM = """
import torch, zimage_kit as zk
from PIL import Image
from zimage_kit import Stage, stage

@stage
class Asserts(Stage):
    '''Reads beyond the end of a tensor on the device.'''
    kind = "asserts"
    def after(self, image, ctx):
        torch.arange(4, device="cuda")[torch.tensor([9], device="cuda")].sum().item()
        return image

session = zk.connect("inline", device="cuda")
small = dict(model="nano", width=64, height=64, steps=2, seed=1)
print("drawn", session.run("x", **small).trace.identity["device"].startswith("cuda"))
jobs = [session.submit("x", stages=stages, **small) for stages in ([Asserts()], [], [])]
for job in jobs:
    try:
        job.result(60)
        print("done")
    except zk.ZImageError as error:
        print(type(error).__name__)
try:
    session.run("x", **small)
except zk.ZImageError as error:
    print(type(error).__name__, "Restart" in str(error))
"""


def test_a_cuda_error_that_sticks_ends_every_job() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout.splitlines() == [
        "drawn True", "JobFailed", "SessionDied", "SessionDied", "SessionDied True",
    ], done.stderr  # fmt: skip
