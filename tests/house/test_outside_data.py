"""What comes from outside goes through one door each: JSON, and paths with ~. Read off the syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

OWN_JSON = {
    "zimage_kit/files.py": "the door itself",
    "zimage_kit/doctor/report.py": "what a process of ours has just printed",
    "zimage_kit/grid/table.py": "what this process has made",
    "zimage_kit/library/index.py": "the index, which this package alone writes",
    "zimage_kit/session/shared/wire.py": "what a session's own processes send",
    "zimage_kit/studio/panes/contract.py": "what it has just written",
    "extensions/pose/openpose.py": "expects RecursionError itself",
    "zimage_kit/library/marks.py": "expects RecursionError itself",
    "zimage_kit/models/lora_info.py": "expects RecursionError itself",
    "zimage_kit/recipe/artifact.py": "expects RecursionError itself",
    "zimage_kit/recipe/foreign.py": "expects RecursionError itself",
    "zimage_kit/recipe/request.py": "expects RecursionError itself",
    "zimage_kit/studio/panel/keeper.py": "expects RecursionError itself",
}
"""Where JSON is read without `files.parsed_json`, and why it may be."""


def calls() -> Iterator[tuple[str, str]]:
    """(file, what is called, as it is written) of everything but nano, which stands beside the rooms, and tests."""
    for path in sorted([*ROOT.glob("zimage_kit/**/*.py"), *ROOT.glob("extensions/*/*.py")]):
        name = path.relative_to(ROOT).as_posix()
        if name.startswith("zimage_kit/nano/"):
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                yield name, ast.unparse(node.func)


def test_json_of_others_is_read_through_the_door_that_knows_how_deep_it_may_be() -> None:
    found = {name for name, called in calls() if called == "json.loads"}
    assert found == {*OWN_JSON}, "json.loads raises RecursionError too: use files.parsed_json"


def test_a_path_with_a_user_is_expanded_through_the_door_that_knows_that_there_may_be_none() -> None:
    found = {name for name, called in calls() if called.endswith(".expanduser")}
    assert found == {"zimage_kit/files.py"}, "Path.expanduser raises RuntimeError: use files.expanded"


def test_nothing_is_unpickled() -> None:
    found = {name for name, called in calls() if called in ("pickle.loads", "pickle.load", "torch.load", "joblib.load")}
    assert found == {"extensions/upscale/networks.py"}, "weights are safetensors and GGUF; that one says weights_only"
