"""Morphable heads behind one interface: `load_head(name)` gives a MorphableHead, whatever file it came from."""

from faces.morphable.base import CoefficientLayout, MorphableHead

__all__ = ["CoefficientLayout", "MorphableHead", "load_head"]


def load_head(name: str = "builtin") -> MorphableHead:
    """The head of that name. `builtin` needs no file and carries no licence but the project's."""
    from faces.morphable.registry import load

    return load(name)
