"""ControlNets: loaded once, kept beside the transformer, acting on chosen steps only.

In diffusers a ControlNet shares the transformer's embedders and refiners, so both stay on one device: moving the
ControlNet alone would move half of the transformer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import safe_open

from ..errors import BadRequest, JobFailed
from ..files import content_digest, parsed_json
from ..models.controlnets import weights_file
from ..models.directories import CONTROL_BLOCK_LISTS, ComponentSize, component_size
from ..models.hub_network import hugging_face
from ..models.weights import in_files
from ..recipe.request import explain
from ..stages.stage import ControlNetInput
from .autoencoder import pixels
from .denoise import ControlCondition, encode
from .fill import fill
from .flat_controlnet import flatten
from .load import Home, Network, without_memory
from .residency import Residency

CONFIG, NAME = "config.json", "controlnet"
_Place = Annotated[int, Field(ge=0, lt=1000)]
_Side = Annotated[int, Field(gt=0, lt=1 << 20)]


class Layout(BaseModel):
    """The arguments of diffusers' ZImageControlNetModel, with its own values for what a config.json leaves out."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    control_layers_places: list[_Place] = Field(min_length=1)
    control_refiner_layers_places: list[_Place] | None = None
    control_in_dim: _Side
    add_control_noise_refiner: Literal["control_layers", "control_noise_refiner"] | None = None
    all_patch_size: list[_Side] = [2]
    all_f_patch_size: list[_Side] = [1]
    dim: _Side = 3840
    n_refiner_layers: _Place = 2
    n_heads: _Side = 30
    n_kv_heads: _Side = 30
    norm_eps: float = 1e-5
    qk_norm: bool = True


def kept_as(control: ControlNetInput) -> str:
    """The name of its network in the residency, from the file's content."""
    return f"{NAME} {content_digest(weights_file(control.weights))}"


def extent(controls: Sequence[ControlNetInput]) -> tuple[ComponentSize, int]:
    """What their networks hold together, and how many results are kept while those of another one are made."""
    sizes = [component_size([file]) for file in {weights_file(control.weights): None for control in controls}]
    blocks = tuple(block for size in sizes for block in size.blocks)
    together = ComponentSize(blocks, sum(size.rest for size in sizes), max((size.width for size in sizes), default=0))
    return together, max((len(size.blocks) for size in sizes), default=0) if len(controls) > 1 else 0


class ControlNets:
    """The ControlNets of one resident pipeline (`pipe` gives diffusers'): those that the last picture used."""

    def __init__(self, pipe: Callable[[], Any], vae: Any, residency: Residency, transformer: Network) -> None:
        self._pipe, self._vae, self._residency, self._transformer = pipe, vae, residency, transformer

    def load(self, controls: Sequence[ControlNetInput], steps: int, home: Home) -> tuple[list[Any], list[str]]:
        """Return each control's network and a sentence about it for the trace. Unloads first what none of them uses.

        `home`: where all of its blocks are. Controls with the same file share a network.

        Raises BadRequest for a file that is not a ControlNet, or is one for another model.
        """
        wanted = {kept_as(control) for control in controls}
        for each in self._residency.entries:
            if each.kind == "controlnet" and each.name not in wanted:
                self._residency.drop(each.name)
        found = [self._loaded(control, steps, home) for control in controls]
        return [network for network, _ in found], [about for _, about in found]

    def _loaded(self, control: ControlNetInput, steps: int, home: Home) -> tuple[Any, str]:
        file, name = weights_file(control.weights), kept_as(control)
        held = self._residency.get(name)
        if held is None:
            held = self._load(file, home)
            self._residency.put(name, "controlnet", held, held[0].device_bytes, held[0].close)
        network, about = held
        network.place((home,) * len(network.blocks))
        acting = control.acts_on(steps)
        when = f"steps {acting.start + 1} to {acting.stop} of {steps}" if acting else "no step"
        return network.module, f"ControlNet {file.name}: scale {control.scale:g} on {when}; {about}"

    def condition(self, control: ControlNetInput, steps: int, network: Any) -> ControlCondition:
        """The control as a condition for `denoise`; `network` comes from `load`."""
        hint = self._hint(control.picture, network).to(self._transformer.device, self._transformer.dtype)
        split = "second" in self._transformer.homes
        where = (lambda block: self._transformer.home_of(f"layers.{block}")) if split else None
        return ControlCondition(network, hint, control.scale, control.acts_on(steps), where)

    def _hint(self, picture: Image.Image, network: Any) -> torch.Tensor:
        """The control picture as the network's input, [1, control_in_dim, 1, height / 8, width / 8]."""
        vae = self._vae
        # in diffusers' memory layout: convolutions round differently in another one
        hint = encode(vae, pixels(picture).contiguous().to(vae.device, vae.dtype)).unsqueeze(2)
        missing = network.config.control_in_dim - hint.shape[1]
        if not missing:
            return hint
        zeros = torch.zeros((1, missing, *hint.shape[2:]), device=hint.device, dtype=hint.dtype)
        return torch.cat([hint, zeros], dim=1)

    def _load(self, file: Path, home: Home) -> tuple[Network, str]:
        """The network on the device, joined to the transformer, and a sentence about its layout."""
        hugging_face()  # before what cannot be imported where HF_ENDPOINT ends in a blank
        import diffusers  # which takes seconds

        joined_to = self._pipe().transformer
        transformer = joined_to.config
        config, about = configuration(file, transformer.n_layers)
        if config["dim"] != transformer.dim or max(config["control_layers_places"]) >= transformer.n_layers:
            raise BadRequest(
                f"ControlNet {file} is {config['dim']} wide with layers {config['control_layers_places']}",
                expected=f"one for this model: {transformer.dim} wide, {transformer.n_layers} layers",
                mend="Use the model that it was made for, or another file.",
            )
        try:
            module = without_memory(lambda: diffusers.ZImageControlNetModel(**config))
        except Exception as error:  # numbers that do not fit one another end in any
            raise BadRequest(f"ControlNet {file} has a layout that cannot be built ({error})", mend=AGAIN) from None
        joined = self._transformer
        network = Network(NAME, module, joined.keeping, CONTROL_BLOCK_LISTS, joined.streamer)
        network.allocate((home,) * len(network.blocks))
        places = {number: place for place, number in enumerate(_numbers(_shapes(file), "control_layers"))}

        def renamed(name: str) -> str:
            """A file may call its layers by the transformer's: 0, 10, 20."""
            number = _number(name, "control_layers")
            return name if number is None else f"control_layers.{places[number]}.{name.split('.', 2)[2]}"

        try:
            fill(in_files([file], renamed), network, lambda done: None)
        except JobFailed as error:
            raise BadRequest(
                f"ControlNet {file} has weights that do not fit its layout ({error.seen})", mend=AGAIN
            ) from None
        network.settle()
        module.eval().requires_grad_(False)
        flatten(module)
        diffusers.ZImageControlNetModel.from_transformer(module, joined_to)
        return network, about


