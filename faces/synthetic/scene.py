"""What a picture shows besides who it is: the numbers that a swap keeps from the target.

Attributes (ours): pose, gaze, expression, camera framing, light, hair style and colour, make-up, glasses, things in
front of the face, clothes, background, and the film (noise, blur, JPEG). A scene is drawn for the person who owns the
picture, because hair, make-up and clothes follow people's habits; once drawn it stands alone.
"""

import math
from dataclasses import dataclass

import numpy as np

from faces.synthetic import skin
from faces.synthetic.numerics import random_stream
from faces.synthetic.person import Person, person_from_seed, style_odds

GLASSES = ("none", "round", "square", "thin", "sunglasses")
BACKGROUNDS = ("wall", "room", "foliage", "sky", "street", "studio", "dusk")
CLOTHES = ("tee", "shirt", "vneck", "turtleneck", "hoodie", "jacket")
RGB = tuple[float, float, float]


@dataclass(frozen=True)
class Lamp:
    """A light: azimuth (to the right of the picture) and elevation in radians, strength, linear RGB tint, softness
    0..1.
    """

    azimuth_rad: float
    elevation_rad: float
    strength: float
    tint: RGB
    softness: float


@dataclass(frozen=True)
class Scene:
    """One picture's attributes, plain numbers only.

    Attributes:
        picture_id: index within the seed.  seed: 31 bits for everything drawn while rendering.
        yaw_rad, pitch_rad: pose of the head as in faces/camera.py (roll follows from FFHQ's framing).
        gaze_yaw_rad, gaze_pitch_rad: where the eyes look, relative to the camera.
        expression: (ARKit name, activation) pairs.
        key, fill, rim: lamps.  ambient: linear RGB of the sky light.  ambient_bounce: linear RGB from below.
             exposure: factor.
        background: name in BACKGROUNDS.  background_seed.
        hair_style: name in person.STYLE_ODDS.  hair_linear: linear RGB.  hair_grey: 0..1.  hair_length, hair_volume:
            factors.
        hair_curl: 0..1.  parting: -1 (subject's right) .. 1.  hairline: -1.3 low .. 1.2 receding.  hair_gloss: 0..1.
        lipstick: 0..1.  lipstick_linear.  eyeliner: 0..1.  eyeshadow: 0..1.  brow_makeup: 0..1.
        glasses: name in GLASSES.  glasses_linear: colour of the frame.
        occluder: none, strand, hand.  occluder_side: -1 or 1.
        clothes: name in CLOTHES.  clothes_linear, clothes_second_linear.
        noise: standard deviation in sRGB 0..1.  blur_px: at 256 px.  jpeg_quality: 0 none.  shoulder_yaw_rad: of the
            body.  frame: of a sequence; moves the film's grain.
    """

    picture_id: int
    seed: int
    yaw_rad: float
    pitch_rad: float
    gaze_yaw_rad: float
    gaze_pitch_rad: float
    expression: tuple[tuple[str, float], ...]
    key: Lamp
    fill: Lamp
    rim: Lamp
    ambient: RGB
    ambient_bounce: RGB
    exposure: float
    background: str
    background_seed: int
    hair_style: str
    hair_linear: RGB
    hair_grey: float
    hair_length: float
    hair_volume: float
    hair_curl: float
    parting: float
    hairline: float
    hair_gloss: float
    lipstick: float
    lipstick_linear: RGB
    eyeliner: float
    eyeshadow: float
    brow_makeup: float
    glasses: str
    glasses_linear: RGB
    occluder: str
    occluder_side: float
    clothes: str
    clothes_linear: RGB
    clothes_second_linear: RGB
    noise: float
    blur_px: float
    jpeg_quality: int
    shoulder_yaw_rad: float
    frame: int = 0


def scene_rng(seed: int, picture_id: int) -> np.random.Generator:
    """The generator that belongs to one picture of one seed."""
    return random_stream(0x5CE, seed, picture_id)


