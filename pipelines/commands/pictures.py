"""`samae pictures`: the pictures of docs/images that show people, heads, fits and landmarks, drawn by their rooms.

The others are of results and pages: docs/results.md and docs/identity.md say where they are from, and pages
(dagster-*, mlflow-*) are photographs of a browser (`python -m tests.integration.shoot_pages`).
"""

from collections.abc import Callable
from pathlib import Path

from faces.errors import SamaeError

ROOT = Path(__file__).parent.parent.parent


def people(folder: Path) -> None:
    """The sheet of people, one person ten times, and true swaps."""
    from faces.synthetic.sheets import main

    main(folder)


def head(folder: Path) -> None:
    """The built-in head, its expressions and random identities."""
    from faces.morphable.portrait import main

    main([str(folder / "head_builtin.jpg")])


def fits(folder: Path) -> None:
    """Fits, masks and perforation."""
    from faces.pictures_fit import draw_pictures

    draw_pictures(folder)


def landmarks(folder: Path) -> None:
    """Landmarks that our own networks read."""
    from faces.pictures_landmarks import draw_landmarks

    draw_landmarks(folder)


ARTISTS: tuple[Callable[[Path], None], ...] = (people, head, fits, landmarks)


def run() -> None:
    """Draw them all and say where they are."""
    folder = ROOT / "docs" / "images"
    if not folder.is_dir():
        raise SamaeError(f"{folder} is missing: run `samae pictures` from a checkout of the project")
    for artist in ARTISTS:
        print(f"{artist.__name__}: {artist.__doc__}", flush=True)
        artist(folder)
    print(f"in {folder.relative_to(ROOT)}: {', '.join(sorted(path.name for path in folder.iterdir()))}")
