"""Every number that fitting depends on, in one frozen record; all values are ours unless a source is named."""

from dataclasses import asdict, dataclass

import numpy as np

from faces.errors import SamaeError
from faces.files import digest_of


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """How a photograph is fitted.

    Attributes:
        n_identity: identity modes the landmark solve may use (the first ones; the rest stay 0).
        noise_percent: standard deviation of an honest landmark, percent of the distance of the outer eye corners. What
            the pixels of the eyes say of gaze counts less where it is large (faces/fitting/gaze.py).
        identity_sigma, expression_sigma: prior standard deviations of the coefficients (expressions lie in 0..1).
        ridge_weight, lip_weight: weight of the nose ridge (27..30) and of the inner lips (60..67); Deep3DFaceRecon
            gives both 20 in a mean squared error, here they are a likelihood's and smaller.
        contour_weight: weight of the 17 jaw points, whose place along the jaw is loosely defined.
        contour: "sliding" moves the jaw points to the visible outline, "fixed" keeps them on their vertices,
            "auto" takes for each point whatever of the two, or of the line between them, is nearest.
        robust_percent: residual (percent of the same distance) from which a landmark is doubted.
        rigid_steps, shape_steps: Gauss-Newton steps of the pose alone, and of everything.
        max_nme_percent: a fit above this mean landmark error is not ok.
        working_px: side of the picture in which light and albedo are solved.
        light_rounds: alternations of light and albedo.
        colour_scale: residual (sRGB, 0..1) from which a pixel is doubted, before the robust scale is known.
        albedo_sigma: prior standard deviation of an albedo coefficient.
        pixel_noise: standard deviation of an honest pixel's linear reflectance (texture the modes cannot say).
        light_chroma_sigma: how far (natural logarithm) the light's colour may lie from white.
        light_level_sigma, light_level: spread (natural logarithm) and middle of the mean shading of the visible skin; 1
            shows the albedo as it is, lamps in front of a face make it more.
        gaze_px: side of the picture in which the irises are looked for; 0 leaves every gaze straight ahead.
        max_photometric_error: a fit above this mean colour error (sRGB 0..1) is not ok.
    """

    n_identity: int = 128
    noise_percent: float = 0.5
    identity_sigma: float = 1.0
    expression_sigma: float = 0.35
    ridge_weight: float = 3.0
    lip_weight: float = 2.0
    contour_weight: float = 0.4
    contour: str = "auto"
    robust_percent: float = 4.0
    rigid_steps: int = 4
    shape_steps: int = 8
    max_nme_percent: float = 5.0
    working_px: int = 96
    light_rounds: int = 2
    colour_scale: float = 0.10
    albedo_sigma: float = 1.0
    pixel_noise: float = 0.05
    light_chroma_sigma: float = 0.06
    light_level_sigma: float = 0.18
    light_level: float = 1.25
    gaze_px: int = 160
    max_photometric_error: float = 0.25

    def __post_init__(self) -> None:
        if self.contour not in ("sliding", "fixed", "auto"):
            raise SamaeError(f"contour is '{self.contour}'; it must be 'sliding', 'fixed' or 'auto'")
        if not 0.0 < self.noise_percent < np.inf:
            raise SamaeError(f"noise_percent is {self.noise_percent}; it must be more than 0 percent")
        if self.working_px < 16:
            raise SamaeError(f"working_px is {self.working_px}; light needs at least 16 px")
        if self.gaze_px < 0:
            raise SamaeError(f"gaze_px is {self.gaze_px}; it must be a side in pixels, or 0 for no gaze")

    @property
    def digest(self) -> str:
        """A digest of all settings, recorded beside every fit."""
        return digest_of(asdict(self))
