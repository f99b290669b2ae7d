"""A prompt's tokens, without torch.

It uses the model's own tokenizer.json and chat template, so they are exactly what the text encoder gets.
"""

from __future__ import annotations

import json
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..errors import ModelMissing
from ..files import parsed_json

MEND = "Fetch the model's tokenizer folder again."


def count_tokens(prompt: str, directory: Path) -> int:
    """The number of tokens of `prompt` for the model in `directory`, including its chat template's."""
    return len(prompt_tokens(prompt, directory))


def prompt_tokens(prompt: str, directory: Path) -> list[int]:
    """The ids of those tokens. Raises ModelMissing for a folder whose tokenizer or chat template cannot be used."""
    folder = directory / "tokenizer"
    try:
        stamp = (folder / "tokenizer.json").stat().st_mtime_ns
        tokenizer, template = _load(folder, stamp)
        text = template.render(
            messages=[{"role": "user", "content": prompt}], add_generation_prompt=True, enable_thinking=True, tools=None
        )
        found: list[int] = tokenizer.encode(text).ids
    except ModelMissing:
        raise
    except Exception as error:  # tokenizers raises nothing more special, a template whatever it likes
        reason = f"{type(error).__name__}: {error}"[:200]
        raise ModelMissing(f"{folder} cannot be used ({reason})", mend=MEND) from None
    return found


@lru_cache(maxsize=4)
def _load(folder: Path, stamp: int) -> tuple[Any, Any]:
    """(tokenizer, compiled chat template). A new `stamp` (modification time) makes a replaced file be read again."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    config = parsed_json((folder / "tokenizer_config.json").read_text("utf-8"))
    return tokenizer, _compile(_template_source(folder, config), config)


def _template_source(folder: Path, config: dict[str, Any]) -> str:
    """The chat template's text: from its own file (newer transformers), else from tokenizer_config.json."""
    own_file = folder / "chat_template.jinja"
    source = own_file.read_text("utf-8") if own_file.is_file() else config.get("chat_template")
    if isinstance(source, list):  # several named templates
        source = {entry["name"]: entry["template"] for entry in source}.get("default")
    if not isinstance(source, str):
        raise ModelMissing(f"{folder} has no chat template", mend=MEND)
    return source


def _compile(source: str, config: dict[str, Any]) -> Any:
    """Compile as transformers does: sandboxed, blocks trimmed, the same functions, special tokens as variables."""
    from jinja2.exceptions import TemplateError
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    def tojson(value: Any, indent: int | None = None) -> str:
        return json.dumps(value, ensure_ascii=False, indent=indent)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    for key, value in config.items():
        if key.endswith("_token") and value is not None:
            environment.globals[key] = value["content"] if isinstance(value, dict) else value
    return environment.from_string(source)
