"""A small set of generated people, fitted, as the judge sees shards: for the sanity tests on real pictures."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch

from evaluation.pairs import FaceIndex
from faces.fitting import fit
from faces.morphable.registry import load_head
from faces.synthetic.pictures import person_and_scene, picture_of, true_swap
from faces.synthetic.portrait import Portrait, render_person
from training.batch import FaceBatch

SEED, PEOPLE, COUNT, SIZE_PX = 77, 8, 24, 96
KEYS = tuple(f"{i:05d}" for i in range(COUNT))


@lru_cache(maxsize=256)
def shot(key: str) -> Portrait:
    return render_person(*person_and_scene(SEED, int(key), PEOPLE), SIZE_PX)


@lru_cache(maxsize=256)
def truth(source_key: str, target_key: str) -> Portrait:
    return true_swap(SEED, source_key, target_key, PEOPLE, SIZE_PX)


@lru_cache(maxsize=1)
def coefficients() -> dict[str, np.ndarray]:
    """Fitted as the data assets do, not the generator's truth."""
    shots = [shot(key) for key in KEYS]
    landmarks = np.stack([s.landmarks_px for s in shots])
    fitted = fit(np.stack([s.image for s in shots]), landmarks, load_head("builtin"), SIZE_PX)
    return dict(zip(KEYS, fitted.coefficients, strict=True))


def load_faces(keys: Sequence[str]) -> FaceBatch:
    shots = [shot(key) for key in keys]
    return FaceBatch(
        image=torch.from_numpy(np.stack([s.image for s in shots])).permute(0, 3, 1, 2).float() / 255,
        mask=torch.from_numpy(np.stack([s.mask for s in shots]))[:, None].float() / 255,
        coefficients=torch.from_numpy(np.stack([coefficients()[key] for key in keys])),
        embedding=torch.ones(len(keys), 4) / 2,
        skin=torch.from_numpy(np.stack([s.skin for s in shots])),
        landmarks=torch.from_numpy(np.stack([s.landmarks_px for s in shots])),
        person=torch.tensor([picture_of(SEED, int(key), PEOPLE)[0] for key in keys]),
        keys=tuple(keys),
    )


def index() -> FaceIndex:
    person = np.array([picture_of(SEED, int(key), PEOPLE)[0] for key in KEYS])
    return FaceIndex(KEYS, person, digest="people")
