"""What the scene puts before the face besides hair: glasses and a hand. They follow the picture's owner. Ours."""

from dataclasses import dataclass

import numpy as np

from faces.synthetic import glasses as eyewear
from faces.synthetic import hand_shading
from faces.synthetic.anatomy import Anatomy
from faces.synthetic.hands import Hand, hand_of
from faces.synthetic.lighting import Rig, ShadowView
from faces.synthetic.posing import Posed
from faces.synthetic.scene import Scene


@dataclass(frozen=True)
class Things:
    """Glasses and hand of one picture, laid on its owner's head; None where there are none.

    Their shadows are light, not cover: a picture and its true swaps have them alike, and no mask counts them.
    """

    glasses: eyewear.Glasses | None
    hand: Hand | None

    def cast(self, posed: Posed, view: ShadowView, shadow: np.ndarray) -> None:
        """Add them to the key lamp's shadow map, in place."""
        if self.glasses is not None:
            eyewear.cast(self.glasses, posed, view, shadow)
        if self.hand is not None:
            hand_shading.cast(self.hand, posed, view, shadow)

    def draw(
        self, colour: np.ndarray, depth_mm: np.ndarray, ids: np.ndarray, posed: Posed, rig: Rig, view: ShadowView,
        shadow: np.ndarray, skin_linear: np.ndarray,
    ) -> None:  # fmt: skip
        """Draw them over the samples, in place. skin_linear: (3,) of the picture's owner."""
        if self.glasses is not None:
            eyewear.draw(self.glasses, colour, depth_mm, ids, posed, rig)
        if self.hand is not None:
            hand_shading.draw(self.hand, colour, depth_mm, ids, posed, rig, view, shadow, skin_linear)


def things_of(posed: Posed, scene: Scene, anatomy: Anatomy) -> Things:
    """The scene's things on the owner's head."""
    return Things(eyewear.glasses_of(posed, scene, anatomy), hand_of(posed, scene, anatomy))
