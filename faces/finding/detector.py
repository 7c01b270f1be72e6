"""Our own detector: the finder proposes places, the reader reads them, what is no face or read twice is dropped.

It needs no start and works in whole pictures; the judge's locator (evaluation/locator.py) follows the landmarks of
results from where they are expected, and belongs to the judge alone.
"""

import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import nn

from faces.errors import SamaeError
from faces.files import atomic_file, sha256_bytes, sha256_file, write_json
from faces.finding.finder import Proposal, propose
from faces.finding.networks import FinderNetwork, PointsNetwork
from faces.finding.packing import folded, packed, unpacked
from faces.finding.reader import ReadFace, read_face

WEIGHTS = Path(__file__).with_name("weights") / "faces.safetensors"
#: Where the heat maps are wider than this in the median, over the side of FFHQ's square, there is no face.
MOST_SPREAD = 0.085
#: How the weights are made, for sentences.
MADE_BY = "python -m training.reading.landmarks"


class OwnDetector:
    """Faces of a picture with 68 landmarks, by the two shipped networks, on the CPU.

    Args:
        least_score: faces below this score (0..1) are none.  least_proposal: places below it are not looked at.
        most: places looked at, at most.
    """

    def __init__(
        self, finder: nn.Module, points: nn.Module, digest: str = "", least_score: float = 0.9,
        least_proposal: float = 0.3, most: int = 32,
    ) -> None:  # fmt: skip
        self.finder, self.points = (network.eval().requires_grad_(False) for network in (finder, points))
        self.digest, self.least_score, self.least_proposal, self.most = digest, least_score, least_proposal, most

    def faces(self, image: np.ndarray) -> list[np.ndarray]:
        """(H, W, 3) uint8 sRGB -> (68, 2) float64 landmarks of every face, our pixels, the largest face first."""
        return [face.landmarks_px for face in self.read(image)]

    def read(self, image: np.ndarray) -> list[ReadFace]:
        """The same with scores and spreads. One thread, so that a picture gives the same numbers everywhere."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return self._found(image)
        finally:
            torch.set_num_threads(threads)

    def _found(self, image: np.ndarray) -> list[ReadFace]:
        places = propose(self.finder, image, self.least_proposal, self.most)
        found = self._read(image, places, self.least_score)
        if not found:
            found = self._read(image, _usual_places(image), max(0.97, self.least_score))
        return sorted(_once(found), key=lambda face: -face.side_px)

    def _read(self, image: np.ndarray, places: list[Proposal], least_score: float) -> list[ReadFace]:
        read = (read_face(self.points, image, place, least_score) for place in places)
        return [face for face in read if face is not None and np.median(face.spread_px) < MOST_SPREAD * face.side_px]


def _usual_places(image: np.ndarray) -> list[Proposal]:
    """Where the face of a portrait is, when the finder saw none: in the middle, large or larger."""
    height, width = image.shape[:2]
    short = min(height, width)
    middle = [np.array([width / 2, height * share]) for share in (0.38, 0.5)]
    return [Proposal(centre, short * size, 0.0, 0.0) for size in (1.3, 0.9, 0.6) for centre in middle]


def _once(faces: list[ReadFace]) -> list[ReadFace]:
    """Without the worse of two readings of the same face."""
    kept: list[ReadFace] = []
    for face in sorted(faces, key=lambda face: -face.score):
        middle = face.landmarks_px.mean(0)
        if all(np.hypot(*(middle - k.landmarks_px.mean(0))) > 0.3 * max(face.side_px, k.side_px) for k in kept):
            kept.append(face)
    return kept


def save_detector(path: Path, finder: nn.Module, points: nn.Module, about: dict[str, object]) -> None:
    """Write both networks (packing.py), and beside them a JSON with their SHA-256 and `about`."""
    kept: dict[str, torch.Tensor] = {}
    for prefix, network in (("finder.", finder), ("points.", points)):
        kept |= {prefix + name: value for name, value in packed(folded(network).state_dict()).items()}
    with atomic_file(path) as scratch:
        save_file({name: value.contiguous() for name, value in kept.items()}, scratch)
        scratch.chmod(0o644)
    write_json(path.with_suffix(".json"), {"sha256": sha256_file(path), "licence": "Apache-2.0", **about})


@lru_cache(maxsize=2)
def load_detector(path: Path = WEIGHTS) -> OwnDetector:
    """The shipped detector, read once a process.

    Raises:
        SamaeError: the file or its JSON is missing, changed or of other networks; the sentence names it.
    """
    if not path.is_file():
        raise SamaeError(f"{path} is missing: get it anew with the project, or make it with '{MADE_BY}'")
    data, note = path.read_bytes(), path.with_suffix(".json")
    try:
        wanted = json.loads(note.read_text(encoding="utf-8"))["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SamaeError(f"{note} cannot be read ({error}): get it anew with the project") from None
    digest = sha256_bytes(data)
    if digest != wanted:
        raise SamaeError(f"{path} is damaged: its SHA-256 is not the one in {note.name}; get it anew with the project")
    finder, points = folded(FinderNetwork()), folded(PointsNetwork())
    try:
        tensors = load(data)
        for prefix, network in (("finder.", finder), ("points.", points)):
            part = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
            network.load_state_dict(unpacked(part, network.state_dict()))
    except (SafetensorError, RuntimeError, ValueError) as error:
        raise SamaeError(f"{path} holds no face finder of this version ({str(error)[:120]}): get it anew") from None
    return OwnDetector(finder, points, digest)