AGAIN = "Download it again."


def configuration(file: Path, layers: int = 30) -> tuple[dict[str, Any], str]:
    """ZImageControlNetModel's arguments for a file, and a few words on where they come from. Uses no network access.

    They come from a config.json beside the file, else from the names and shapes of its weights: version 1.0 has six
    control layers and plain refiners; 2.1 has fifteen and its own refiners; its lite variant has three. The names say
    which of the transformer's `layers` they belong to; otherwise they are spread evenly, as in all configurations that
    the authors published. Raises BadRequest for a file of another kind.
    """
    beside = file.parent / CONFIG
    if beside.is_file() and (layout := _layout(beside)) is not None:
        return layout.model_dump(), f"layers {layout.control_layers_places} by its config.json"
    shapes = _shapes(file)
    embedder = shapes.get("control_all_x_embedder.2-1.weight", [])
    numbers = _numbers(shapes, "control_layers")
    head = shapes.get(f"control_layers.{numbers[0]}.attention.norm_q.weight", []) if numbers else []
    if len(embedder) != 2 or len(head) != 1 or not 0 < head[0] <= embedder[0]:
        raise BadRequest(f"{file} is not a Z-Image ControlNet", expected="weights named control_layers.…")
    dim, width = embedder
    if len(numbers) > layers:
        raise BadRequest(f"{file} has {len(numbers)} control layers", expected=f"at most the model's {layers}")
    evenly = list(range(0, layers, layers // len(numbers)))[: len(numbers)]
    places = numbers if numbers != list(range(len(numbers))) else evenly
    refiners = len(_numbers(shapes, "control_noise_refiner"))
    own = any(key.startswith("control_noise_refiner.") and ".before_proj." in key for key in shapes)
    heads = dim // head[0]
    config = {
        "control_layers_places": places,
        "control_refiner_layers_places": list(range(refiners)) if own else None,
        "control_in_dim": width // 4,  # patches of 2x2
        "add_control_noise_refiner": "control_noise_refiner" if own else None,
        "dim": dim,
        "n_refiner_layers": refiners,
        "n_heads": heads,
        "n_kv_heads": heads,
    }
    return config, f"layers {places} by its weights"


def _layout(beside: Path) -> Layout | None:
    """What a config.json says; None if it is not a ControlNet's. Raises BadRequest for one that says nothing usable."""
    try:
        found = parsed_json(beside.read_bytes())
        if not isinstance(found, dict):
            raise ValueError("no JSON object")
        config = {key: value for key, value in found.items() if not key.startswith("_")}
        return Layout(**config) if "control_layers_places" in config else None
    except ValidationError as error:
        reason = explain(error, Layout.model_fields).seen
    except (OSError, ValueError) as error:
        reason = str(error)
    raise BadRequest(f"the ControlNet's {beside} cannot be used ({reason})", mend=AGAIN)


def _shapes(file: Path) -> dict[str, list[int]]:
    """The name and shape of every tensor, from the file's header."""
    try:
        with safe_open(file, framework="pt") as weights:
            return {key: list(weights.get_slice(key).get_shape()) for key in weights.keys()}  # noqa: SIM118  no dict
    except Exception as error:  # safetensors raises its own and OSError
        raise BadRequest(f"ControlNet {file} cannot be read ({error})", mend=AGAIN) from None


def _numbers(names: Iterable[str], part: str) -> list[int]:
    return sorted({number for name in names if (number := _number(name, part)) is not None})


def _number(name: str, part: str) -> int | None:
    """Of which of its blocks a weight is; numbers of more digits are nobody's."""
    found = re.match(rf"{part}\.(\d{{1,4}})\.", name)
    return int(found[1]) if found else None
