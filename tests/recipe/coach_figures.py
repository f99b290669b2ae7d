"""How often the coach is right: `python tests/recipe/coach_figures.py [--wrong]`, on prompts labelled by hand.

By (prompt, rule): precision is the share of hints that were expected, recall that of the expected that were given.
"""

from __future__ import annotations

import sys
from pathlib import Path

from zimage_kit.recipe.coach import coach

HERE = Path(__file__).parent
SETS = {"labelled before the rules": "coach_prompts.tsv", "held out": "coach_held_out.tsv"}
Labelled = tuple[str, frozenset[str], str]


def labelled(name: str) -> list[Labelled]:
    """(language, expected rules, prompt) of each line."""
    lines = [line for line in (HERE / name).read_text("utf-8").splitlines() if line and not line.startswith("#")]
    split = [line.split("\t") for line in lines]
    return [(language, frozenset(rules.split(",")) - {"-"}, prompt) for language, rules, prompt in split]


def compare(prompts: list[Labelled], language: str) -> tuple[float, float, list[str]]:
    """(precision, recall, what was wrong) of one language's prompts, for turbo."""
    right = given = expected = 0
    wrong = []
    for spoken, rules, prompt in prompts:
        if spoken == language:
            found = {hint.rule for hint in coach(prompt, model="turbo")}
            right, given, expected = right + len(found & rules), given + len(found), expected + len(rules)
            if found != rules:
                wrong.append(f"missed {sorted(rules - found)}, too much {sorted(found - rules)}: {prompt}")
    return right / given, right / expected, wrong


if __name__ == "__main__":
    for title, name in SETS.items():
        for language in ("en", "zh"):
            prompts = [each for each in labelled(name) if each[0] == language]
            good = sum(not rules for _, rules, _ in prompts)
            precision, recall, wrong = compare(prompts, language)
            print(f"{title}, {language}: {len(prompts)} ({good} good), precision {precision:.3f}, recall {recall:.3f}")
            if "--wrong" in sys.argv:
                print("\n".join(f"  {line}" for line in wrong))
