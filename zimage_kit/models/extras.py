"""Extras: weights that go with models and are downloaded by name, such as turbo's ControlNet and a pose detector."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from ..errors import ModelMissing
from .directories import models_dir


class Extra(BaseModel):
    """Weights that go with a model: some files of a hub repository, kept in `models_dir()`/name."""

    model_config = ConfigDict(frozen=True)

    name: str
    summary: str
    hub_ids: dict[str, str] = Field(description="modelscope and huggingface to repository ids")
    files: tuple[str, ...] = Field(description="paths in the repository, and in the folder")
    download_bytes: int
    license: str = Field("", description="as far as known: an SPDX identifier, or words")

    def directory(self) -> Path | None:
        """The folder on this disk that holds all of its files, or None."""
        place = models_dir() / self.name
        return place if all((place / file).is_file() for file in self.files) else None

    def require(self) -> Path:
        """Return its folder. Raises ModelMissing with the command that downloads it."""
        directory = self.directory()
        if directory is not None:
            return directory
        place = models_dir() / self.name
        raise ModelMissing(
            f"{self.summary} is not on this disk",
            expected=f"{', '.join(self.files)} ({self.download_bytes / 1e9:.1f} GB) in {place}",
            mend=f"Run: {self.command}",
            model=self.name,
            bytes=self.download_bytes,
            command=self.command,
        )

    @property
    def command(self) -> str:
        """The command that downloads it."""
        source = "" if "modelscope" in self.hub_ids else " --source huggingface"
        return f"zimage models download {self.name}{source}"


EXTRAS: dict[str, Extra] = {
    extra.name: extra
    for extra in (
        Extra(
            name="turbo-control",
            summary="turbo's ControlNet (pose, edges, depth; version 2.1 for 8 steps)",
            hub_ids={
                "modelscope": "PAI/Z-Image-Turbo-Fun-Controlnet-Union-2.1",
                "huggingface": "alibaba-pai/Z-Image-Turbo-Fun-Controlnet-Union-2.1",
            },
            files=("Z-Image-Turbo-Fun-Controlnet-Union-2.1-2602-8steps.safetensors",),
            download_bytes=6_700_000_000,
        ),
        Extra(
            name="turbo-tokenizer",
            summary="turbo's tokenizer, for weights that come without one",
            hub_ids={"modelscope": "Tongyi-MAI/Z-Image-Turbo", "huggingface": "Tongyi-MAI/Z-Image-Turbo"},
            files=("tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json"),
            download_bytes=11_400_000,
            license="apache-2.0",
        ),
        Extra(
            name="openpose",
            summary="OpenPose's detector, which finds people in a photo (non-commercial use only)",
            hub_ids={"huggingface": "lllyasviel/Annotators"},
            files=("body_pose_model.pth", "hand_pose_model.pth", "facenet.pth"),
            download_bytes=511_000_000,
            license="non-commercial use only",
        ),
    )
}
"""What `zimage models download NAME` knows beside models."""
