"""Photographs and 68 landmarks -> coefficients of a morphable head, with a verdict a face. Entry point: `fit`."""

from faces.fitting.fit import Fit, fit
from faces.fitting.settings import FitSettings

__all__ = ["Fit", "FitSettings", "fit"]
