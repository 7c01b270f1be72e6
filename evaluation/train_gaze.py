"""Train the judge's gaze reader on generated people:  python -m evaluation.train_gaze [--scenes 1600] [--keep FOLDER]

About ten minutes on one core, most of it rendering (`--keep` keeps the pictures). Every scene is seen twice: the
owner's picture and a true swap, both with the OWNER's landmarks, as the judge crops; half of the gazes are spread wide.
Pictures are shrunk to 64, 96 or 128 px, blurred and made noisy; landmarks are moved a little. Prints, on people it
never saw: the mean error against the truth, and what the metric would say of a copy, a true swap and a wrong gaze.

    python -m evaluation.train_gaze --check        those figures for the shipped weights
    python -m evaluation.train_gaze --go-on        start from the shipped weights, at half the rate (the shipped ones
                                                   were made by one run of 12 rounds and another of 12 that went on)
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch

from evaluation.gaze import (
    WEIGHTS,
    GazeNetwork,
    GazeReader,
    angle_degrees,
    load_reader,
    network_input,
    save_reader,
    strip_transforms,
    turned,
)
from evaluation.train_locator import degrade
from faces.camera import rotation_matrices
from faces.fitting.gaze import gaze_angles
from faces.morphable.base import MorphableHead
from faces.morphable.registry import load_head
from faces.synthetic.person import person_from_seed
from faces.synthetic.portrait import Portrait, render_swaps
from faces.synthetic.scene import Scene, scene_from_seed

#: A seed that no data set uses: the judge's people are nobody's training or test people.
SEED = 990_023
PICTURE_PX = 128
SIZES_PX = (64, 96, 128)
#: Scenes from here on are for the figures, never trained on.
CHECKED_FROM, CHECKED = 1_000_000, 200


@dataclass(frozen=True, eq=False)
class Scenes:
    """M pictures: (M, S, S, 3) uint8, (M, 68, 2) px of the owner, (M, 3) true directions; rows 2 i and 2 i + 1 share a
    scene: the owner's own picture and the true swap."""

    image: np.ndarray
    landmarks_px: np.ndarray
    direction: np.ndarray


def true_direction(head: MorphableHead, portrait: Portrait) -> np.ndarray:
    """(3,) unit vector of a portrait's gaze: +x right in the picture, +y up, +z to the camera."""
    take = head.layout.take
    yaw, pitch = take(portrait.coefficients[None], "gaze_rad")[0]
    eyes = rotation_matrices(np.array([[pitch, yaw, 0.0]]))[0]
    return rotation_matrices(take(portrait.coefficients[None], "rotation_rad"))[0] @ eyes @ [0.0, 0.0, 1.0]


def scene_of(number: int) -> tuple[Scene, int]:
    """The scene of a number and its owner's id: the drawn gaze, or one spread wide (every other)."""
    owner = person_from_seed(SEED, number)
    scene, rng = scene_from_seed(SEED, number, owner), np.random.default_rng([SEED, number])
    if number % 2:
        scene = replace(scene, gaze_yaw_rad=rng.uniform(-0.5, 0.5), gaze_pitch_rad=rng.uniform(-0.3, 0.3))
    return scene, number


def render(first: int, count: int) -> Scenes:
    """Scenes first .. first + count - 1, two pictures each."""
    head, images, marks, ways = load_head("builtin"), [], [], []
    for number in range(first, first + count):
        scene, owner = scene_of(number)
        people = person_from_seed(SEED, owner), person_from_seed(SEED, 3_000_000 + number)
        plain, swaps = render_swaps(*people, scene, PICTURE_PX, ("face",))
        images += [plain.image, swaps["face"].image]
        marks += [plain.landmarks_px] * 2
        ways += [true_direction(head, plain)] * 2
    return Scenes(np.stack(images), np.stack(marks), np.stack(ways))


def rendered(first: int, count: int, keep: Path | None, step: int = 100) -> Scenes:
    """The same in parts of `step` scenes, kept in a folder between runs."""
    parts = []
    for start in range(first, first + count, step):
        size = min(step, first + count - start)
        path = keep / f"gaze-{start}-{size}.npz" if keep else None
        if path and path.is_file():
            with np.load(path, allow_pickle=False) as kept:
                parts.append(Scenes(kept["image"], kept["landmarks_px"], kept["direction"]))
            continue
        parts.append(render(start, size))
        if path:
            np.savez(path, **vars(parts[-1]))
        print(f"{start + size - first} of {count} scenes", flush=True)
    return Scenes(*(np.concatenate([getattr(p, n) for p in parts]) for n in ("image", "landmarks_px", "direction")))


