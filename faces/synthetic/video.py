"""Sequences of one person with smooth pose, expression, gaze and light, and their true swaps frame by frame. Ours.

Frame i is a pure function of the seed, the two people and i: a longer sequence begins with the shorter one. Frames are
FFHQ crops of their own landmarks, as an aligned video is; hair, clothes, backdrop and what hides the face stay, and the
film's grain is new in every frame.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from faces.errors import SamaeError
from faces.files import read_json, write_bytes, write_json
from faces.records import encode_png
from faces.synthetic.dataset import GENERATOR
from faces.synthetic.numerics import random_stream
from faces.synthetic.person import Person, person_from_seed
from faces.synthetic.portrait import Portrait, render_person, render_swaps
from faces.synthetic.scene import Lamp, Scene, expression_of, scene_from_seed

#: Seconds between two expressions of a track, and between two blinks at least.
EXPRESSION_S, BLINK_S = 1.2, 2.6
_BLINK_LENGTH_S = 0.28
_SCENE_BASE = 2_000_003
#: Frames between two records of a sequence that is being written.
_RECORD_EVERY = 16


@dataclass(frozen=True)
class Frame:
    """One frame. target: the owner's own picture.

    swaps: reading ("face", "full") -> the true swap; its `changed` is the mask of what may differ from the target,
    outside which both agree byte for byte.
    """

    target: Portrait
    swaps: dict[str, Portrait]


@dataclass(frozen=True)
class Sequence:
    """A still of the source person, and the frames of the target with their true swaps."""

    source: Portrait
    frames: tuple[Frame, ...]

    def target_images(self) -> np.ndarray:
        """(N, S, S, 3) uint8."""
        return np.stack([frame.target.image for frame in self.frames])

    def swap_images(self, reading: str = "face") -> np.ndarray:
        """(N, S, S, 3) uint8."""
        return np.stack([frame.swaps[reading].image for frame in self.frames])

    def changed(self, reading: str = "face") -> np.ndarray:
        """(N, S, S) uint8, 255 where the swap may differ from the target."""
        return np.stack([frame.swaps[reading].changed for frame in self.frames])


def sequence(
    seed: int,
    frames: int,
    size_px: int = 128,
    source_person: int = 0,
    target_person: int = 1,
    fps: float = 25.0,
    readings: tuple[str, ...] = ("face",),
) -> Sequence:
    """`frames` frames of the target person's track with the source person's face in them.

    Args:
        seed: of people and track.  frames: at least 1.  size_px: at least 32.
        source_person, target_person: person_id in the population of the seed; equal gives swaps onto oneself.
        fps: frames a second of the track's clock.
        readings: "face" (the target's skin tone stays), "full" (the source's on all skin), or both.
    """
    source = person_from_seed(seed, source_person)
    still = render_person(source, scene_from_seed(seed, _SCENE_BASE + source_person, source), size_px)
    made = iter_frames(seed, frames, size_px, source_person, target_person, fps, readings)
    return Sequence(still, tuple(made))


def iter_frames(
    seed: int, frames: int, size_px: int, source_person: int, target_person: int, fps: float = 25.0,
    readings: tuple[str, ...] = ("face",),
) -> Iterator[Frame]:  # fmt: skip
    """The frames of `sequence` one after the other, so that a long one needs no memory."""
    source, target = person_from_seed(seed, source_person), person_from_seed(seed, target_person)
    for scene in track(seed, frames, target, fps):
        plain, swaps = render_swaps(target, source, scene, size_px, readings)
        yield Frame(plain, swaps)


def track(seed: int, frames: int, owner: Person, fps: float = 25.0) -> list[Scene]:
    """Scenes of the frames of one person: everything of one scene but pose, gaze, expression, light and grain."""
    if frames < 1 or fps <= 0:
        raise SamaeError(f"a sequence has at least 1 frame and a rate above 0, not {frames} at {fps}: raise the number")
    base = scene_from_seed(seed, _SCENE_BASE + owner.person_id, owner)
    waves = random_stream(0x71D, seed, owner.person_id)
    phase, rate = waves.uniform(0, 2 * np.pi, (8, 2)), waves.uniform(0.7, 1.3, (8, 2))
    return [_frame(base, seed, owner.person_id, i, i / fps, phase, rate) for i in range(frames)]


def _wave(channel: int, t: float, phase: np.ndarray, rate: np.ndarray) -> float:
    """-1 .. 1, smooth: a slow sine (about 4 s) and a faster one (about 1.6 s) with less weight."""
    slow = math.sin(2 * math.pi * t * rate[channel, 0] / 4.0 + phase[channel, 0])
    fast = math.sin(2 * math.pi * t * rate[channel, 1] / 1.6 + phase[channel, 1])
    return 0.8 * slow + 0.2 * fast


def _frame(
    base: Scene, seed: int, person_id: int, index: int, t: float, phase: np.ndarray, rate: np.ndarray
) -> Scene:  # fmt: skip
    def wave(channel: int) -> float:
        """How far this movement has swung at the frame, about -1..1."""
        return _wave(channel, t, phase, rate)

    yaw, pitch = 0.6 * base.yaw_rad + 0.32 * wave(0), 0.6 * base.pitch_rad + 0.11 * wave(1)
    return replace(
        base,
        yaw_rad=float(np.clip(yaw, -0.9, 0.9)),
        pitch_rad=float(np.clip(pitch, -0.38, 0.38)),
        shoulder_yaw_rad=base.shoulder_yaw_rad + 0.06 * wave(2),
        gaze_yaw_rad=base.gaze_yaw_rad + 0.10 * wave(3),
        gaze_pitch_rad=base.gaze_pitch_rad + 0.04 * wave(4),
        expression=_expression_at(seed, person_id, t),
        key=_moved(base.key, 0.30 * wave(5), 0.10 * wave(6), 1.0 + 0.12 * wave(7)),
        frame=index,
    )


def _moved(lamp: Lamp, azimuth_rad: float, elevation_rad: float, factor: float) -> Lamp:
    return replace(
        lamp,
        azimuth_rad=float(np.clip(lamp.azimuth_rad + azimuth_rad, -1.5, 1.5)),
        elevation_rad=lamp.elevation_rad + elevation_rad,
        strength=lamp.strength * factor,
    )


def _key_rng(seed: int, person_id: int, kind: int, key: int) -> np.random.Generator:
    return random_stream(0x71E, seed, person_id, kind, key)


def _expression_at(seed: int, person_id: int, t: float) -> tuple[tuple[str, float], ...]:
    """Between two drawn expressions by a smooth ramp, with blinks on top."""
    key, share = divmod(t / EXPRESSION_S, 1.0)
    share = share * share * (3 - 2 * share)
    total: dict[str, float] = {}
    for number, weight in ((int(key), 1 - share), (int(key) + 1, share)):
        for name, value in expression_of(_key_rng(seed, person_id, 0, number)):
            kept = min(value, 0.25) if name.startswith("eyeBlink") else value
            total[name] = total.get(name, 0.0) + weight * kept
    blink = _blink_at(seed, person_id, t)
    for name in ("eyeBlink_L", "eyeBlink_R"):
        total[name] = max(total.get(name, 0.0), blink)
    return tuple(sorted((name, float(value)) for name, value in total.items() if value > 0.004))


def _blink_at(seed: int, person_id: int, t: float) -> float:
    """0 open .. 1 shut: one blink in every span of BLINK_S, at a drawn moment."""
    span = int(t // BLINK_S)
    middle = (span + float(_key_rng(seed, person_id, 1, span).uniform(0.15, 0.85))) * BLINK_S
    away = abs(t - middle) / (_BLINK_LENGTH_S / 2)
    return 0.5 + 0.5 * math.cos(math.pi * away) if away < 1 else 0.0


def write_sequence(
    folder: Path | str,
    seed: int,
    frames: int,
    size_px: int = 256,
    source_person: int = 0,
    target_person: int = 1,
    fps: float = 25.0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a sequence as PNG files below `folder`, and return the folder; frames that lie there are kept.

    source.png; target/00000.png ..; face/ and full/ with the true swaps; face_changed/ and full_changed/ with the
    masks; truth.json with the generator, seed, people, rate, and the landmarks (68, 2) of every frame in the set's
    convention (pixel centres at whole numbers). The folder belongs to one sequence: SamaeError when it holds another.
    """
    folder = Path(folder)
    origin = {
        "generator": GENERATOR, "seed": seed, "source_person": source_person, "target_person": target_person,
        "fps": fps, "size_px": size_px,
    }  # fmt: skip
    path = folder / "truth.json"
    found: Any = read_json(path) if path.exists() else {"origin": origin, "frames": []}
    if not isinstance(found, dict) or not isinstance(found.get("frames"), list) or "origin" not in found:
        raise SamaeError(f"{path} is not the record of a sequence: restore it, or remove it to have it made anew")
    if found["origin"] != origin:
        raise SamaeError(f"{folder} holds another sequence; choose another folder or remove that one")
    done = list(found["frames"])
    source, target = person_from_seed(seed, source_person), person_from_seed(seed, target_person)
    scenes = track(seed, frames, target, fps)
    if not done:
        still = render_person(source, scene_from_seed(seed, _SCENE_BASE + source_person, source), size_px)
        write_bytes(folder / "source.png", encode_png(still.image, fast=True))
    for index in range(len(done), frames):
        plain, swaps = render_swaps(target, source, scenes[index], size_px)
        _write_frame(folder, index, plain, swaps)
        marks = [[round(float(u) - 0.5, 3), round(float(v) - 0.5, 3)] for u, v in plain.landmarks_px]
        done.append({"face_landmarks": marks})
        if index % _RECORD_EVERY == _RECORD_EVERY - 1 or index == frames - 1:
            write_json(path, {"origin": origin, "frames": done})
        if progress:
            progress(index + 1, frames)
    return folder


def _write_frame(folder: Path, index: int, plain: Portrait, swaps: dict[str, Portrait]) -> None:
    pictures = {"target": plain.image}
    for reading, swap in swaps.items():
        pictures |= {reading: swap.image, f"{reading}_changed": swap.changed}
    for name, picture in pictures.items():
        write_bytes(folder / name / f"{index:05d}.png", encode_png(picture, fast=True))
