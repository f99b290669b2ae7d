"""Models from files as people have them, at the full size: ComfyUI's three files, and GGUF of 4 bits; within 8 GiB too.

Random weights. Each is drawn from on the whole card and on one of 8 GiB, which `placement.py` makes of it: the pixels
have to be equal, and those of ComfyUI's files the model's own. Weights of a block are compared with what the `gguf`
package unpacks.

    python tests/gpu/files.py --output measured.json          a CUDA GPU with 32 GB, 65 GB of disk, 80 GB of RAM
    python tests/gpu/files.py --output measured.json --tiny   nano's size on any CPU, to try the script
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from full_size import full_size, tiny, write
from placement import measure, table
from safetensors.torch import save_file

from tests.models.layouts import comfyui, write_gguf
from zimage_kit.engine.load import Keeping, load_networks
from zimage_kit.models.assembled import add

BLOCK = "layers.3"
NETWORKS = ("transformer", "text_encoder", "vae")


def unpacked_alike(directory: Path, whole: dict[str, torch.Tensor]) -> bool:
    """Whether one block's weights are those that were unpacked, rounded once."""
    keeping = Keeping(torch.device("cpu"), torch.bfloat16)
    wanted = {"transformer": (keeping, lambda count: ("files",) * count)}
    network = load_networks(directory, wanted, lambda *_: None)["transformer"]
    found = dict(zip(network._names, network.blocks, strict=True))[BLOCK].whole()
    qkv = torch.cat([found[f"attention.to_{part}.weight"] for part in "qkv"])
    same = torch.equal(qkv, whole[f"{BLOCK}.attention.qkv.weight"].bfloat16())
    same &= torch.equal(found["feed_forward.w2.weight"], whole[f"{BLOCK}.feed_forward.w2.weight"].bfloat16())
    network.close()
    return same


def main() -> None:
    """Write the files, add the models, draw, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--folder", type=Path, help="where the files are kept; a temporary folder otherwise")
    parser.add_argument("--kinds", nargs="+", choices=("comfyui", "gguf"), default=("comfyui", "gguf"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder, small = options.folder or Path(temporary), options.tiny
        os.environ["ZIMAGE_MODELS"] = str(folder / "home")
        model, like = folder / "model", "nano" if small else "turbo"
        begin = time.perf_counter()
        if not model.exists():
            write(model, tiny() if small else full_size(), "15MB" if small else "5GB")
        own = measure(model, small, (0,), (), (), (), (128,) if small else (1024,), 1)["runs"]
        files = {name: [folder / f"{name}-{part}" for part in ("t", "e", "v")] for name in ("comfyui", "gguf")}
        for path, component in zip(files["comfyui"], NETWORKS, strict=True):
            if "comfyui" not in options.kinds and component != "vae":
                continue
            save_file(comfyui(component, model), path.with_suffix(".safetensors"))
        unpacked: dict[str, torch.Tensor] = {}
        for path, component in zip(files["gguf"], ("transformer", "text_encoder"), strict=False):
            if "gguf" not in options.kinds:
                break
            whole = write_gguf(component, path.with_suffix(".gguf"), ["Q4_K"], model)
            unpacked |= {name: value for name, value in whole.items() if name.startswith(f"{BLOCK}.attention.qkv")}
            unpacked |= {name: value for name, value in whole.items() if name.startswith(f"{BLOCK}.feed_forward.w2")}
            del whole
        print(f"wrote the files in {time.perf_counter() - begin:.0f} s", flush=True)
        found: dict[str, Any] = {"own": own}
        vae = files["comfyui"][2].with_suffix(".safetensors")
        for name in options.kinds:
            transformer, encoder, _ = files[name]
            ending = ".gguf" if name == "gguf" else ".safetensors"
            given = [transformer.with_suffix(ending), encoder.with_suffix(ending), vae]
            directory = add(name, given, like, model / "tokenizer").directory
            for component in NETWORKS:  # random networks are not configured as the published ones
                shutil.copy(model / component / "config.json", directory / component)
            measured = measure(directory, small, (0, 0.11 if small else 8), (), (), (), (128,) if small else (1024,), 1)
            found[name] = {"bytes": [path.stat().st_size for path in given], **measured}
            print(name, table(measured), sep="\n", flush=True)
        pictures = {
            name: {next(iter(run["pictures"].values()))["sha256"] for run in runs}
            for name, runs in [("own", own), *((name, found[name]["runs"]) for name in options.kinds)]
        }
        equal = found["equal"] = {}
        if "comfyui" in options.kinds:
            equal["ComfyUI's files as the model's own"] = len(pictures["own"] | pictures["comfyui"]) == 1
        if "gguf" in options.kinds:
            equal["GGUF on 8 GiB as on the whole card"] = len(pictures["gguf"]) == 1
            equal["GGUF unpacked as by the gguf package"] = unpacked_alike(folder / "home" / "gguf", unpacked)
        print(json.dumps(equal))
        options.output.write_text(json.dumps(found, indent=1))
        assert all(equal.values())


if __name__ == "__main__":
    main()
