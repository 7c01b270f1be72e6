"""How photographs are fitted and masked. Generated people, whose landmarks are exact, have the defaults. Ours.

docs/faces.md has what each choice is worth.
"""

from faces.fitting.settings import FitSettings
from faces.occluders import OccluderSettings

#: Least width at which they are fitted where nothing else is asked for, px, and that of generated people (as in the
#: shards). At 128 px half of a real fringe was taken for forehead; what covers generated people is found alike at both.
PHOTOGRAPH_FIT_PX, FIT_PX = 256, 128
#: Landmarks that a network or a hand set: believed like exact ones, their errors go into shape, pose and gaze. Such a
#: fit lies further from its landmarks, and so may be further off before it is refused.
PHOTOGRAPH_FIT = FitSettings(noise_percent=2.0, max_nme_percent=7.0)
#: Their fits are worse, and no generated person has their shades and teeth.
PHOTOGRAPH_OCCLUDERS = OccluderSettings(method="photographs", islands=False)


def fit_width_px(size_px: int, is_generated: bool) -> int:
    """The width at which a face is fitted that a method sees at size_px: a multiple of it."""
    return size_px * -(-(FIT_PX if is_generated else PHOTOGRAPH_FIT_PX) // size_px)


def settings_of(is_generated: bool) -> tuple[FitSettings, OccluderSettings]:
    """How faces are fitted and masked: generated people, or photographs."""
    return (FitSettings(), OccluderSettings()) if is_generated else (PHOTOGRAPH_FIT, PHOTOGRAPH_OCCLUDERS)
