"""A real photograph, fitted from landmarks that were set by hand: docs/images/photograph.jpg and a test.

The photograph is scikit-image's `astronaut()` (Eileen Collins, NASA, public domain; package of the extra `dev`). The 68
points were read off an enlargement by eye, to about a pixel of the 512 px picture; they belong to nothing but this use.
"""

import numpy as np

from faces.errors import SamaeError
from faces.landmarks import ffhq_crop, ffhq_transform, transform_points

#: iBUG order, subject's right first; six times enlarged, from pixel (130, 40) of the photograph.
ENLARGED = np.array(
    [(300, 370), (303, 430), (307, 490), (313, 550), (322, 610), (345, 675), (385, 740), (455, 800), (545, 832),
     (630, 815), (700, 770), (755, 720), (795, 665), (817, 605), (828, 545), (838, 480), (845, 410),
     (350, 305), (375, 292), (410, 288), (455, 298), (500, 318),
     (640, 330), (680, 318), (725, 312), (765, 315), (800, 335),
     (572, 375), (572, 425), (573, 470), (572, 520),
     (510, 545), (540, 553), (568, 557), (600, 552), (630, 543),
     (377, 362), (405, 344), (455, 346), (490, 372), (455, 386), (408, 383),
     (642, 388), (672, 358), (730, 358), (773, 384), (735, 400), (682, 399),
     (440, 600), (485, 600), (530, 600), (565, 604), (598, 600), (640, 600), (690, 603),
     (645, 640), (605, 672), (560, 685), (515, 675), (475, 645),
     (450, 604), (515, 615), (565, 620), (610, 615), (680, 607), (608, 650), (562, 658), (515, 650)], np.float64
)  # fmt: skip


def astronaut_landmarks_px() -> np.ndarray:
    """(68, 2) float64 in the 512 px photograph, our pixels."""
    return ENLARGED / 6.0 + [130.0, 40.0]


def astronaut(size_px: int) -> tuple[np.ndarray, np.ndarray]:
    """FFHQ's crop of the photograph: (S, S, 3) uint8 and its (68, 2) landmarks.

    Raises:
        SamaeError: scikit-image is not installed.
    """
    try:
        from skimage import data
    except ImportError:
        raise SamaeError("the photograph comes with scikit-image: pip install 'samae[dev]'") from None
    points = astronaut_landmarks_px()
    image = ffhq_crop(data.astronaut(), points, size_px)
    return image, transform_points(ffhq_transform(points, size_px), points)
