"""The pictures of docs/images that show generated people: python -m faces.synthetic.sheets docs/images"""

import sys
from pathlib import Path

import numpy as np

from faces.files import write_bytes
from faces.records import encode_jpeg
from faces.synthetic.person import person_from_seed
from faces.synthetic.pictures import render_picture, true_swap
from faces.synthetic.portrait import render_person
from faces.synthetic.scene import scene_from_seed
from faces.synthetic.video import iter_frames

SEED = 1


def tiled(pictures: list[np.ndarray], columns: int, gap_px: int = 2) -> np.ndarray:
    """Pictures of one size (S, S, 3) uint8 in rows of `columns`, on white."""
    side = pictures[0].shape[0] + gap_px
    rows = -(-len(pictures) // columns)
    sheet = np.full((rows * side - gap_px, columns * side - gap_px, 3), 255, np.uint8)
    for i, picture in enumerate(pictures):
        y, x = divmod(i, columns)
        sheet[y * side : y * side + len(picture), x * side : x * side + len(picture)] = picture
    return sheet


def people_sheet(size_px: int = 128, people: int = 24) -> np.ndarray:
    """Six by six: 24 people, twelve of them twice (the last two rows repeat people of the first four)."""
    return tiled([render_picture(SEED, i, people, size_px).image for i in range(36)], 6)


def one_person(size_px: int = 192, person_id: int = 19) -> np.ndarray:
    """One person under ten attributes: everything but the identity changes."""
    person = person_from_seed(SEED, person_id)
    return tiled([render_person(person, scene_from_seed(SEED, 500 + i, person), size_px).image for i in range(10)], 5)


def swap_sheet(size_px: int = 192, people: int = 24) -> np.ndarray:
    """Rows of source, target, true swap (face), true swap (full), what may change."""
    pictures = []
    for source, target in ((3, 10), (11, 1), (22, 5)):
        face = true_swap(SEED, source, target, people, size_px, "face")
        full = true_swap(SEED, source, target, people, size_px, "full")
        changed = np.repeat(face.changed[..., None], 3, 2)
        plain = [render_picture(SEED, key, people, size_px).image for key in (source, target)]
        pictures += [*plain, face.image, full.image, changed]
    return tiled(pictures, 5)


def video_strip(size_px: int = 160, source: int = 3, target: int = 14) -> np.ndarray:
    """Every eighth frame of a track: the target above, the true swap (face) and the mask of what may change below."""
    frames = list(iter_frames(SEED, 49, size_px, source, target))[::8]
    target_row = [frame.target.image for frame in frames]
    swap_row = [frame.swaps["face"].image for frame in frames]
    masks = [np.repeat(frame.swaps["face"].changed[..., None], 3, 2) for frame in frames]
    return tiled([*target_row, *swap_row, *masks], len(frames))


def main(folder: Path) -> None:
    """Write people_sheet.jpg, one_person.jpg, true_swap.jpg and people_video.jpg."""
    sheets = {
        "people_sheet": people_sheet, "one_person": one_person, "true_swap": swap_sheet, "people_video": video_strip,
    }  # fmt: skip
    for name, draw in sheets.items():
        write_bytes(folder / f"{name}.jpg", encode_jpeg(draw()))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images"))
