"""Morphable heads behind one interface: `load_head(name)` gives a MorphableHead, whatever file it came from."""

from pathlib import Path

from faces.morphable.base import CoefficientLayout, MorphableHead

__all__ = ["CoefficientLayout", "MorphableHead", "load_head"]


def load_head(name: str = "builtin", path: str | Path | None = None) -> MorphableHead:
    """The head of that name. `builtin` needs no file and carries no licence but the project's."""
    from faces.morphable import registry

    return registry.load_head(name, path)
