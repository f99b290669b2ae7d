"""`python -m zimage_kit.nano.train PIECE --state DIR`: run one piece of nano's training."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch
import torch._dynamo

from zimage_kit.nano import architecture
from zimage_kit.nano.train import (
    autoencoder,
    check,
    check_pose,
    controlnet,
    denoiser,
    distil,
    export,
    joints,
    judge,
    lora,
    upscaler,
)
from zimage_kit.nano.train.common import Setup

PIECES = {
    "autoencoder": autoencoder.run,
    "judge": judge.run,
    "denoiser": denoiser.run,
    "distil": distil.run,
    "controlnet": controlnet.run,
    "joints": joints.run,
    "upscaler": upscaler.run,
    "lora": lora.run,
}
# What turns a state folder into something else; these take --to.
OTHERS = (
    "begin", "check", "check-lora", "check-pose", "export", "export-lora", "export-pose", "export-upscaler"
)  # fmt: skip


def main() -> None:
    """Parse the command line and run the piece."""
    parser = argparse.ArgumentParser(prog="python -m zimage_kit.nano.train", description=__doc__)
    parser.add_argument("piece", choices=[*PIECES, *OTHERS])
    parser.add_argument("--state", type=Path, required=True, help="folder of checkpoints and log.jsonl")
    parser.add_argument("--seconds", type=float, default=240, help="time for this run (default 240)")
    parser.add_argument(
        "--total", type=float, help="time of the whole schedule, over several runs (default: --seconds)"
    )
    parser.add_argument(
        "--workers", type=int, default=max(1, (os.cpu_count() or 2) - 1), help="processes that draw scenes"
    )
    parser.add_argument("--batch", type=int, help="pictures a step (default: the piece's own)")
    parser.add_argument("--rate", type=float, help="denoiser: peak learning rate (default 2.2e-3; less to go on)")
    parser.add_argument("--no-compile", action="store_true", help="do without torch.compile")
    parser.add_argument("--steps", type=int, default=8, help="check, check-pose: sampler steps")
    parser.add_argument(
        "--pictures", type=int, default=512, help="check: pictures in each language; check-pose: in all"
    )
    parser.add_argument(
        "--to", type=Path, default=Path(), help="export, check: where results go; begin: exported weights"
    )
    given = parser.parse_args()
    given.state.mkdir(parents=True, exist_ok=True)
    torch._dynamo.config.recompile_limit = 64
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    setup = Setup(
        given.state,
        given.seconds,
        given.total or given.seconds,
        given.workers,
        not given.no_compile,
        device,
        given.batch,
        given.rate,
    )
    if not (given.state / "tokenizer").exists():
        architecture.tokenizer().save_pretrained(given.state / "tokenizer")
    if given.piece == "export":
        export.run(setup, given.to)
    elif given.piece == "begin":
        export.begin(setup, given.to)
    elif given.piece == "check":
        check.run(setup, given.to, given.pictures, given.steps)
    elif given.piece == "export-pose":
        controlnet.export(setup, given.to)
    elif given.piece == "export-upscaler":
        upscaler.export(setup, given.to)
    elif given.piece == "export-lora":
        lora.export(setup, given.to)
    elif given.piece == "check-lora":
        lora.check(setup, given.to)
    elif given.piece == "check-pose":
        check_pose.run(setup, given.to, given.pictures, given.steps)
    else:
        PIECES[given.piece](setup)


if __name__ == "__main__":
    main()
