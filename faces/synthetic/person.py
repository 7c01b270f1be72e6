"""Who somebody is: the numbers that a swap carries over from the source.

Identity (ours, and what the true swap transfers): the shape of face and head, albedo detail, eye colour, brows, lips'
pigment, moles, freckles, age lines, facial hair. The skin's tone belongs to the person too, but a face-only swap keeps
the target's (see swaps.py). Hair on the head is NOT identity: a person only has a habit of wearing it, which scenes
use.
"""

from dataclasses import dataclass

import numpy as np

from faces.morphable.builtin_identity_table import IDENTITY, LID_MODES
from faces.synthetic import skin
from faces.synthetic.numerics import random_stream

#: Numbers drawn for shape and for albedo; a head uses as many as it has modes.
N_SHAPE = 160
N_ALBEDO = 96


@dataclass(frozen=True)
class Person:
    """One identity, plain numbers only.

    Attributes:
        person_id: index within the seed's population.
        masculinity: -1 (feminine) .. 1 (masculine) presentation.  age_years: 18 .. 80.
        shape, albedo: head coefficients, each about N(0, 1) (N_SHAPE and N_ALBEDO numbers).
        lightness, undertone_a, undertone_b: CIE L* of the skin and offsets from the human arc.
        ruddiness: haemoglobin of cheeks and nose, 0..1.  blotchiness: unevenness of tone, 0..1.  gloss: 0..1.
        lip_pigment: -1 pale .. 1 dark red.  eye_shade: darkness round the eyes, 0..1.
        iris: name in skin.IRIS_COLOURS.  iris_warmth: 0..1 share of the inner colour.  limbal: strength of the ring,
            0..1.
        brow_thickness: 0.4 .. 1.4 of the mean.  brow_density: 0..1.  brow_tilt: -1..1.  brow_darkness: 0..1.
        freckles: 0..1.  moles: (x_mm, y_mm, radius_mm) on the front of the mean head.
        lines: age lines, 0..1.  texture_seed: picks the person's own patch of skin noise.
        beard_style: none, stubble, moustache, goatee, full.  beard_mm: length of its hair.  beard_density: 0..1.
        hair_colour: natural colour, name in skin.HAIR_COLOURS.  grey: 0..1 share of grey.  hair_habit: usual style.
        glasses_habit: chance of glasses in a picture.
    """

    person_id: int
    masculinity: float
    age_years: float
    shape: tuple[float, ...]
    albedo: tuple[float, ...]
    lightness: float
    undertone_a: float
    undertone_b: float
    ruddiness: float
    blotchiness: float
    gloss: float
    lip_pigment: float
    eye_shade: float
    iris: str
    iris_warmth: float
    limbal: float
    brow_thickness: float
    brow_density: float
    brow_tilt: float
    brow_darkness: float
    freckles: float
    moles: tuple[tuple[float, float, float], ...]
    lines: float
    texture_seed: int
    beard_style: str
    beard_mm: float
    beard_density: float
    hair_colour: str
    grey: float
    hair_habit: str
    glasses_habit: float

    @property
    def skin_linear(self) -> np.ndarray:
        """(3,) float32 linear RGB of the plain skin."""
        return skin.skin_colour_linear(self.lightness, self.undertone_a, self.undertone_b)


#: Hair styles and their odds by presentation (feminine, masculine); geometry is in hair_styles.py.
STYLE_ODDS: dict[str, tuple[float, float]] = {
    "bald": (0.0, 0.06),
    "buzz": (0.01, 0.12),
    "short": (0.03, 0.27),
    "side_part": (0.03, 0.22),
    "quiff": (0.0, 0.12),
    "pixie": (0.08, 0.04),
    "afro": (0.07, 0.06),
    "curly": (0.12, 0.07),
    "bob": (0.14, 0.0),
    "long_straight": (0.20, 0.02),
    "long_wavy": (0.18, 0.02),
    "fringe": (0.08, 0.0),
    "bun": (0.10, 0.0),
}


def style_odds(masculinity: float, age_years: float, lightness: float) -> tuple[list[str], np.ndarray]:
    """Hair styles and their chances for a presentation, an age and a skin lightness (ours)."""
    share = np.clip(masculinity / 2 + 0.5, 0.0, 1.0)
    odds = np.array([f * (1 - share) + m * share for f, m in STYLE_ODDS.values()])
    names = list(STYLE_ODDS)
    odds[names.index("bald")] *= np.interp(age_years, [25, 60], [0.2, 2.5])
    tight = float(np.clip((48.0 - lightness) / 12.0, 0.0, 1.0))
    odds[names.index("afro")] *= 0.05 + 3.5 * tight
    odds[names.index("curly")] *= 0.8 + 1.5 * tight
    for straight in ("long_straight", "fringe", "quiff", "side_part", "bob"):
        odds[names.index(straight)] *= 1.0 - 0.75 * tight
    return names, odds / odds.sum()


