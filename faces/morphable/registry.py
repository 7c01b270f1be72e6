"""Heads by name: `load_head("builtin")`, `load_head("ict", path)`. Loaded once a process."""

from functools import lru_cache
from pathlib import Path

from faces.errors import SamaeError
from faces.morphable.base import MorphableHead

HEAD_NAMES = ("builtin", "ict")


@lru_cache(maxsize=4)
def _load(name: str, path: str) -> MorphableHead:
    if name == "builtin":
        from faces.morphable.builtin import build

        return build()
    from faces.morphable.ict import read_ict

    return read_ict(Path(path))


def load_head(name: str = "builtin", path: str | Path | None = None) -> MorphableHead:
    """A head's tables.

    Args:
        name: "builtin" (no file, no licence but the project's) or "ict" (ICT-FaceKit Light, MIT).
        path: the .npz of "ict"; the built-in head takes none.
    Raises:
        SamaeError: unknown name, or the file is missing or damaged.
    """
    if name not in HEAD_NAMES:
        raise SamaeError(f"no head is called {name!r}; the heads are {', '.join(HEAD_NAMES)}")
    if name == "builtin" and path is not None:
        raise SamaeError("the head 'builtin' is computed and takes no path; leave the path out")
    if name == "ict" and path is None:
        raise SamaeError("the head 'ict' needs the path of its model.npz (ICT-FaceKit Light put into arrays)")
    return _load(name, str(path) if path is not None else "")


def require_same_edition(head: MorphableHead, edition: str, digest: str, what: str) -> None:
    """Raise a SamaeError when an artefact was made with another head than `head`."""
    if (edition, digest) != (head.edition, head.digest):
        raise SamaeError(
            f"{what} was made with head {edition} ({digest}), but the head in use is {head.edition} ({head.digest}): "
            "make it again with this head, or choose the head it was made with"
        )
