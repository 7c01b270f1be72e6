"""The named control points of the built-in head: its whole shape in tables that a person can read and mend.

Millimetres in the head frame of faces/camera.py, the subject's left half (x >= 0); the right half is its mirror image.
Every number is ours, set by eye and from published anthropometry (Farkas, Anthropometry of the Head and Face, 1994:
means of adults, both sexes): face height n-gn 118, nose n-sn 52, width of the face zy-zy 135, of the jaw go-go 108,
intercanthal en-en 33, mouth ch-ch 51, nose al-al 34, ear 62 x 36.

ROWS: name -> (height y, ((x, z), ...)): horizontal cross-sections from the midline towards the ear or the nape.
POINTS: name -> (x, y, z) or (x, y, z, a, b) where the planar layout (a, b) of builtin_layout.py is not the plain
unrolling (underside of the nose, lips, underside of the chin, neck).
"""

Row = tuple[float, tuple[tuple[float, float], ...]]

ROWS: dict[str, Row] = {
    "hairline": (78, ((0, 13.5), (14, 12.5), (28, 8.0), (43, -4), (57, -24), (66, -54), (69.5, -85))),
    "forehead_high": (62, ((0, 21.5), (15, 20.7), (30, 16.4), (44, 6), (56.5, -11), (66.5, -38), (73, -72))),
    "forehead": (46, ((0, 25.5), (15, 25), (30, 21.3), (43, 12.8), (54, -2), (62.5, -22), (69, -46), (73.5, -72), (76, -97))),
    "brow_upper": (32, ((0, 26.8), (12, 26.6), (28, 23.9), (40, 17.4), (50, 6.5), (57, -10), (64.5, -36), (71, -66), (76, -97))),
    "brow": (22, ((0, 26.4), (9, 26.0), (20, 24.4), (31, 22.2), (42, 16.2), (50.5, 7.6), (57, -7), (63.8, -34), (70, -66))),
    "orbit_upper": (14.5, ((0, 24.0), (7, 22.2), (13, 19.4), (22, 17.8), (31, 18.0), (40, 14.8), (48.5, 6.8), (56, -7), (63.5, -34), (69.8, -66))),
    "lid_crease": (9.6, ((21, 12.2), (26, 13.2), (31, 13.6), (37, 12.5), (42.5, 9.4))),
    "canthus": (0, ((50.5, -0.3), (56, -8.5), (61.5, -22), (66, -42), (69.8, -66))),
    "orbit_lower": (-11, ((20, 12.0), (25, 11.6), (31, 11.8), (38, 10.4), (45, 6.4), (52, -1.5), (58.5, -12), (64.5, -29), (68.3, -48), (70.5, -68))),
    "cheekbone": (-21, ((24, 14.0), (31, 14.9), (39, 13.8), (46, 10.2), (53, 3), (59.5, -8.5), (65, -27), (68.3, -48), (70.3, -68))),
    "cheek": (-33, ((25.5, 18.0), (32, 17.2), (40, 13.8), (47.5, 8), (54, -0.5), (59.3, -12), (64, -29), (67, -48), (69, -66))),
    "nasal_base": (-45, ((24, 19.5), (31, 16.2), (39, 10.8), (46.5, 4), (53, -6), (58, -19), (62.2, -36), (65, -54), (66.5, -68))),
    "lip_upper": (-56, ((17, 25), (23, 21.3), (30, 15.8), (38, 8.8), (45.5, 0.6), (52, -10.5), (56.8, -24), (61, -41), (64.5, -58))),
    "mouth": (-66, ((31.5, 13.6), (38, 7.2), (44.5, -1.0), (50.5, -12), (55.5, -26), (59.3, -42), (62.5, -57))),
    "lip_lower": (-76, ((16, 23.6), (23, 18.2), (30, 11.6), (37, 4.0), (44, -5.5), (50, -17.5), (54.6, -33), (58, -49))),
    "chin_upper": (-86, ((8, 22.8), (16, 20), (23, 14.2), (30, 6.8), (37, -2.4), (43.5, -14), (48.8, -28))),
    "chin": (-97, ((8, 25.4), (15, 22), (22, 14.4), (29, 4.6), (35.5, -7))),
    "skull_back_high": (62, ((69, -100), (63, -124), (46, -146), (24, -157), (0, -160))),
    "skull_back": (40, ((75, -100), (70.5, -122), (54, -146), (29, -161), (0, -166))),
    "skull_back_low": (12, ((72, -100), (66.5, -123), (50, -146), (27, -160), (0, -165))),
    "occiput": (-15, ((66, -98), (60, -120), (44, -141), (23, -153), (0, -157))),
    "nape_high": (-45, ((59, -95), (52, -117), (37.5, -133), (20, -142), (0, -145))),
    "nape": (-78, ((54.5, -92), (47.5, -115), (33, -130), (17, -138), (0, -140))),
}  # fmt: skip

