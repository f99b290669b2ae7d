"""Upscale: enlarge the finished picture 2x or 4x with a super-resolution network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from zimage_kit import Context, Field, Request, Stage, stage
from zimage_kit.errors import BadRequest, UnknownModel
from zimage_kit.files import content_digest
from zimage_kit.models.spec import default_model, resolve
from zimage_kit.recipe.picture import bled

from . import networks

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Upscale", "networks"]


@stage
class Upscale(Stage):
    """Enlarge by a network (Real-ESRGAN's x2plus, nano's own small one, or any file that spandrel knows)."""

    kind = "upscale"
    identity: ClassVar[dict[str, Any]] = {"factor": 1}

    factor: Literal[1, 2, 4] = Field(2, description="how many times as large; 1 changes nothing")
    weights: str | None = Field(
        None,
        min_length=1,
        description="x2plus (67 MB, fetched once), nano (for nano's pictures), or a network's file "
        "[default: nano for nano's pictures, else x2plus]",
    )
    engine: Literal["spandrel", "realesrgan"] = Field(
        "spandrel", description="what runs the network: spandrel, or the package realesrgan (the same picture)"
    )
    tile: int | None = Field(
        None,
        ge=64,
        le=4096,
        description="side of a tile in pixels of the smaller picture [default: 512; smaller ones need less memory]",
    )
    precision: Literal["auto", "float32"] = Field(
        "auto", description="auto computes in float16 on CUDA where the architecture allows it; float32 always works"
    )

    def resolved(self, request: Request) -> Stage:
        """The same with the network named, so that the recipe is explicit."""
        if self.weights is not None:
            known = self.weights in ("nano", "x2plus")
            return self if known else self.model_copy(update={"weights": str(networks.file_of(self.weights))})
        try:
            family = resolve(request.model or default_model()).family
        except UnknownModel:  # a picture from elsewhere; only nano's have a network of their own
            family = ""
        return self.model_copy(update={"weights": "nano" if family == "nano" else "x2plus"})

    def check(self, request: Request) -> tuple[str, ...]:
        """Check that the file exists or can be downloaded, and that the engine is installed."""
        weights = self.weights or "x2plus"
        if self.factor == 1:
            return ()
        if weights != "x2plus" and not networks.file_of(weights).is_file():
            raise BadRequest(
                f"upscale.weights={weights} does not exist", expected="nano, x2plus or a file with a network"
            )
        if self.engine == "realesrgan" and (problem := networks.missing_realesrgan()):
            raise BadRequest(problem)
        if weights == "x2plus" and not networks.file_of(weights).is_file():
            return (f"upscale fetches {networks.X2PLUS} ({networks.X2PLUS_BYTES / 1e6:.0f} MB), once",)
        return ()

    def depends(self, request: Request) -> dict[str, str]:
        """The network's file (what x2plus holds is known before it is fetched) and the engine that runs it."""
        if self.factor == 1:
            return {}
        weights = self.weights or "x2plus"
        file = networks.file_of(weights)
        held = networks.X2PLUS_SHA256[:16] if weights == "x2plus" else content_digest(file) if file.is_file() else ""
        return {"weights": held, "engine": f"{self.engine} {networks.engine_version(self.engine)}"}

    def after(self, image: Image.Image, ctx: Context) -> Image.Image:
        """The picture exactly `factor` times as large; an alpha channel is interpolated."""
        if self.factor == 1:
            return image.copy()
        if self.engine == "realesrgan" and (problem := networks.missing_realesrgan()):
            raise BadRequest(problem)
        import torch
        from PIL import Image as Pictures

        from . import tiles

        whole = self.resolved(ctx.request)
        assert isinstance(whole, Upscale)
        file = networks.fetched(whole.weights or "x2plus", ctx.progress)
        key = f"{file} {file.stat().st_mtime_ns} {self.engine} {ctx.device}"
        network = ctx.hold(key, lambda: networks.load(file, self.engine, ctx.device))
        if network.scale < self.factor:
            raise BadRequest(
                f"upscale.factor={self.factor} with a network that enlarges {network.scale} times",
                mend=f"Take factor={network.scale}, or apply the stage twice.",
            )
        half = self.precision == "auto" and network.half and ctx.device.startswith("cuda")
        dtype = torch.float16 if half else torch.float32
        enlarged, how = tiles.enlarge(
            bled(image),
            network,
            ctx.device,
            dtype,
            self.tile,
            ctx.check,
            lambda text: ctx.progress(f"upscale: {text}"),
        )
        size = (image.width * self.factor, image.height * self.factor)
        shrunk = f", resized to {self.factor}x" if enlarged.size != size else ""
        if shrunk:
            enlarged = enlarged.resize(size, Pictures.Resampling.LANCZOS)
        ctx.note(f"upscale: {file.name} ({networks.checksum(file)}), {network.about}{shrunk}; {how}")
        if image.mode == "RGBA":
            enlarged.putalpha(image.getchannel("A").resize(size, Pictures.Resampling.LANCZOS))
        return enlarged
