"""`samae swap SOURCE TARGET`: a source's face into one picture, or into every picture of a folder, by any model.

SOURCE and TARGET are picture files (TARGET may be a folder), or keys of faces in the shards. The model is a trained
recipe, an alias or version of the registry, or the folder of an export.
"""

from pathlib import Path
from typing import Any

import numpy as np

from faces.errors import SamaeError
from faces.files import check_can_write, write_bytes
from faces.photographs import SUFFIXES, named, pictures_below
from faces.saving import FORMAT_OF, encode_like, encode_picture
from pipelines.commands.demo import quieten
from pipelines.commands.models import export_of
from pipelines.settings import Settings, load_settings


def run(source: str, target: str, out: Path | None, model: str) -> None:
    """Swap and write the picture(s); two keys of the shards give source, target and result side by side.

    out: default swap.png, and the folder `swapped` where the target is a folder.
    """
    out = _place(source, target, out)
    quieten()
    settings = load_settings()
    if not is_picture(source) and not is_picture(target):
        _swap_keys(settings, source, target, out, model)
        return
    if not is_picture(target):
        raise SamaeError(
            f"the target {target!r} is no picture file or folder: name one, or give two keys of the shards"
        )
    from training.export import load_swapper

    export = export_of(settings, model)
    swapper = load_swapper(export, size_px=None if is_picture(source) else _width(settings))
    if words := of_photographs(export):
        print(words)
    face = _source(settings, source, swapper)
    if Path(target).is_dir():
        _swap_folder(swapper, face, Path(target), out)
    else:
        _swap_file(swapper, face, Path(target), out)
        print(f"{out}: {target} with the face of {source}")
    _say_of_faces()


def of_photographs(export: Path) -> str:
    """What photographs have to expect of the weights in a folder: a line for those that come with Samae, else none."""
    from training.weights import SHIPPED_FOLDER

    if not export.resolve().is_relative_to(SHIPPED_FOLDER.resolve()):
        return ""
    return f"{export.name}: these weights know generated people alone; expect little of photographs (docs/results.md)"


def _say_of_faces() -> None:
    """Pictures with several faces, and who found them."""
    from training.pictures import readers_asked, several_faces

    for sentence in several_faces():
        print(sentence)
    for reader in readers_asked():
        print(f"landmarks: read by {reader}")


def _place(source: str, target: str, out: Path | None) -> Path:
    """Where to write; SamaeError before any work when that would harm a given picture, cannot be written, or is no
    known kind of picture."""
    if Path(target).is_dir():
        out = out or Path("swapped")
        if out.resolve() == Path(target).resolve():
            raise SamaeError(f"{out} is the folder of the targets, which stay as they are: name another one by --out")
        if out.is_file():
            raise SamaeError(f"{out} is a file, but the target is a folder: name a folder by --out")
        check_can_write(out)
        return out
    out = out or Path("swap.png")
    if out.suffix.lower() not in FORMAT_OF or out.is_dir():
        raise SamaeError(f"{out} is no picture's name: end it in {', '.join(FORMAT_OF)}")
    if out.exists() and any(Path(given).exists() and out.samefile(given) for given in (source, target)):
        raise SamaeError(f"{out} is a picture that was given, which stays as it is: name another one by --out")
    check_can_write(out)
    return out


def is_picture(name: str) -> bool:
    """Whether a name on the command line means a file or folder of pictures rather than a key."""
    return Path(name).suffix.lower() in SUFFIXES or Path(name).exists()


def _source(settings: Settings, source: str, swapper: Any) -> Any:
    """The source's face: of a picture file, or of the shards."""
    from training.export import encoder_of
    from training.pictures import read_portrait

    if is_picture(source):
        if Path(source).is_dir():
            raise SamaeError(f"the source {source} is a folder: name one picture whose face is used")
        return read_portrait(Path(source), swapper.size_px, swapper.method.head, encoder_of(swapper)).face
    return _shard_faces(settings, [source], swapper)


def _width(settings: Settings) -> int:
    """Width of the pictures in the shards, px: what a swapper has to work at that is given one of them."""
    from assets.judging import width_of

    settings.store.manifest("training_shards")
    return width_of(settings.store.folder("training_shards"))


def _shard_faces(settings: Settings, keys: list[str], swapper: Any) -> Any:
    from assets.judging import load_faces_of

    encoder = (swapper.encoder_source, swapper.encoder_digest)
    return load_faces_of(settings.store.folder("training_shards"), keys, encoder=encoder)


def _swap_keys(settings: Settings, source: str, target: str, out: Path, model: str) -> None:
    from training.export import load_swapper

    width_px = _width(settings)  # before anything is loaded: it says when there are no shards
    swapper = load_swapper(export_of(settings, model), size_px=width_px)
    faces = _shard_faces(settings, [source, target], swapper)
    made = swapper.swap(faces.select([0]), faces.select([1]))
    row = [faces.image[0], faces.image[1], made.image[0]]
    pixels = np.concatenate([part.detach().float().numpy().transpose(1, 2, 0) for part in row], axis=1)
    write_bytes(out, encode_picture((pixels.clip(0, 1) * 255).round().astype(np.uint8), out.suffix.lower()))
    print(f"{out}: source, target, result")


def _swap_file(swapper: Any, face: Any, target: Path, out: Path) -> None:
    from training.export import encoder_of
    from training.pictures import paste_back, read_portrait

    portrait = read_portrait(target, swapper.size_px, swapper.method.head, encoder_of(swapper))
    pixels = paste_back(portrait, swapper.swap(face, portrait.face))
    write_bytes(out, encode_like(pixels, portrait.image, target, out.suffix.lower()))


def _swap_folder(swapper: Any, face: Any, folder: Path, out: Path) -> None:
    """Every picture below a folder, under the same names below `out`; what cannot be swapped is named at the end."""
    from rich.console import Console
    from rich.progress import track

    files, others = pictures_below(folder, out)
    if not files:
        raise SamaeError(f"{folder} holds no PNG, JPEG or WebP picture{named(others)}: name a folder of pictures")
    refused: list[str] = []
    for path in track(files, "swapping", console=Console(stderr=True)):
        place = out / path.relative_to(folder)
        try:
            _swap_file(swapper, face, path, place)
        except SamaeError as error:
            refused.append(str(error))
    for sentence in refused:
        print(f"left out: {sentence}")
    if others:
        print(f"left out: what is no PNG, JPEG or WebP picture{named(others)}")
    if len(refused) == len(files):
        raise SamaeError(f"none of the {len(files)} pictures in {folder} could be swapped; the reasons stand above")
    print(f"{out}: {len(files) - len(refused)} of {len(files)} pictures")
