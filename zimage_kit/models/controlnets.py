"""ControlNet files on this disk, without loading them."""

from __future__ import annotations

from pathlib import Path

from ..errors import BadRequest
from ..files import check_allowed, expanded, is_there
from .spec import ModelSpec, controlnet_file


def weights_file(weights: Path) -> Path:
    """The .safetensors file of a ControlNet, given as a file or folder. Raises BadRequest for none or several."""
    files = [weights] if weights.is_file() else sorted(weights.glob("diffusion_pytorch_model*.safetensors"))
    if len(files) != 1 or files[0].suffix != ".safetensors":
        raise BadRequest(
            f"ControlNet {weights}" + ("" if weights.exists() else " does not exist"),
            expected="a .safetensors file, or a folder in diffusers' layout with one",
        )
    return files[0]


def chosen(spec: ModelSpec, given: Path | None, field: str) -> Path:
    """The ControlNet that a stage uses: the given file or folder, else the model's own. `field`: the stage's.

    Raises BadRequest if it does not exist or the model has none, and ModelMissing if its own is not on this disk.
    """
    if given is None:
        return controlnet_file(spec)
    check_allowed(given)
    path = expanded(given).absolute()
    if not is_there(path):
        raise BadRequest(f"{field}={given} does not exist", expected="a .safetensors file")
    return path


def warnings(spec: ModelSpec, given: Path | None, kind: str, scale: float, field: str) -> tuple[str, ...]:
    """Sentences on a use of the model's own ControlNet that it was not made for; none about a given file.

    `kind`: of control picture. `scale`: the strength that the stage's `field` has.
    """
    own, found = spec.controlnet, []
    if own is None or given is not None:
        return ()
    low, high = own.scales
    if not low <= scale <= high:
        found.append(f"{field}={scale:g} is outside of {low:g} to {high:g}, which this ControlNet was made for")
    if kind not in own.kinds:
        found.append(f"{spec.name}'s ControlNet was trained with {', '.join(own.kinds)}, so {kind} may guide it little")
    return tuple(found)
