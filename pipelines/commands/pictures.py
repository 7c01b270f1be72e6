"""`samae pictures`: every picture of docs/images, each made by the room it shows (`write_pictures`)."""

import importlib
from pathlib import Path

from faces.errors import SamaeError

ROOT = Path(__file__).parent.parent.parent
#: Modules that draw pictures for the documentation: `write_pictures(folder) -> list of paths`.
ARTISTS = ("faces.synthetic.sheet", "evaluation.pictures")


def run() -> None:
    """Make them and say where they are."""
    folder = ROOT / "docs" / "images"
    if not folder.is_dir():
        raise SamaeError(f"{folder} is missing: run `samae pictures` from a checkout of the project")
    made = [path for name in ARTISTS for path in _draw(name, folder)]
    print("\n".join(str(path.relative_to(ROOT)) for path in made) or "no picture is defined yet")


def _draw(name: str, folder: Path) -> list[Path]:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        return []
    return list(module.write_pictures(folder))
