"""Train the judge's landmark locator on generated people:  python -m evaluation.train_locator [--pictures 1500]

About six minutes on one core. Starting points are what the judge will have: the picture's own landmarks moved as if
the shape were another person's and the head turned by a few degrees. Pictures are blurred, shrunk and made noisy,
because the results of a weak model are. Prints the error on people it never saw: mean inner-landmark distance over
the eye distance.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from evaluation.locator import (
    SPACINGS_PX,
    WEIGHTS,
    WORKING_PX,
    Locator,
    Stage,
    describe,
    gradient_channels,
    reduced,
    save_locator,
)
from evaluation.measure import expected_landmarks
from evaluation.metrics.truth_landmarks import nme_percent
from faces.morphable.base import MorphableHead
from faces.morphable.registry import load_head
from faces.synthetic.person import person_from_seed
from faces.synthetic.portrait import render_person
from faces.synthetic.scene import scene_from_seed

#: A seed that no data set uses: the judge's people are nobody's training or test people.
SEED = 990_017
STARTS_A_PICTURE = 3
COMPONENTS = 22
RIDGE = 50.0


@dataclass(frozen=True, eq=False)
class Examples:
    """M starts: channels are shared by `picture`, (M,) index. Points in working px."""

    channels: np.ndarray
    picture: np.ndarray
    start_px: np.ndarray
    true_px: np.ndarray


def degrade(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(S, S, 3) uint8 -> the same picture as a weak model might give it: shrunk, blurred, noisy, or as it is."""
    picture: np.ndarray = image.astype(np.float32)
    if rng.uniform() < 0.4:
        small = int(rng.integers(40, 72))
        picture = cv2.resize(cv2.resize(picture, (small, small), interpolation=cv2.INTER_AREA), image.shape[:2])
    if rng.uniform() < 0.4:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.8))
    if rng.uniform() < 0.3:
        picture = picture + rng.normal(0, rng.uniform(1, 6), picture.shape)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def disturbed(coefficients: np.ndarray, head: MorphableHead, rng: np.random.Generator) -> np.ndarray:
    """(N, D) -> another person's shape (the rows permuted), the head turned about 3 degrees and moved about 1 %."""
    layout, moved = head.layout, coefficients.copy()
    count = len(moved)
    moved[:, layout.slices["identity"]] = layout.take(coefficients, "identity")[rng.permutation(count)]
    moved[:, layout.slices["rotation_rad"]] += rng.normal(0, np.radians(3), (count, 3))
    moved[:, layout.slices["translation_mm"]] += rng.normal(0, 1, (count, 3)) * [1.5, 1.5, 12]
    expression = layout.slices["expression"]
    moved[:, expression] = np.clip(moved[:, expression] + rng.normal(0, 0.08, moved[:, expression].shape), 0, 1)
    return moved


def make_examples(first: int, pictures: int, starts: int, head: MorphableHead, rng: np.random.Generator) -> Examples:
    """Render, degrade and disturb. Every picture is of another person."""
    people = range(first, first + pictures)
    portraits = [render_person(person_from_seed(SEED, n), scene_from_seed(SEED, n), WORKING_PX) for n in people]
    landmarks = np.stack([p.landmarks_px for p in portraits]).astype(np.float32)
    coefficients = np.stack([p.coefficients for p in portraits])
    channels, start = [], []
    for _ in range(starts):
        channels.append(gradient_channels(np.stack([degrade(p.image, rng) for p in portraits])))
        elsewhere = disturbed(coefficients, head, rng)
        start.append(expected_landmarks(landmarks, coefficients, elsewhere, head, WORKING_PX))
    count = starts * pictures
    return Examples(
        np.concatenate(channels), np.arange(count), np.concatenate(start), np.tile(landmarks, (starts, 1, 1))
    )


def train_stage(examples: Examples, points_px: np.ndarray, spacing_px: float) -> Stage:
    """Principal components of the descriptors, then ridge regression of the movement that is left."""
    descriptors = describe(examples.channels[examples.picture], points_px, spacing_px)
    pooled = descriptors.reshape(-1, descriptors.shape[-1])
    mean = pooled.mean(axis=0)
    covariance = np.cov(pooled[:: max(1, len(pooled) // 50_000)].T)
    basis = np.linalg.eigh(covariance)[1][:, ::-1][:, :COMPONENTS].astype(np.float32)
    features = reduced(descriptors, mean, basis).astype(np.float64)
    wanted = (examples.true_px - points_px).reshape(len(points_px), -1)
    centre_x, centre_y = features.mean(axis=0), wanted.mean(axis=0)
    centred = features - centre_x
    gram = centred.T @ centred + RIDGE * np.eye(centred.shape[1])
    solved = np.linalg.solve(gram, centred.T @ (wanted - centre_y))
    weights = np.vstack([solved, centre_y - centre_x @ solved]).astype(np.float32)
    return Stage(spacing_px, mean.astype(np.float32), basis, weights)


def train(pictures: int, held_out: int) -> tuple[list[Stage], list[float]]:
    """Train on `pictures` people; returns the stages and the errors on `held_out` others, before and after each."""
    head = load_head("builtin")
    rng = np.random.Generator(np.random.PCG64(SEED))
    seen = make_examples(0, pictures, STARTS_A_PICTURE, head, rng)
    unseen = make_examples(pictures, held_out, 2, head, rng)
    points, held = seen.start_px, unseen.start_px
    stages, errors = [], [float(nme_percent(held, unseen.true_px).mean())]
    for spacing_px in SPACINGS_PX:
        stage = train_stage(seen, points, spacing_px)
        points = stage.move(seen.channels, points)
        held = stage.move(unseen.channels, held)
        stages.append(stage)
        errors.append(float(nme_percent(held, unseen.true_px).mean()))
        print(f"stage {len(stages)}: {errors[-1]:.2f} % of the eye distance on {held_out} unseen people", flush=True)
    return stages, errors


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="train the judge's landmark locator on generated people")
    parser.add_argument("--pictures", type=int, default=1500, help="people to train on, one picture each")
    parser.add_argument("--held-out", type=int, default=100, help="people to measure the error on")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="where the tables go")
    options = parser.parse_args()
    stages, errors = train(options.pictures, options.held_out)
    save_locator(options.out, stages)
    print(f"{options.out}: {errors[0]:.2f} % -> {errors[-1]:.2f} %, {Locator(tuple(stages), '').bytes / 2e6:.1f} MB")


if __name__ == "__main__":
    main()