POINTS: dict[str, tuple[float, ...]] = {
    # crown
    "crown_front": (0, 104, -14),
    "vertex": (0, 118, -70),
    "crown_side": (52, 99, -68),
    "crown_back": (0, 102, -128),
    # nose, from the root down; the wing last
    "sellion": (0, 4.5, 22.2),
    "root_side": (6, 4, 18.6),
    "root_wall": (10.5, 3, 13.6),
    "bridge_high": (0, -5, 24.6),
    "bridge_high_edge": (4.6, -5, 22.6),
    "bridge_high_wall": (9, -6, 17),
    "bridge_high_base": (15, -9, 12.6),
    "rhinion": (0, -15, 30.6),
    "rhinion_edge": (5.4, -15, 27.4),
    "rhinion_wall": (10, -16, 21.6),
    "rhinion_base": (17, -17, 14.4),
    "bridge_low": (0, -25, 37.2),
    "bridge_low_edge": (6, -25, 33.4),
    "bridge_low_wall": (11.2, -26, 26.4),
    "bridge_low_base": (18.5, -27, 16.4),
    "supratip": (0, -31, 41.8),
    "supratip_edge": (6.4, -31, 37.6),
    "pronasale": (0, -36.5, 45.6, 0, -35.5),
    "tip_side": (6.4, -36, 41.4, 6, -35.5),
    "tip_under": (0, -42.4, 42.4, 0, -39.2),
    "tip_under_side": (5.4, -41.6, 39.6, 5.4, -39.6),
    "alar_groove_top": (12.4, -31, 29.4, 12, -31.6),
    "alar_crease_top": (18.6, -34, 20.8, 18.6, -34),
    "alar_front": (12.2, -38, 35.2, 11.2, -37.4),
    "ala": (17.2, -39.5, 28.6, 15.6, -39.6),
    "alar_crease": (19.4, -41, 19.4, 19.6, -41),
    "alar_rim_front": (10.4, -41.8, 35.2, 9.6, -41.2),
    "alar_rim": (14.4, -43.8, 29.4, 13.6, -43.6),
    "alar_base": (16.4, -46, 22.2, 17.0, -46.6),
    "nostril_front": (6.0, -42.2, 38.0, 6.4, -41.2),
    "nostril_floor": (9.6, -45.8, 27.6, 9.4, -46.4),
    "columella": (0, -45, 36.6, 0, -43),
    "columella_side": (3, -44.8, 35.8, 3.4, -43),
    "subnasale": (0, -47.4, 29.4, 0, -47.6),
    "subnasale_side": (5, -47.2, 28.6, 5.2, -47.8),
    # philtrum and upper lip
    "philtrum": (0, -52, 30.4, 0, -52.2),
    "philtrum_ridge": (5.2, -52, 30.94, 5.2, -52.2),
    "philtrum_side": (11, -51.5, 28.75, 11.2, -51.8),
    "naso_labial_low": (19, -50.5, 22.85),
    "labrale_superius": (0, -58, 33.5, 0, -57.4),
    "cupid_peak": (5.4, -56.9, 33.04, 5.4, -56.3),
    "upper_border_mid": (12.5, -59.6, 28.88, 12.8, -58.8),
    "upper_border_far": (19.5, -63.1, 22.31, 20.2, -62.6),
    "tubercle": (0, -61.9, 34.2, 0, -60.4),
    "upper_lip_near": (6.5, -61.4, 32.71, 6.6, -60),
    "upper_lip_mid": (13, -62.7, 28.45, 13.4, -61.6),
    "upper_lip_far": (19.5, -65, 21.81, 20.4, -64.4),
    "stomion_upper": (0, -65.3, 29.2, 0, -63.4),
    "stomion_upper_near": (7, -65, 28.1, 7.1, -63.5),
    "stomion_upper_mid": (14, -65.5, 24.19, 14.4, -64.1),
    "stomion_upper_far": (20, -66.3, 19.57, 21, -65.3),
    "mouth_corner": (25.6, -67, 14.44, 27.2, -66.6),
    "mouth_corner_out": (28.2, -67.2, 14.55, 30, -66.8),
    "mouth_corner_over": (26, -63.2, 17.4, 27.6, -63),
    "mouth_corner_under": (26, -71, 16.2, 27.6, -70.6),
    # lower lip and chin
    "stomion_lower": (0, -65.6, 28.2, 0, -69.2),
    "stomion_lower_near": (7, -65.3, 27.3, 7.1, -69.1),
    "stomion_lower_mid": (14, -65.8, 23.59, 14.4, -68.5),
    "stomion_lower_far": (20, -66.5, 19.17, 21, -67.6),
    "lower_lip": (0, -69.6, 33, 0, -72.4),
    "lower_lip_near": (7, -69.5, 31.9, 7.1, -72.2),
    "lower_lip_mid": (14, -69, 27.19, 14.4, -71.2),
    "lower_lip_far": (20, -67.9, 20.57, 20.8, -69),
    "labrale_inferius": (0, -75, 30.6, 0, -76),
    "lower_border_near": (7, -74.8, 29.7, 7.1, -75.8),
    "lower_border_mid": (14, -73, 25.19, 14.4, -74),
    "lower_border_far": (20.5, -69.6, 19.13, 21.4, -70.8),
    "sublabiale": (0, -81.5, 24, 0, -82),
    "sublabiale_side": (9, -81.5, 23.2, 9.2, -82),
    "chin_dip": (0, -87, 24),
    "pogonion": (0, -96, 27),
    "chin_front_low": (0, -104, 24.2),
    "chin_low_side": (11, -104.5, 21.2),
    "menton": (0, -110.5, 15.7),
    # edge of the jaw, chin to ear
    "jaw_edge_1": (11, -110, 11.5),
    "jaw_edge_2": (22, -106.5, 2.5),
    "jaw_edge_3": (32, -101, -10),
    "jaw_edge_4": (41, -94, -24),
    "jaw_edge_5": (48, -86.5, -39),
    "gonion": (54, -75, -54),
    "ramus": (60, -58, -66),
    "before_ear": (70.2, -16, -70),
    "under_ear": (68.5, -14, -84),
    # underside of the chin, throat and neck
    "submental": (0, -114, -2, 0, -124),
    "submental_side": (16, -111.5, -8, 21, -122),
    "submental_jaw": (32, -106, -24, 44, -117),
    "submental_far": (45.5, -96, -43, 74, -108),
    "throat_angle": (0, -119, -30, 0, -139),
    "throat_angle_side": (19, -117.5, -34, 32, -137),
    "throat_angle_far": (42, -109, -52, 72, -131),
    "neck_under_gonion": (52, -97, -68, 98, -113),
    "larynx": (0, -138, -32, 0, -156),
    "larynx_side": (18, -138, -38, 36, -156),
    "neck_front": (38, -134, -54, 76, -154),
    "neck_side": (50, -124, -84, 112, -148),
    "neck_back_side": (48, -120, -118, 150, -148),
    "neck_back_near": (28, -120, -137, 190, -148),
    "neck_back": (0, -120, -142, 235.6, -148),
    "throat_low": (0, -172, -35, 0, -188),
    "throat_low_side": (18, -171, -41, 36, -188),
    "neck_low_front": (37, -166, -56, 76, -188),
    "neck_low_side": (56, -158, -86, 112, -188),
    "neck_low_back_side": (56, -152, -124, 150, -188),
    "neck_low_back_near": (32, -152, -146, 190, -188),
    "neck_low_back": (0, -152, -150, 235.6, -188),
    "pit": (0, -198, -39, 0, -218),
    "pit_side": (24, -197, -42, 36, -218),
    "collar_front": (62, -189, -56, 76, -218),
    "collar_side": (96, -180, -88, 112, -218),
    "collar_back_side": (88, -172, -128, 150, -218),
    "collar_back_near": (46, -174, -152, 190, -218),
    "collar_back": (0, -176, -157, 235.6, -218),
    "chest": (0, -238, -18, 0, -262),
    "chest_side": (48, -236, -20, 36, -262),
    "shoulder_front": (122, -226, -42, 76, -262),
    "shoulder": (172, -214, -92, 112, -262),
    "shoulder_back": (140, -212, -140, 150, -262),
    "back_side": (70, -222, -166, 190, -262),
    "back": (0, -228, -168, 235.6, -262),
}