def scene_from_seed(seed: int, picture_id: int, owner: Person | None = None) -> Scene:
    """The scene of picture `picture_id`; a pure function of its arguments.

    `owner` is the person whose picture it is (hair, make-up and clothes follow habits); without one, a person is drawn.
    """
    rng = scene_rng(seed, picture_id)
    owner = owner if owner is not None else person_from_seed(seed, 1_000_003 + picture_id)
    background = str(rng.choice(BACKGROUNDS, p=[0.24, 0.2, 0.2, 0.1, 0.13, 0.07, 0.06]))
    return Scene(
        picture_id=picture_id,
        seed=int(rng.integers(1 << 31)),
        background=background,
        background_seed=int(rng.integers(1 << 31)),
        **_pose(rng),
        **_light(rng, background, owner),
        **_hair(rng, owner),
        **_dress(rng, owner),
        expression=expression_of(rng),
        noise=float(rng.gamma(2.0, 0.0026)),
        blur_px=float(abs(rng.normal(0, 0.35))),
        jpeg_quality=int(rng.integers(72, 98)) if rng.random() < 0.5 else 0,
    )


def _pose(rng: np.random.Generator) -> dict:
    """Mostly near the camera: yaw sigma 15 degrees with a tail to about 50, pitch sigma 6."""
    yaw = float(np.clip(rng.normal(0, math.radians(13 if rng.random() < 0.75 else 26)), -0.9, 0.9))
    away = rng.random() < 0.13
    return {
        "yaw_rad": yaw,
        "pitch_rad": float(np.clip(rng.normal(math.radians(1.0), math.radians(6.5)), -0.38, 0.38)),
        "gaze_yaw_rad": float(rng.normal(0, 0.28 if away else 0.03)),
        "gaze_pitch_rad": float(rng.normal(0, 0.12 if away else 0.025)),
        "shoulder_yaw_rad": yaw * float(rng.uniform(0.0, 0.8)) + float(rng.normal(0, 0.15)),
    }


def expression_of(rng: np.random.Generator) -> tuple[tuple[str, float], ...]:
    """Friendly, as people are before a camera:

    closed and open smiles most, then calm, talking, surprise, sadness, anger.
    """
    kind = str(
        rng.choice(["grin", "smile", "calm", "talk", "laugh", "surprise", "sad", "angry", "wink"],
                   p=[0.31, 0.22, 0.22, 0.07, 0.09, 0.03, 0.03, 0.02, 0.01])
    )  # fmt: skip
    u = rng.uniform
    values: dict[str, float] = {}

    def pair(name: str, value: float, spread: float = 0.15) -> None:
        """Left and right of an expression, a little unlike each other."""
        for side in ("_L", "_R"):
            values[name + side] = float(np.clip(value * (1 + spread * rng.standard_normal()), 0, 1))

    if kind in ("grin", "laugh"):
        pair("mouthSmile", u(0.55, 0.95), 0.06)
        pair("cheekSquint", u(0.2, 0.7))
        pair("eyeSquint", u(0.05, 0.45))
        pair("mouthUpperUp", u(0.15, 0.45), 0.08)
        pair("mouthLowerDown", u(0.1, 0.35), 0.08)
        values["jawOpen"] = float(u(0.02, 0.12) if kind == "grin" else u(0.15, 0.4))
    elif kind == "smile":
        pair("mouthSmile", u(0.25, 0.7), 0.1)
        pair("cheekSquint", u(0.0, 0.35))
        pair("mouthDimple", u(0.0, 0.3))
    elif kind == "talk":
        values["jawOpen"] = float(u(0.1, 0.4))
        values["mouthFunnel"] = float(u(0.0, 0.4))
        pair("mouthUpperUp", u(0.0, 0.3))
    elif kind == "surprise":
        values["jawOpen"] = float(u(0.25, 0.6))
        values["browInnerUp"] = float(u(0.4, 0.9))
        pair("browOuterUp", u(0.4, 0.9))
        pair("eyeWide", u(0.2, 0.7))
    elif kind == "sad":
        pair("mouthFrown", u(0.3, 0.7))
        values["browInnerUp"] = float(u(0.3, 0.8))
    elif kind == "angry":
        pair("browDown", u(0.5, 1.0))
        pair("mouthPress", u(0.1, 0.5))
        pair("eyeSquint", u(0.2, 0.5))
    elif kind == "wink":
        values["eyeBlink_L" if rng.random() < 0.5 else "eyeBlink_R"] = 1.0
        pair("mouthSmile", u(0.3, 0.7))
    else:
        pair("mouthSmile", u(0.0, 0.15))
        pair("mouthPress", u(0.0, 0.2))
    if kind not in ("wink", "surprise"):
        pair("eyeBlink", float(abs(rng.normal(0.04, 0.07))), 0.05)
        if rng.random() < 0.35:
            pair("browOuterUp", u(0.0, 0.35), 0.3)
        if rng.random() < 0.03:
            pair("eyeBlink", 1.0, 0.0)
    return tuple(sorted((name, value) for name, value in values.items() if value > 0.004))


