"""Run notebooks top to bottom and keep their outputs in them, so that a reader on the web sees the pictures.

Execution times and the folder of this machine are left out. The notebooks share a session that is ended afterwards.

    python scripts/store_notebook_outputs.py notebooks/01_first_image.ipynb
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

LARGE = 15_000
"""Characters of a picture in base64 beyond which it is stored more coarsely still."""
WIDE = 600
"""Pixels: about as wide as a page shows a notebook's outputs."""


def shrink(data: dict[str, str]) -> None:
    """Keep one picture of an output, as a JPEG that a reader on the web loads quickly."""
    if "image/jpeg" in data:
        data.pop("image/png", None)
        coarse = io.BytesIO()
        with Image.open(io.BytesIO(base64.b64decode(data["image/jpeg"]))) as picture:
            picture.thumbnail((WIDE, 10 * WIDE))
            quality = 60 if len(data["image/jpeg"]) > LARGE else 72
            picture.save(coarse, "JPEG", quality=quality, optimize=True, progressive=True)
        data["image/jpeg"] = base64.b64encode(coarse.getvalue()).decode()


def run_and_store(path: Path) -> None:
    """Execute one notebook in a kernel of its own; written back only when every cell ran."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as outputs:
        os.environ["ZIMAGE_OUTPUTS"] = outputs
        place = {"metadata": {"path": path.parent}}
        client = NotebookClient(notebook, timeout=600, record_timing=False, resources=place, store_widget_state=False)
        client.execute()
    for cell in (cell for cell in notebook.cells if cell.cell_type == "code"):
        cell.get("metadata", {}).pop("execution", None)
        cell["outputs"] = [output for output in cell.get("outputs", ()) if output.get("data") != {}]
        for output in cell["outputs"]:
            # a widget is nothing without its kernel: what stands for it in text remains
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
            shrink(output.get("data", {}))
            if "text" in output:
                output["text"] = output["text"].replace(outputs, "~/zimage/outputs")
    notebook.metadata["language_info"] = {"name": "python"}
    nbformat.write(notebook, path)
    print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as state:
        os.environ["ZIMAGE_STATE"] = state
        os.environ["ZIMAGE_PROGRESS"] = "0"  # a bar that is gone leaves an empty output behind
        try:
            for name in sys.argv[1:]:
                run_and_store(Path(name))
        finally:
            subprocess.run([sys.executable, "-m", "zimage_kit", "session", "stop"], check=True)
