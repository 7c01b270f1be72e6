"""Colour of a hand: skin with creases, nails and warm fingertips, lit by the picture's lamps, and its shadow. Ours."""

import cv2
import numpy as np

from faces.synthetic import shading
from faces.synthetic.hands import PALM, THUMB, Hand, cast_balls, cast_depth
from faces.synthetic.lighting import Rig, ShadowView
from faces.synthetic.noise import NOISE_UNIT, noise_maps
from faces.synthetic.numerics import smoothstep, unit
from faces.synthetic.posing import Posed, to_pixels
from faces.synthetic.skin import with_pigment
from faces.synthetic.solids import soft_shadow
from faces.synthetic.windows import Window, window_of


def cast(hand: Hand, posed: Posed, view: ShadowView, depth: np.ndarray) -> None:
    """Add the hand to the key lamp's shadow map (side, side) float32, in place."""
    seen = view.project(posed.to_world(hand.balls))
    cast_depth(seen, np.stack([hand.radius * view.scale, hand.radius], 1), depth)


def draw(
    hand: Hand, colour: np.ndarray, depth_mm: np.ndarray, ids: np.ndarray, posed: Posed, rig: Rig, view: ShadowView,
    shadow: np.ndarray, skin_linear: np.ndarray,
) -> None:  # fmt: skip
    """Draw the hand over the samples, in place: contact shadow first. skin_linear: of the picture's owner."""
    camera = posed.camera.resized(len(ids))
    pixels = to_pixels(posed.to_world(hand.balls), camera)
    reach = hand.radius * camera.focal_px / pixels[:, 2]
    window = window_of(pixels, ids.shape, float(reach.max()) + 2)
    if window is None:
        return
    mm = camera.focal_px / float(pixels[:, 2].mean())
    size = window.bottom - window.top, window.right - window.left
    near, owner = np.full(size, np.inf, np.float32), np.full(size, -1, np.int32)
    way, normals = np.zeros(size, np.float32), np.zeros((*size, 3), np.float32)
    balls = pixels - np.array([window.left, window.top, 0.0], np.float32)
    cast_balls(balls, np.stack([reach, hand.radius], 1), hand.part, hand.along, near, owner, way, normals)
    cover = np.zeros(ids.shape, np.uint8)
    cover[window.part] = owner >= 0
    away = rig.lamps[0, :2] * np.array([-2.5, 2.5]) * mm
    for sigma, strength in ((2.2, 0.50), (7.0, 0.42)):
        soft_shadow(colour, cover, ids == shading.ID_NONE, sigma * mm, (float(away[0]), float(away[1])), strength)
    shown = (owner >= 0) & (near < depth_mm[window.part])
    if not shown.any():
        return
    places = _places(near, window, camera.focal_px, len(ids))
    lit = _paint(hand, near, owner, way, normals, places, posed, rig, view, shadow, skin_linear, mm)
    colour[window.part][shown] = lit[shown]
    depth_mm[window.part][shown] = near[shown]
    ids[window.part][shown] = shading.ID_OCCLUDER


def _places(near: np.ndarray, window: Window, focal_px: float, side: int) -> np.ndarray:
    """(H, W, 3) world places of a window's samples from their depth, mm; far away where nothing is."""
    depth = np.where(np.isfinite(near), near, 1e4)
    y, x = np.mgrid[window.top : window.bottom, window.left : window.right].astype(np.float32) + 0.5 - side / 2
    return np.stack([x * depth / focal_px, -y * depth / focal_px, -depth], -1)


