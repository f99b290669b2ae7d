"""Templates: `{seed}` and the other `NAMES` in a text are replaced by the recipe's values."""

from __future__ import annotations

import re

from zimage_kit import Request
from zimage_kit.errors import BadRequest, closest

NAMES = ("seed", "model", "steps", "width", "height", "prompt")

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|\\n")

_BREAK = re.compile("\r\n|[\r\v\f\x1c-\x1e\x85\u2028\u2029]")
"""Whatever else ends a line: in text from other programs, and in what the recipe's values bring."""


def fill(text: str, request: Request) -> str:
    r"""`text` with the request's values, `{{` and `}}` as literal braces and a typed `\n` as a new line.

    Raises BadRequest for an unknown name, a single brace, and a value that the request does not have.
    """

    def value(match: re.Match[str]) -> str:
        token = match.group()
        if token == r"\n":
            return "\n"
        if token in ("{{", "}}"):
            return token[0]
        if token in ("{", "}"):
            raise BadRequest(
                f"text_overlay.text has a single {token!r}",
                expected="a name in braces, such as {seed}",
                mend="Write {{ or }} for a literal brace.",
                field="text",
            )
        return _value(match.group(1).strip(), request)

    return _BREAK.sub("\n", _TOKEN.sub(value, text))


def _value(name: str, request: Request) -> str:
    if name not in NAMES:
        known = ", ".join(f"{{{each}}}" for each in NAMES)
        raise BadRequest(
            f"text_overlay.text has {{{name}}}",
            expected=f"one of {known}",
            mend=closest(name, NAMES) if name else "Write {{ or }} for a literal brace.",
            field="text",
        )
    found = getattr(request, name)
    if found is None:
        raise BadRequest(
            f"text_overlay.text has {{{name}}}, which this picture's recipe does not say",
            mend="Write the value itself.",
            field="text",
        )
    return str(found)