#: how far the skin may pass a control point by (the spline's ridge term, mm³): soft parts are drawn smoothly.
SOFT: dict[str, float] = {
    "hairline": 400, "forehead_high": 400, "forehead": 300, "brow_upper": 150, "brow": 60, "orbit_upper": 25,
    "under_ear": 20, "before_ear": 60, "lid_crease": 5, "canthus": 250, "orbit_lower": 120, "cheekbone": 150, "cheek": 300, "nasal_base": 500,
    "upper_lip": 4, "stomion": 4, "lower_lip": 4, "lip_upper": 300, "mouth": 700, "lip_lower": 700, "chin_upper": 700, "chin": 700, "chin_dip": 20, "chin_front_low": 20, "chin_low_side": 60, "skull": 500, "occiput": 500,
    "nape": 2000, "crown": 500, "jaw_edge": 2500, "jaw_edge_1": 400, "gonion": 4000, "ramus": 4000, "submental": 3000, "throat": 3000, "neck": 2500,
    "larynx": 300, "collar": 500, "mouth_corner": 6, "mouth_corner_o": 500, "mouth_corner_u": 500, "naso_labial_low": 60, "philtrum_side": 20,
}


def stiffness(name: str) -> float:
    """The ridge term of a control point: that of the longest key of SOFT its name starts with, else 1."""
    keys = [key for key in SOFT if name.startswith(key)]
    return SOFT[max(keys, key=len)] if keys else 1.0


# The opening of the left eye, from the inner corner over the upper lid to the outer corner and back: (x, y). The depth z
# comes from the eyeball (builtin_surface.lid_depth).
EYE_OPENING: tuple[tuple[float, float], ...] = (
    (16.4, -1.5), (18.2, 0.3), (20.8, 2.3), (24.3, 4.0), (28.4, 4.85), (32.5, 4.95), (36.5, 4.3), (40.2, 3.1), (43.4, 1.6),
    (45.8, 0.2),
    (43.6, -1.8), (40.4, -3.5), (36.6, -4.8), (32.6, -5.3), (28.6, -5.1), (24.6, -4.3), (21.0, -3.2), (18.2, -2.4),
)  # fmt: skip
EYE_CENTRE = (31.5, 0.0, 0.0)
EYE_RADIUS_MM = 12.2
#: depth of the two corners of the eye.
INNER_CANTHUS_Z, OUTER_CANTHUS_Z = 7.0, 2.8