def _mean_near(values: np.ndarray, inside: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian mean of values (H, W, ...) over the samples inside (H, W) 0 or 1."""
    weight = np.maximum(cv2.GaussianBlur(inside, (0, 0), sigma), 1e-4)
    mask = inside[..., None] if values.ndim == 3 else inside
    soft = cv2.GaussianBlur(values * mask, (0, 0), sigma)
    return soft / (weight[..., None] if values.ndim == 3 else weight)


def _paint(
    hand: Hand, near: np.ndarray, owner: np.ndarray, way: np.ndarray, normals: np.ndarray, places: np.ndarray,
    posed: Posed, rig: Rig, view: ShadowView, shadow: np.ndarray, skin_linear: np.ndarray, mm: float,
) -> np.ndarray:  # fmt: skip
    """(H, W, 3) linear light of the hand's samples."""
    inside = (owner >= 0).astype(np.float32)
    depth = np.where(owner >= 0, near, 0.0).astype(np.float32)
    palm = smoothstep(0.2, 0.8, cv2.GaussianBlur((owner == PALM).astype(np.float32), (0, 0), 2.5 * mm))[..., None]
    smooth = _mean_near(normals, inside, 0.7 * mm) * (1 - palm) + palm * _mean_near(normals, inside, 3.2 * mm)
    hollow = np.maximum(depth - _mean_near(depth, inside, 3.5 * mm), 0.0) * inside
    sky = np.exp(-hollow / 5.0)
    head = (places - posed.translation_mm * np.array([1.0, -1.0, -1.0])) @ posed.turn
    blood, melanin = _pigment(hand, owner, way, head, mm)
    albedo = with_pigment(np.asarray(skin_linear) * hand.tone, melanin[..., None], blood[..., None])
    gloss, albedo, smooth = _nails(hand, owner, head, albedo, smooth, posed)
    return _light(unit(smooth), albedo, gloss, sky, _key_share(places, view, shadow), rig)


def _pigment(
    hand: Hand, owner: np.ndarray, way: np.ndarray, head: np.ndarray, mm: float
) -> tuple[np.ndarray, np.ndarray]:
    """Blood and melanin (H, W) beside plain skin: warm tips and knuckles, creases over the joints, mottled skin."""
    u, v = (np.floor(head[..., k] * 3.0).astype(int) & 511 for k in (0, 1))
    clouds, pores = (noise_maps()[k, v, u] * NOISE_UNIT for k in (1, 2))
    blood = 0.03 + 0.05 * clouds + 0.22 * np.exp(-((way / 11.0) ** 2))
    melanin = 0.01 + 0.025 * clouds + 0.03 * pores
    digit = np.clip(owner, 0, THUMB)
    shown = min(1.0, max(0.0, 1.2 * mm - 0.6))
    for k in range(2):
        joint = hand.joints[digit, k]
        over = np.exp(-(((way - joint) / 5.5) ** 2)) * (owner != PALM)
        blood += 0.14 * over
        for offset in (-2.6, 0.0, 2.4):
            melanin += shown * 0.20 * np.exp(-(((way - joint - offset) / 0.75) ** 2)) * (owner != PALM) * (owner >= 0)
        melanin += 0.05 * over
    return blood, melanin


def _nails(
    hand: Hand, owner: np.ndarray, head: np.ndarray, albedo: np.ndarray, normals: np.ndarray, posed: Posed
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gloss (H, W), albedo and normals (H, W, 3) with the five nails on."""
    gloss = np.full(owner.shape, 0.22)
    for k, ((centre, side, heading, out), half) in enumerate(zip(hand.nails, hand.nail_mm, strict=True)):
        away = head - centre
        x, y, z = away @ side / half, away @ heading / (1.30 * half), away @ out
        ring = (np.abs(x) ** 2.6 + np.abs(y) ** 2.6) ** (1 / 2.6)
        near = (owner == k) & (z > -0.8 * half)
        nail = smoothstep(1.06, 0.92, ring) * near
        fold = np.exp(-(((ring - 1.04) / 0.09) ** 2)) * near * (y < 0.6)
        edge = smoothstep(0.66, 0.84, y) * nail
        moon = smoothstep(0.34, 0.20, np.hypot(x, (y + 0.92) / 1.1)) * nail
        pink = albedo * np.array([1.10, 0.98, 0.98]) + np.array([0.075, 0.040, 0.036])
        pale = 0.45 * albedo + np.array([0.33, 0.29, 0.25])
        albedo = albedo + nail[..., None] * (pink - albedo)
        albedo = albedo + (0.75 * edge + 0.3 * moon)[..., None] * (pale - albedo)
        albedo = albedo * (1 - 0.30 * fold)[..., None]
        flat = posed.turn @ (out * 1.0) + 0.55 * x[..., None] * (posed.turn @ side)
        normals = normals + (0.75 * nail)[..., None] * (flat - normals)
        gloss = gloss + nail * (0.9 - gloss)
    return gloss, albedo, normals


def _key_share(places: np.ndarray, view: ShadowView, shadow: np.ndarray) -> np.ndarray:
    """(H, W) share of the key lamp, from its shadow map (the hand is in it: the margin is wider than for the head)."""
    seen = view.project(places.astype(np.float32))
    total = np.zeros(seen.shape[:2])
    for right, down in ((-1.2, -1.2), (1.2, -1.2), (-1.2, 1.2), (1.2, 1.2)):
        x, y = (seen[..., 0] + right).astype(int), (seen[..., 1] + down).astype(int)
        known = (x >= 0) & (y >= 0) & (x < len(shadow)) & (y < len(shadow))
        over = shadow[np.clip(y, 0, len(shadow) - 1), np.clip(x, 0, len(shadow) - 1)]
        total += np.where(known, 1.0 - np.clip((seen[..., 2] - over - 7.0) / 6.0, 0, 1), 1.0)
    return total / 4


def _light(
    normals: np.ndarray, albedo: np.ndarray, gloss: np.ndarray, sky: np.ndarray, lit: np.ndarray, rig: Rig
) -> np.ndarray:
    """Light of skin as skin_shading gives it: a wrap that is wider in red, ambient from above and below, a sheen."""
    up = (0.5 + 0.5 * normals[..., 1])[..., None]
    out = albedo * (rig.ambient[0] * up + rig.ambient[1] * (1 - up)) * sky[..., None]
    wraps = 1 / (1.06 + 0.30 * np.array([1.0, 0.4, 0.25]))
    grazing = 0.028 + 0.55 * (1 - np.maximum(normals[..., 2], 0)) ** 5
    for j, lamp in enumerate(rig.lamps):
        cosine = (normals @ lamp[:3])[..., None]
        reach = (lit if j == 0 else 0.25 + 0.75 * sky)[..., None]
        diffuse = np.maximum(0, cosine * wraps + 1 - wraps)
        out += albedo * lamp[3:6] * diffuse * (0.6 + 0.4 * diffuse) * reach
        half = np.clip(normals @ lamp[7:10], 0, 1)
        sheen = gloss * grazing * (1.6 * half**12 + 3.0 * half ** (26 + 40 * (gloss > 0.5))) * (cosine[..., 0] > 0)
        out += sheen[..., None] * lamp[3:6] * reach
    return out
