"""Pictures of docs/: landmarks that our own networks read off plain pictures. `python -m faces.pictures_landmarks`."""

import argparse
from pathlib import Path

import cv2
import numpy as np

from faces.errors import SamaeError
from faces.files import make_folder
from faces.finding.detector import load_detector
from faces.landmarks import ffhq_crop, ffhq_transform, transform_points
from faces.pictures_fit import sheet, with_dots, write_jpeg

#: Seed of the people shown (nobody's training or test set), how many, and the width of a tile.
SEED, COUNT, TILE_PX = 978, 5, 224


def draw_landmarks(out_dir: Path) -> Path:
    """Write landmarks.jpg into out_dir; its path.

    Two rows: generated people, and the astronaut (scikit-image's; NASA, public domain) whole, turned, grey and small.
    """
    from faces.synthetic.pictures import render_picture

    rows = [[render_picture(SEED, index, COUNT, 256).image for index in range(COUNT)], photographs()]
    tiles = [np.stack([read_tile(image) for image in row]) for row in rows]
    make_folder(out_dir)
    return write_jpeg(out_dir / "landmarks.jpg", sheet(tiles))


def photographs() -> list[np.ndarray]:
    """The astronaut's photograph as it is, turned, grey, dark and small, (H, W, 3) uint8.

    Raises:
        SamaeError: scikit-image is not installed.
    """
    try:
        from skimage import data
    except ImportError:
        raise SamaeError("the photograph comes with scikit-image: pip install 'samae[dev]'") from None
    image = data.astronaut()
    turned = cv2.warpAffine(image, cv2.getRotationMatrix2D((220, 120), 28, 1.0), (512, 512))
    grey = np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, 2)
    small = cv2.resize(image, (160, 160), interpolation=cv2.INTER_AREA)
    return [image, turned, grey, (image * 0.3).astype(np.uint8), small]


def read_tile(image: np.ndarray) -> np.ndarray:
    """FFHQ's crop about the largest face found, with the landmarks read; black where none was found."""
    found = load_detector().faces(image)
    if not found:
        return np.zeros((TILE_PX, TILE_PX, 3), np.uint8)
    points = found[0]
    return with_dots(ffhq_crop(image, points, TILE_PX), transform_points(ffhq_transform(points, TILE_PX), points))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    print(draw_landmarks(parser.parse_args().out))
