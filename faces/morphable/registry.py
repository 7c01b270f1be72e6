"""Heads by name: `load_head("builtin")`, `load_head("ict:PATH")`, `load_head("bfm")`. Loaded once a process."""

import importlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from faces.compiled import one_blas_thread
from faces.errors import SamaeError
from faces.morphable.base import MorphableHead


@dataclass(frozen=True)
class HeadFile:
    """A head that comes from a file of the user's.

    Attributes:
        reader: module:function that reads it.
        editions: what `edition` begins with, up to its last number ("flame2020-1" -> "flame2020"): such names load too.
        files: looked for below the weights folders (faces/identity/registry.py) when no path is given.
        title, where, licence: for people.
    """

    reader: str
    editions: tuple[str, ...]
    files: tuple[str, ...]
    title: str
    where: str
    licence: str


HEAD_FILES: dict[str, HeadFile] = {
    "ict": HeadFile(
        "faces.morphable.ict:read_ict",
        ("ict-facekit-light",),
        ("ict_facekit_light/model.npz", "ict_facekit_light.npz", "FaceXModel"),
        "ICT-FaceKit Light",
        "github.com/ICT-VGL/ICT-FaceKit, folder FaceXModel",
        "MIT",
    ),
    "bfm": HeadFile(
        "faces.morphable.bfm:read_bfm",
        ("bfm2009-front",),
        ("BFM_model_front.mat", "BFM/BFM_model_front.mat"),
        "Basel Face Model 2009",
        "faces.dmi.unibas.ch (form), put into BFM_model_front.mat by Deep3DFaceRecon_pytorch",
        "non-commercial research, no redistribution",
    ),
    "flame": HeadFile(
        "faces.morphable.flame:read_flame",
        ("flame2020", "flame2023", "flame2023-open"),
        ("flame2020.npz", "flame2023.npz", "flame2023-open.npz"),
        "FLAME",
        "flame.is.tue.mpg.de (account), converted by `python -m faces.morphable.flame`",
        "CC BY 4.0 (2023 Open) or non-commercial research (2020, 2023)",
    ),
}
HEAD_NAMES = ("builtin", *HEAD_FILES)


@lru_cache(maxsize=4)
def _load(name: str, path: str) -> MorphableHead:
    """A head's tables, to the same last bit on any number of cores: a spline solved by two threads differs from one's.

    (The fits of such heads differed by 6e-5.)
    """
    reader = "faces.morphable.builtin:build" if name == "builtin" else HEAD_FILES[name].reader
    module, function = reader.split(":")
    with one_blas_thread():
        read = getattr(importlib.import_module(module), function)
        return read() if name == "builtin" else read(Path(path))


def load_head(name: str = "builtin", path: str | Path | None = None) -> MorphableHead:
    """A head's tables.

    Args:
        name: "builtin" (no file, no licence but the project's), "ict", "bfm" or "flame"; "ict:PATH" names the file too;
            the first part of an edition ("flame2020") is a name as well.
        path: the file (or ICT's folder) of the others; without it the weights folders are searched ($SAMAE_WEIGHTS).
    Raises:
        SamaeError: unknown name, or the file is missing or damaged.
    """
    name, colon, inside = str(name).partition(":")
    path = inside if colon and path is None else path
    wanted = name
    name = next((known for known, head in HEAD_FILES.items() if name in head.editions), name)
    if name not in HEAD_NAMES:
        raise SamaeError(f"no head is called {name!r}; the heads are {', '.join(HEAD_NAMES)}")
    if name == "builtin":
        if path is not None:
            raise SamaeError("the head 'builtin' is computed and takes no path; leave the path out")
        return _load(name, "")
    return _load(name, str(Path(path).expanduser() if path else find_head_file(name, wanted)))


def find_head_file(name: str, wanted: str = "") -> Path:
    """The first file of a head below the weights folders; that of the edition `wanted` comes first."""
    from faces.identity.registry import search_folders

    known = HEAD_FILES[name]
    files = sorted(known.files, key=lambda file: Path(file).stem != wanted)
    found = [folder / file for folder in search_folders() for file in files]
    for path in found:
        if path.exists():
            return path
    raise SamaeError(
        f"the head '{name}' needs the path of {known.files[0]} ({known.title}, {known.where}): give {name}:PATH, or "
        "put the file into a folder that SAMAE_WEIGHTS names"
    )


def require_same_edition(head: MorphableHead, edition: str, digest: str, what: str) -> None:
    """Raise a SamaeError when an artefact was made with another head than `head`."""
    if (edition, digest) != (head.edition, head.digest):
        raise SamaeError(
            f"{what} came from another head, {edition} ({digest}), than the one in use, {head.edition} "
            f"({head.digest}), and its numbers mean something else: make it anew with this head, or choose the other"
        )