def person_rng(seed: int, person_id: int) -> np.random.Generator:
    """The generator that belongs to one person of one seed."""
    return random_stream(0x5E0, seed, person_id)


def person_from_seed(seed: int, person_id: int) -> Person:
    """The person `person_id` of the population `seed`;

    a pure function. Skin lightness is stratified over eight people.
    """
    rng = person_rng(seed, person_id)
    low, high = skin.SKIN_L_RANGE
    strata = random_stream(0x5E1, seed, person_id // 8).permutation(8)
    lightness = low + (high - low) * (strata[person_id % 8] + rng.random()) / 8
    masculinity = float(np.clip(rng.choice([-1.0, 1.0]) * (0.8 + 0.25 * rng.standard_normal()), -1, 1))
    age = float(18 + 62 * rng.beta(1.3, 2.2))
    names, odds = skin.hair_odds(lightness)
    irises, iris_odds = skin.iris_odds(lightness)
    fair = float(np.clip((lightness - 52) / 15, 0, 1))
    hair = str(rng.choice(names, p=odds))
    styles, weights = style_odds(masculinity, age, lightness)
    beard, beard_mm = _beard(rng, masculinity)
    brow = 0.82 + 0.13 * rng.standard_normal() + 0.18 * masculinity
    red_haired = hair in ("red", "auburn")
    return Person(
        person_id=person_id,
        masculinity=masculinity,
        age_years=age,
        shape=_shape(rng, masculinity, age, lightness),
        albedo=tuple(float(x) for x in rng.standard_normal(N_ALBEDO).clip(-2.5, 2.5)),
        lightness=float(lightness),
        undertone_a=float(rng.normal(0, 1.0)),
        undertone_b=float(rng.normal(0, 1.5)),
        ruddiness=float(rng.beta(2, 2.5)),
        blotchiness=float(rng.beta(2, 3)),
        gloss=float(rng.beta(2, 3)),
        lip_pigment=float(np.clip(rng.normal(-0.1 * masculinity, 0.45), -1, 1)),
        eye_shade=float(rng.beta(2, 3.5)),
        iris=str(rng.choice(irises, p=iris_odds)),
        iris_warmth=float(rng.random()),
        limbal=float(rng.random()),
        brow_thickness=float(np.clip(brow, 0.4, 1.4)),
        brow_density=float(np.clip(rng.normal(0.62 + 0.16 * masculinity, 0.15), 0.25, 1.0)),
        brow_tilt=float(np.clip(rng.normal(0, 0.5), -1, 1)),
        brow_darkness=float(rng.beta(3, 2)),
        freckles=float(rng.random() * (0.9 if red_haired else 0.6)) if rng.random() < 0.1 + 0.3 * fair else 0.0,
        moles=_moles(rng),
        lines=float(np.clip((age - 32) / 45 + rng.normal(0, 0.12), 0, 1)),
        texture_seed=int(rng.integers(1 << 30)),
        beard_style=beard,
        beard_mm=beard_mm,
        beard_density=float(rng.uniform(0.55, 1.0)),
        hair_colour=hair,
        grey=float(np.clip((age - rng.normal(52, 9)) / 18, 0, 1)),
        hair_habit=str(rng.choice(styles, p=weights)),
        glasses_habit=float(rng.choice([0.0, 0.1, 0.9], p=[0.5, 0.35, 0.15])),
    )


#: Leanings of the named shape modes (builtin_identity_table.py) in standard deviations: masculine, old, dark skin.
_LEANINGS: dict[str, tuple[float, float, float]] = {
    "masculine": (1.65, 0.0, 0.0), "jaw_width": (0.85, 0.1, 0.0), "brow_ridge": (0.95, 0.2, 0.0),
    "neck_width": (1.35, 0.1, 0.0), "larynx": (1.2, 0.3, 0.0), "chin_square": (0.8, 0.0, 0.0),
    "nose_width": (0.45, 0.2, 0.7), "brow_height": (-0.8, -0.3, 0.0), "upper_lip_fullness": (-0.6, -0.7, 0.7),
    "lower_lip_fullness": (-0.5, -0.5, 0.7), "mouth_protrusion": (0.0, 0.0, 0.35), "mouth_width": (0.3, 0.0, 0.0),
    "nose_bridge_height": (0.4, 0.1, -0.5), "ear_size": (0.4, 0.8, 0.0), "ear_lobe": (0.0, 0.8, 0.0),
    "eye_bag": (0.0, 1.1, 0.0), "tear_trough": (0.0, 0.9, 0.0), "naso_labial_fold": (0.25, 1.2, 0.0),
    "marionette_fold": (0.1, 1.1, 0.0), "jowls": (0.0, 1.2, 0.0), "age_sag": (0.0, 1.2, 0.0),
    "cheek_fullness": (-0.5, -0.4, 0.0), "temple_width": (0.0, -0.4, 0.0), "philtrum_length": (0.45, 0.6, 0.0),
    "cheekbone_front": (-0.35, -0.2, 0.0), "cheek_hollow": (0.4, 0.4, 0.0), "nose_length": (0.55, 0.5, 0.0),
    "eye_height": (-0.3, -0.2, 0.0), "nostril_flare": (0.2, 0.0, 0.45), "lower_face_height": (0.7, 0.0, 0.0),
    "chin_width": (0.6, 0.0, 0.0), "chin_length": (0.4, 0.0, 0.0), "face_taper": (-0.8, 0.0, 0.0),
    "face_width": (0.3, 0.0, 0.0), "ear_protrusion": (-0.4, 0.0, 0.0), "nose_tip_up": (-0.5, -0.2, 0.0),
    "forehead_round": (-0.6, 0.0, 0.0), "forehead_slope": (0.5, 0.0, 0.0), "forehead_height": (-0.1, 0.0, 0.0),
    "glabella": (0.6, 0.0, 0.0), "nose_hump": (0.35, 0.1, -0.1), "nose_tip_bulb": (0.25, 0.2, 0.1),
    "nose_protrusion": (0.3, 0.0, -0.1), "orbit_hollow": (0.1, 0.3, 0.0), "eye_depth": (0.35, 0.2, 0.0),
    "eye_opening": (-0.7, -0.4, 0.0), "eye_round": (-0.4, 0.0, 0.0), "eye_width": (-0.3, 0.0, 0.0),
    "jaw_edge": (0.5, 0.0, 0.0), "neck_slope": (0.2, 0.5, 0.0), "double_chin": (0.0, 0.5, 0.0),
    "brow_fold": (0.4, 0.5, 0.0), "brow_slope": (-0.35, 0.0, 0.0),
}  # fmt: skip
#: Spread of a person's shape coefficients: people are drawn a little nearer the mean than the head allows.
_SPREAD = 0.82


def _shape(rng: np.random.Generator, masculinity: float, age_years: float, lightness: float) -> tuple[float, ...]:
    """Shape coefficients: independent draws, and leanings by presentation, age and skin (ours, much overlap).

    A mode that leans strongly spreads less round its leaning, as a conditional normal distribution does.
    """
    drawn = _SPREAD * rng.standard_normal(N_SHAPE)
    old, dark = (age_years - 42.0) / 22.0, (49.0 - lightness) / 16.0
    place = {name: i for i, name in enumerate((*IDENTITY, *LID_MODES))}
    for name, (male, aged, deep) in _LEANINGS.items():
        i = place[name]
        drawn[i] *= 1.0 / np.sqrt(1.0 + 0.8 * male**2)
        drawn[i] += male * masculinity + aged * max(old, -0.6) + deep * dark
    return tuple(float(x) for x in drawn.clip(-2.4, 2.4))


def _beard(rng: np.random.Generator, masculinity: float) -> tuple[str, float]:
    """Style and length in mm; feminine presentations have none."""
    style = str(rng.choice(["none", "stubble", "moustache", "goatee", "full"], p=[0.42, 0.25, 0.06, 0.09, 0.18]))
    length = {"none": 0.0, "stubble": 0.9, "moustache": 6.0, "goatee": 7.0, "full": 9.0}[style]
    length *= float(rng.uniform(0.6, 1.5))
    return (style, length) if masculinity > 0.35 else ("none", 0.0)


def _moles(rng: np.random.Generator) -> tuple[tuple[float, float, float], ...]:
    """0 to 6 moles over the front of the face, in mm on the mean head."""
    count = int(min(rng.poisson(1.4), 6))
    return tuple(
        (float(rng.uniform(-62, 62)), float(rng.uniform(-105, 60)), float(rng.uniform(0.5, 1.5))) for _ in range(count)
    )
