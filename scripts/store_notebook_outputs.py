"""Run notebooks top to bottom and keep their outputs in them, so that a reader on the web sees the pictures.

Execution times and the folders of this machine are left out. The notebooks of one language share a session, which is
ended afterwards, and an outputs folder, so that later ones find the pictures of earlier ones. Those in `zh/` are run in
Chinese, as their readers see them.

    python scripts/store_notebook_outputs.py notebooks/01_first_picture.ipynb
"""

from __future__ import annotations

import base64
import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

WIDE, HIGH = 420, 300
"""Pixels: a contact sheet keeps its width, a single picture its height."""
QUALITY = 36
"""Of the JPEG: nano's flat colours bear it, and all notebooks together stay below half a megabyte."""


def shrink(data: dict[str, str]) -> None:
    """Keep one picture of an output, as a JPEG that a reader on the web loads quickly."""
    if "image/jpeg" in data:
        data.pop("image/png", None)
        coarse = io.BytesIO()
        with Image.open(io.BytesIO(base64.b64decode(data["image/jpeg"]))) as picture:
            picture.thumbnail((WIDE, HIGH))
            picture.save(coarse, "JPEG", quality=QUALITY, optimize=True, progressive=True)
        data["image/jpeg"] = base64.b64encode(coarse.getvalue()).decode()


def run_and_store(path: Path, home: Path) -> None:
    """Execute one notebook in a kernel of its own, `home` for ~/zimage; written back only when every cell ran."""
    notebook = nbformat.read(path, as_version=4)
    place = {"metadata": {"path": path.parent}}
    client = NotebookClient(
        notebook, timeout=600, record_timing=False, coalesce_streams=True, resources=place, store_widget_state=False
    )
    client.execute()
    for cell in (cell for cell in notebook.cells if cell.cell_type == "code"):
        cell.get("metadata", {}).pop("execution", None)
        cell["outputs"] = [output for output in cell.get("outputs", ()) if output.get("data") != {}]
        for output in cell["outputs"]:
            data = output.get("data", {})
            # a widget is nothing without its kernel: what stands for it in text remains
            data.pop("application/vnd.jupyter.widget-view+json", None)
            shrink(data)
            for texts in (output, data):
                texts.update(
                    {key: text.replace(str(home), "~/zimage") for key, text in texts.items() if isinstance(text, str)}
                )
    notebook.metadata["language_info"] = {"name": "python"}
    nbformat.write(notebook, path)
    print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


def store_together(paths: list[Path], language: str) -> None:
    """Execute the notebooks of one language one after the other, with a session and a folder of their own."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ZIMAGE_STATE"] = f"{folder}/state"
        os.environ["ZIMAGE_OUTPUTS"] = f"{folder}/zimage/outputs"
        os.environ["ZIMAGE_LANG"] = language
        try:
            for path in paths:
                run_and_store(path, Path(folder, "zimage"))
        finally:
            subprocess.run([sys.executable, "-m", "zimage_kit", "session", "stop"], check=True)


if __name__ == "__main__":
    os.environ["ZIMAGE_PROGRESS"] = "0"  # a bar that is gone leaves an empty output behind
    named = [Path(name) for name in sys.argv[1:]]
    for language in ("en", "zh"):
        chosen = [path for path in named if (path.resolve().parent.name == "zh") == (language == "zh")]
        if chosen:
            store_together(chosen, language)
