"""Writes docs/licences.md: the licence of each declared dependency, as its installed metadata says.

    python scripts/licences.py

Run it in an environment with everything (`make test` makes one) when a dependency comes or goes.
"""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageMetadata, metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "licences.md"
FAMILIES = {
    r"\bMPL": "MPL-2.0", r"Apache": "Apache-2.0", r"\bMIT\b": "MIT", r"BSD": "BSD", r"Python Software|PSF": "PSF",
}  # fmt: skip
"""What metadata says in many ways; a licence expression (SPDX) stays as it is."""
HEAD = """# Licences of what is installed

Written by `scripts/licences.py` from the packages' own metadata; `tests/house/test_packaging.py` holds it to
pyproject.toml. zimage_kit and nano's weights are Apache-2.0; Z-Image-Turbo's weights are their authors', and what you
download names its licence before it begins. All are permissive, but for tqdm's MPL-2.0, which covers its own files
only, and they are used as they are. torch for CUDA brings NVIDIA's libraries, which come under NVIDIA's own terms, also
inside the image that `Containerfile` builds.

| package | comes with | licence |
|---|---|---|
"""


def declared() -> dict[str, str]:
    """Each dependency by name, and the extra that brings it ("" for the light client)."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    parts = {"": project["dependencies"], **project["optional-dependencies"]}
    found: dict[str, str] = {}
    for extra, lines in parts.items():
        for name in (Requirement(line).name for line in lines):
            if name != project["name"]:
                found.setdefault(name, extra)
    return found


def licence(about: PackageMetadata) -> str:
    """Its SPDX expression, else the family that its classifiers or its free text name; "unknown"."""
    if expression := about.get("License-Expression"):
        return str(expression)
    classifiers = [each for each in about.get_all("Classifier") or () if each.startswith("License ::")]
    free = (about.get("License") or "").strip().partition("\n")[0]
    for text in (free, *classifiers):
        for pattern, family in FAMILIES.items():
            if re.search(pattern, text):
                return family if " AND " not in text else text
    return "BSD" if "BSD" in (about.get("License") or "") else "unknown"


def main() -> None:
    """Write the page."""
    rows = [
        f"| {name} | {f'`[{extra}]`' if extra else 'every installation'} | {licence(metadata(name))} |"
        for name, extra in sorted(declared().items(), key=lambda pair: pair[0].lower())
    ]
    PAGE.write_text(HEAD + "\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