def kelvin_linear(kelvin: float) -> RGB:
    """Tint of a lamp relative to daylight of 6000 K: linear RGB with green 1 (a smooth fit to black bodies, ours)."""
    warmth = math.log(6000.0 / kelvin)
    return (math.exp(0.55 * warmth), 1.0, math.exp(-0.85 * warmth))


def _light(rng: np.random.Generator, background: str, owner: Person) -> dict:
    """A key, a fill, a rim and two ambient colours; outdoors the sky is strong, in a studio the key is."""
    outdoors = background in ("foliage", "sky", "street")
    contrast = float(rng.beta(1.6, 2.6))
    key_k = float(rng.normal(5600, 350) if outdoors else rng.normal(5000, 600))
    side = float(rng.choice([-1.0, 1.0]))
    azimuth = side * float(np.clip(abs(rng.normal(0.45, 0.45)), 0, 1.5))
    key = Lamp(azimuth, float(np.clip(rng.normal(0.62, 0.25), 0.1, 1.2)), 0.78 + 0.80 * contrast,
               kelvin_linear(float(np.clip(key_k, 3700, 7000))), float(rng.beta(2.5, 1.6)))  # fmt: skip
    fill = Lamp(-side * float(rng.uniform(0.3, 1.3)), float(rng.uniform(-0.1, 0.5)), float(rng.uniform(0.05, 0.3)),
                kelvin_linear(float(rng.uniform(5000, 6800))), 1.0)  # fmt: skip
    rim = Lamp(float(rng.choice([-1.0, 1.0])) * float(rng.uniform(2.1, 2.8)), float(rng.uniform(0.2, 0.9)),
               float(max(0.0, rng.normal(0.2, 0.45))), kelvin_linear(float(rng.uniform(4600, 6800))), 0.6)  # fmt: skip
    level = 0.50 - 0.26 * contrast
    sky = kelvin_linear(float(rng.uniform(6000, 7200) if outdoors else rng.uniform(4700, 6200)))
    bounce = kelvin_linear(float(rng.uniform(4600, 6000)))
    dark = (60.0 - owner.lightness) / 33.0
    exposure = float(np.exp(rng.normal(0.29, 0.13) + 0.22 * dark))
    return {
        "key": key,
        "fill": fill,
        "rim": rim,
        "ambient": tuple(level * c for c in sky),
        "ambient_bounce": tuple(level * float(rng.uniform(0.35, 0.7)) * c for c in bounce),
        "exposure": exposure,
    }


