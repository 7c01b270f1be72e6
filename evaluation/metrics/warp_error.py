"""`warp_error`: flicker in the face that the motion of the target does not explain, beyond the target's own.

The next frame is warped back by the optical flow between the TARGET's frames (DIS, Kroeger et al. 2016, OpenCV's
medium preset), which every system must follow; pixels that the flow says are hidden (forward and backward flow
disagree: Sundaram et al. 2010, |f + b|^2 > 0.01 (|f|^2 + |b|^2) + 0.5) are left out. The root mean square difference
to the frame, inside the face, in grey levels, minus the same of the target itself, which holds film grain and what
the flow misses; below 0 (smoother than the film, as blur is) counts as 0. Range 0..255, lower is better; the target
has 0. Source: Lai et al. 2018 (ECCV), E_warp; the subtraction and the region are ours.
"""

import cv2
import numpy as np

from evaluation.context import PairContext
from evaluation.frames import of_steps, steps
from evaluation.metrics.base import Metric


def flow_between(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(S, S, 3) uint8 twice -> (S, S, 2) float32 px from a to b, (S, S) bool where a is seen in b, too."""
    greys = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (a, b)]
    engine = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    forward, backward = engine.calc(greys[0], greys[1], None), engine.calc(greys[1], greys[0], None)
    returned = warped(backward, forward)
    gap = ((forward + returned) ** 2).sum(-1)
    length = (forward**2).sum(-1) + (returned**2).sum(-1)
    return forward, gap <= 0.01 * length + 0.5


def warped(image: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """(S, S, C) of the next frame, (S, S, 2) flow to it -> (S, S, C) float32 as seen in this frame."""
    size_px = len(flow)
    v, u = np.mgrid[:size_px, :size_px].astype(np.float32)
    where = (u + flow[..., 0], v + flow[..., 1])
    return cv2.remap(image.astype(np.float32), *where, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def step_errors(images: np.ndarray, here: np.ndarray, there: np.ndarray, flows: list, face: np.ndarray) -> np.ndarray:
    """(K,) root mean square of frame minus warped next frame in the seen face, grey levels; NaN where nothing is."""
    values = np.full(len(here), np.nan)
    for k, (a, b, (flow, seen)) in enumerate(zip(here, there, flows, strict=True)):
        inside = seen & face[a]
        if inside.any():
            squared = (images[a].astype(np.float32) - warped(images[b], flow)) ** 2
            values[k] = np.sqrt(squared[inside].mean())
    return values


def compute(context: PairContext) -> np.ndarray:
    """(N,) grey levels."""
    here, there = steps(context.target_keys, context.ok)
    known, images = context.target.recall("flows") or {}, context.target.image
    for a, b in zip(here.tolist(), there.tolist(), strict=True):
        known[a, b] = known.get((a, b)) or flow_between(images[a], images[b])
    context.target.remember("flows", known)
    flows = [known[step] for step in zip(here.tolist(), there.tolist(), strict=True)]
    errors = [
        step_errors(images, here, there, flows, context.face) for images in (context.result.image, context.target.image)
    ]
    return of_steps(np.maximum(errors[0] - errors[1], 0.0), context.target_keys, context.ok)


METRIC = Metric(
    "warp_error", "Flicker", "levels", "lower", compute,
    "Change from frame to frame in the face that the target's motion does not explain, beyond the target's own.",
)  # fmt: skip
