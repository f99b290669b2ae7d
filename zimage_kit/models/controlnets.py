"""ControlNet files on this disk, without loading them."""

from __future__ import annotations

from pathlib import Path

from ..errors import BadRequest


def weights_file(weights: Path) -> Path:
    """The .safetensors file of a ControlNet, given as a file or folder. Raises BadRequest for none or several."""
    files = [weights] if weights.is_file() else sorted(weights.glob("diffusion_pytorch_model*.safetensors"))
    if len(files) != 1 or files[0].suffix != ".safetensors":
        raise BadRequest(
            f"ControlNet {weights}" + ("" if weights.exists() else " does not exist"),
            expected="a .safetensors file, or a folder in diffusers' layout with one",
        )
    return files[0]
