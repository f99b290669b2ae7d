"""`zk.stages`: every kind of stage as an attribute. Importing this module does not search for extensions."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .stage import Stage


class Stages:
    """`zk.stages.<kind>(**fields)`: every kind of stage as an attribute, tab-completable."""

    def __getattr__(self, kind: str) -> type[Stage]:
        from .extensions import kinds, stage_class

        if kind.startswith("_"):
            raise AttributeError(kind)
        cls = stage_class(kind)
        if cls is None:
            raise AttributeError(f"no stage {kind!r}; known: {', '.join(kinds()) or 'none'}")
        return cls

    def __dir__(self) -> list[str]:
        from .extensions import kinds

        return list(kinds())

    def __repr__(self) -> str:
        return f"<stages: {', '.join(dir(self)) or 'none'}>"


stages = Stages()
"""Public as `zk.stages`, where it takes the place of the subpackage of that name."""
