"""Glasses, hands and loose locks in front of the face; they belong to the scene. Ours."""

import numpy as np

from faces.synthetic.anatomy import Anatomy
from faces.synthetic.lighting import Rig
from faces.synthetic.posing import Posed
from faces.synthetic.scene import Scene


def draw(
    colour: np.ndarray, depth_mm: np.ndarray, ids: np.ndarray, posed: Posed, scene: Scene, rig: Rig, anatomy: Anatomy
) -> None:
    """Draw the scene's glasses and occluders over the samples, in place."""