def _hair(rng: np.random.Generator, owner: Person) -> dict:
    """The owner's natural colour mostly, the owner's usual style half of the time."""
    names, odds = style_odds(owner.masculinity, owner.age_years, owner.lightness)
    style = owner.hair_habit if rng.random() < 0.6 else str(rng.choice(names, p=odds))
    if owner.hair_habit == "bald":
        style = "bald"
    elif style == "bald":
        style = "buzz"
    colour = owner.hair_colour
    grey = owner.grey
    if owner.masculinity < 0 and rng.random() < 0.3:
        grey = 0.0
        if rng.random() < 0.5:
            colour = str(rng.choice(["dark_brown", "brown", "light_brown", "auburn", "dark_blond"]))
    linear = np.array(skin.HAIR_COLOURS[colour]) * np.exp(rng.normal(0, 0.12))
    return {
        "hair_style": style,
        "hair_linear": tuple(float(c) for c in linear),
        "hair_grey": grey,
        "hair_length": float(rng.uniform(0.78, 1.3)),
        "hair_volume": float(rng.uniform(0.7, 1.4)),
        "hair_curl": float(rng.random()),
        "parting": float(np.clip(rng.choice([-0.5, 0.0, 0.5]) + rng.normal(0, 0.1), -1, 1)),
        "hairline": _hairline(rng, owner),
        "hair_gloss": float(rng.beta(2, 2)),
    }


def _hairline(rng: np.random.Generator, owner: Person) -> float:
    """Low on feminine foreheads; recedes with age on masculine ones."""
    drawn = rng.normal(-0.75, 0.3) if owner.masculinity < 0 else rng.normal(-0.2, 0.35) + (owner.age_years - 40) / 45
    return float(np.clip(drawn, -1.3, 1.2))


_FABRICS: tuple[RGB, ...] = (
    (0.02, 0.02, 0.024), (0.06, 0.06, 0.066), (0.62, 0.61, 0.58), (0.78, 0.78, 0.77), (0.022, 0.035, 0.085),
    (0.06, 0.10, 0.19), (0.28, 0.035, 0.035), (0.09, 0.014, 0.022), (0.05, 0.09, 0.045), (0.30, 0.21, 0.12),
    (0.14, 0.082, 0.048), (0.28, 0.30, 0.32), (0.36, 0.46, 0.58), (0.52, 0.30, 0.31), (0.48, 0.36, 0.10),
    (0.05, 0.16, 0.17),
)  # fmt: skip


def _dress(rng: np.random.Generator, owner: Person) -> dict:
    """Make-up, glasses, clothes and what hides a part of the face."""
    feminine = owner.masculinity < 0
    made_up = feminine and rng.random() < 0.55
    glasses = "none"
    if rng.random() < owner.glasses_habit:
        glasses = str(rng.choice(GLASSES[1:4]))
    elif rng.random() < 0.015:
        glasses = "sunglasses"
    lipsticks = ((0.34, 0.03, 0.04), (0.38, 0.10, 0.10), (0.20, 0.03, 0.05), (0.45, 0.16, 0.14), (0.30, 0.05, 0.10))
    frames = ((0.008, 0.008, 0.009), (0.035, 0.018, 0.010), (0.12, 0.10, 0.09), (0.30, 0.22, 0.11), (0.10, 0.02, 0.02))
    dark = float(rng.uniform(0.6, 1.1))
    return {
        "lipstick": float(rng.uniform(0.25, 0.9)) if made_up and rng.random() < 0.7 else 0.0,
        "lipstick_linear": lipsticks[int(rng.integers(len(lipsticks)))],
        "eyeliner": float(rng.uniform(0.4, 1.0)) if made_up else (0.2 if feminine else 0.0),
        "eyeshadow": float(rng.uniform(0.1, 0.7)) if made_up and rng.random() < 0.6 else 0.0,
        "brow_makeup": float(rng.uniform(0.2, 0.8)) if made_up and rng.random() < 0.5 else 0.0,
        "glasses": glasses,
        "glasses_linear": frames[int(rng.integers(len(frames)))],
        "occluder": str(rng.choice(["none", "strand", "hand"], p=[0.95, 0.025, 0.025])),
        "occluder_side": float(rng.choice([-1.0, 1.0])),
        "clothes": str(rng.choice(CLOTHES, p=[0.28, 0.2, 0.16, 0.1, 0.12, 0.14])),
        "clothes_linear": tuple(dark * c for c in _FABRICS[int(rng.integers(len(_FABRICS)))]),
        "clothes_second_linear": tuple(dark * c for c in _FABRICS[int(rng.integers(len(_FABRICS)))]),
    }
