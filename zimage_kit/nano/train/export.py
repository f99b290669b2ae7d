"""From a state folder to what users load: a stock pipeline directory in half precision, preview matrix, judge."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import ZImageControlNetModel, ZImagePipeline
from torch import Tensor
from torch.nn import functional as F
from transformers import Qwen2Tokenizer

from zimage_kit.nano import architecture, joints, packed, scenes, upscaler
from zimage_kit.nano import judge as judging
from zimage_kit.nano.train.common import Setup
from zimage_kit.nano.train.denoiser import Network


def parts(setup: Setup) -> dict[str, Any]:
    """Return the trained modules: the distilled student, unless the denoiser has gone on since; then its average."""
    kept, base, weights = (setup.load(name) for name in ("autoencoder", "denoiser", "distilled"))
    if weights is None or (base and base["step"] > weights.get("denoiser_step", 0)):
        weights = base
    if kept is None or weights is None:
        raise SystemExit("autoencoder.pt and denoiser.pt (or distilled.pt) are needed: train them first.")
    tokenizer = Qwen2Tokenizer.from_pretrained(setup.state / "tokenizer")
    network = Network(len(tokenizer))
    network.load_state_dict(weights["average"])
    vae = architecture.autoencoder(kept["scaling"], kept["shift"])
    vae.load_state_dict(kept["average"])
    return {
        "transformer": network.transformer.eval(),
        "text_encoder": network.text.eval(),
        "vae": vae.eval(),
        "tokenizer": tokenizer,
    }


def run(setup: Setup, target: Path) -> None:
    """Write everything to `target`; the matrix that turns latents into previews is fitted on 96 scenes."""
    made = parts(setup)
    architecture.write(target, made)
    matrix, bias = preview_matrix(made["vae"])
    (target / "latent_rgb.json").write_text(json.dumps({"matrix": matrix, "bias": bias}, indent=1) + "\n")
    judge = setup.load("judge")
    if judge is not None:
        packed.save(judge["average"], target / judging.FILE)
    for path in target.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    total = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    setup.note("export", bytes=total, largest=max(path.stat().st_size for path in target.rglob("*") if path.is_file()))


def begin(setup: Setup, source: Path) -> None:
    """Turn exported weights back into a state folder, so that a later day can go on from them.

    Denoiser and text encoder become both `denoiser.pt` and `distilled.pt`, with fresh optimizers and step 0. Where the
    lexicon has grown since, words that are new begin as the mean of the pieces that they fell into. What was trained
    beside them is taken along as far as it still has the same form: judge, ControlNet, joints and the 2x network.
    """
    pipeline = ZImagePipeline.from_pretrained(source, dtype=torch.float32, local_files_only=True)
    words = architecture.tokenizer()
    words.save_pretrained(setup.state / "tokenizer")
    network = Network(len(words))
    network.transformer.load_state_dict(pipeline.transformer.state_dict())
    text = pipeline.text_encoder.state_dict()
    text["embed_tokens.weight"] = _embeddings(pipeline.tokenizer, words, text["embed_tokens.weight"])
    network.text.load_state_dict(text)
    weights = network.state_dict()
    for name in ("denoiser", "distilled"):
        setup.save(name, _fresh(weights))
    config = pipeline.vae.config
    scale = {"scaling": config.scaling_factor, "shift": config.shift_factor}
    setup.save("autoencoder", {**_fresh(pipeline.vae.state_dict()), **scale})
    beside = source.parent
    for name, module, file in (
        ("judge", judging.Judge(), source / judging.FILE),
        ("joints", joints.Joints(), beside / "controlnet" / joints.FILE),
        ("upscaler", upscaler.Upscaler(), beside / "upscale" / upscaler.WEIGHTS.name),
    ):
        kept = packed.load(file) if file.exists() else {}
        if {n: v.shape for n, v in kept.items()} == {n: v.shape for n, v in module.state_dict().items()}:
            setup.save(name, _fresh(kept))
    if (beside / "controlnet").is_dir():
        setup.save("controlnet", _fresh(ZImageControlNetModel.from_pretrained(beside / "controlnet").state_dict()))
    setup.note("begin", source=source.name, words=len(words), before=len(pipeline.tokenizer))


def _fresh(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    return {"live": dict(weights), "average": dict(weights), "step": 0, "done": 0.0}


def _embeddings(before: Any, after: Any, rows: Tensor) -> Tensor:
    """Return a row (width,) for each token of `after`, from the rows of the tokens that `before` has for its text."""
    old, out = before.get_vocab(), rows.new_zeros(len(after), rows.shape[1])
    for token, at in after.get_vocab().items():
        ids = [old[token]] if token in old else before(after.decode([at]), add_special_tokens=False).input_ids
        out[at] = rows[ids].mean(0) if ids else rows.mean(0)
    return out


@torch.no_grad()
def preview_matrix(vae: Any) -> tuple[list[list[float]], list[float]]:
    """Return the least-squares (16 x 3 matrix, 3 offsets) from the sampler's latents to RGB in [-1, 1] at 1/8 size."""
    rows, colours = [], []
    for seed in range(96):
        x = torch.from_numpy(_array(scenes.render(scenes.sample(70_000_000 + seed, size=(256, 256)))))[None]
        z = (vae.encoder(x).chunk(2, 1)[0] - vae.config.shift_factor) * vae.config.scaling_factor
        rows.append(z[0].flatten(1).T)
        colours.append(F.avg_pool2d(x, 8)[0].flatten(1).T)
    a, b = torch.cat(rows), torch.cat(colours)
    solution = torch.linalg.lstsq(torch.cat((a, torch.ones(len(a), 1)), 1), b).solution
    return [[round(float(v), 5) for v in row] for row in solution[:16]], [round(float(v), 5) for v in solution[16]]


def _array(picture: Any) -> Any:
    import numpy as np

    return (np.asarray(picture, np.float32) / 127.5 - 1).transpose(2, 0, 1).copy()
