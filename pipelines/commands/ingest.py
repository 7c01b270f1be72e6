"""`samae ingest PHOTOGRAPHS OUT`: plain photographs become a set in FFHQ layout; a detector finds the faces, or
`landmarks.json` beside the photographs says where they are."""

from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from faces.errors import SamaeError
from faces.photographs import named, pictures_below
from pipelines.settings import load_settings


def run(photographs: Path, out: Path, size_px: int, licence: str) -> None:
    """Write the set, say what was refused and why, and name the command that uses it."""
    from assets.ingest import REJECTED_NAME, ingest
    from faces.detection import ABOUT, landmark_reader, load_detector, reader_digest
    from faces.landmark_list import LANDMARKS_NAME

    listed = (photographs / LANDMARKS_NAME).is_file()
    detector = None if listed else load_detector()
    print(f"faces: {photographs / LANDMARKS_NAME if listed else f'found by {ABOUT[landmark_reader()]}'}")
    columns = (TextColumn("photographs"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as bar:
        task = bar.add_task("photographs", total=None, visible=False)
        counts = ingest(
            photographs,
            out,
            detector,
            size_px,
            licence,
            lambda done, total: bar.update(task, completed=done, total=total, visible=True),
            reader_digest(),
        )
    usable = counts.pop("ok", 0)
    print(f"{usable} faces in {out}")
    for reason, count in counts.most_common():
        print(f"{count} refused: {reason} (see {out / REJECTED_NAME})")
    if others := pictures_below(photographs, out)[1]:
        print(f"left out: what is no PNG, JPEG or WebP picture{named(others)}")
    if not usable:
        raise SamaeError(f"none of the photographs in {photographs} can be used: see {out / REJECTED_NAME}")
    print(in_words(out))


def in_words(out: Path) -> str:
    """What can be done with a set: the command that uses it, and a word where it gives few pairs, or none."""
    from assets.splits import expected

    settings = load_settings(raw=out)
    use = f"Use them: SAMAE_RAW={out} samae demo"
    try:
        fewer = expected(settings.plan, settings.store)
        return f"{fewer}\n{use}" if fewer else use
    except SamaeError as error:
        return f"{use}\nBefore that: {error}"