def shrunk(image: np.ndarray, size_px: int) -> np.ndarray:
    """A picture at another size, as the shards' are."""
    return image if len(image) == size_px else cv2.resize(image, (size_px, size_px), interpolation=cv2.INTER_AREA)


def examples(scenes: Scenes, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Strips, points and (M, 2) true angles of every picture at a drawn size, worsened, its landmarks moved."""
    strips, points, angles = [], [], []
    for image, marks, way in zip(scenes.image, scenes.landmarks_px, scenes.direction, strict=True):
        size_px = int(rng.choice(SIZES_PX))
        scale = size_px / len(image)
        moved = (marks + rng.normal(0, 0.35, (1, 2)) + rng.normal(0, 0.35, marks.shape)) * scale
        strip, point = network_input(degrade(shrunk(image, size_px), rng)[None], moved[None])
        strips.append(strip)
        points.append(point)
        angles.append(gaze_angles(turned(way[None], strip_transforms(moved[None]))))
    return torch.cat(strips), torch.cat(points), torch.from_numpy(np.concatenate(angles).astype(np.float32))


def train(
    scenes: Scenes, rounds: int, epochs: int, seed: int = 0, start: GazeNetwork | None = None, rate: float = 2e-3
) -> GazeNetwork:
    """Gaussian likelihood with a variance of its own for every picture (shut eyes and dark glasses tell nothing).

    rounds: how often the pictures are drawn anew (sizes, noise, landmarks); epochs of each draw.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = (start or GazeNetwork()).train().requires_grad_(True)
    optimiser = torch.optim.AdamW(network.parameters(), rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, rounds * epochs)
    for number in range(rounds):
        strips, points, angles = examples(scenes, rng)
        total = 0.0
        for _ in range(epochs):
            for part in torch.randperm(len(strips)).split(64):
                answer = network(strips[part] * (1 + 0.1 * torch.randn(len(part), 1, 1, 1)), points[part])
                spread = answer[:, 2].clamp(-9, 0)
                loss = (((answer[:, :2] - angles[part]).square().sum(1)) * torch.exp(-spread) / 2 + spread).mean()
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                total += float(loss.detach())
            schedule.step()
        print(f"round {number + 1} of {rounds}: {total / epochs / -(-len(strips) // 64):.3f}", flush=True)
    return network


def figures(reader: GazeReader, scenes: Scenes) -> dict[str, float]:
    """Degrees: mean error against the truth by size; and at 64 px what the metric gives for swaps and wrong gazes."""
    found: dict[str, float] = {}
    for size_px in SIZES_PX:
        image = np.stack([shrunk(picture, size_px) for picture in scenes.image])
        read, spread = reader.read(image, scenes.landmarks_px * (size_px / PICTURE_PX))
        error = angle_degrees(read, scenes.direction)
        sure = spread[::2] < 6.0
        apart = angle_degrees(read[::2], read[1::2])
        stranger = np.roll(np.arange(len(apart)), 1)
        other = angle_degrees(read[::2], read[1::2][stranger])
        true_other = angle_degrees(scenes.direction[::2], scenes.direction[::2][stranger])
        wide = true_other > 10
        found |= {
            f"error_{size_px}px_plain": error[::2].mean(), f"error_{size_px}px_swap": error[1::2].mean(),
            f"error_{size_px}px_sure": error[::2][sure].mean(), f"sure_{size_px}px": sure.mean(),
            f"swap_{size_px}px": apart[sure].mean(), f"wrong_{size_px}px": other[sure & wide].mean(),
            f"told_apart_{size_px}px": _told_apart(apart[sure], other[sure & wide]),
        }  # fmt: skip
    constant = np.broadcast_to([0.0, 0.0, 1.0], scenes.direction.shape)
    return found | {"always_into_the_camera": angle_degrees(constant, scenes.direction).mean()}


def _told_apart(right: np.ndarray, wrong: np.ndarray) -> float:
    """Share of (right, wrong) pairs in which the wrong gaze has the larger figure (area under the ROC curve)."""
    return float((wrong[None] > right[:, None]).mean())


def main() -> None:
    """Render, train, write, and print the figures; or print those of the shipped weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=1600)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--keep", type=Path, default=None)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--go-on", action="store_true")
    chosen = parser.parse_args()
    if not chosen.check:
        how = {"seed": 1, "start": load_reader().network, "rate": 1e-3} if chosen.go_on else {}
        save_reader(WEIGHTS, train(rendered(0, chosen.scenes, chosen.keep), chosen.rounds, chosen.epochs, **how))
    load_reader.cache_clear()
    for name, value in figures(load_reader(), rendered(CHECKED_FROM, CHECKED, chosen.keep)).items():
        print(f"{name}: {value:.3f}")


if __name__ == "__main__":
    main()
