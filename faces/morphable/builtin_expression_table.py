# ruff: noqa: E501 (a table: one expression in one block, one stroke after the other)
"""The brushes of the built-in head's expressions and ARKit's 52 names. Ours; see builtin_expressions.py."""

from faces.morphable.builtin_brush import Brush as B

#: name without its side -> brushes of both sides; NAMES says which are split into _L and _R.
BRUSHES: dict[str, tuple[B, ...]] = {
    "browInnerUp": (B((13, 23, 27), (15, 13, 22), move=(-0.6, 6.0, 0.4)), B((0, 26, 28), (14, 14, 20), move=(0, 3.0, 0)), B((15, 42, 25), (20, 9, 20), move=(0, 2.2, 0.5))),
    "browDown": (B((17, 21, 26), (17, 11, 20), move=(-2.4, -4.6, 1.0)), B((42, 21, 17), (14, 10, 18), move=(-0.8, -2.4, 0.2)), B((5, 24, 28), (3.0, 9, 16), move=(-0.4, -1.0, -1.0)), B((30, 12.5, 16), (16, 5, 12), move=(-0.4, -1.6, 0.6))),
    "browOuterUp": (B((42, 22, 17), (16, 13, 22), move=(0.6, 6.0, -0.4)), B((45, 40, 12), (18, 10, 20), move=(0, 1.8, 0.3)), B((42, 13, 13), (12, 6, 12), move=(0, 1.6, 0))),
    "cheekPuff": (B((38, -58, 6), (17, 17, 26), move=(3.6, 0, 7.0)), B((48, -58, -12), (18, 20, 26), move=(5.5, 0, 1.5)), B((14, -58, 26), (14, 12, 18), move=(0.6, 0, 2.0))),
    "cheekSquint": (B((35, -20, 14), (17, 9, 16), move=(0.4, 4.2, 1.8)), B((34, -10, 11), (15, 4.5, 10), move=(0, 1.8, 1.2))),
    "noseSneer": (B((15, -37, 26), (9, 10, 16), move=(0.8, 4.2, -0.4)), B((16, -50, 26), (12, 9, 14), move=(0.6, 2.8, 0), lip="upper"), B((8, -6, 20), (7, 9, 12), move=(-0.5, 1.6, 0.7)), B((20, -36, 18), (5, 10, 10), move=(0, 1.2, -0.8))),
    "mouthSmile": (
        B((25.5, -67, 14), (12, 9.5, 20), move=(5.4, 6.2, -3.0)), B((14, -66, 23), (10, 8, 20), move=(1.6, 1.4, -1.2)),
        B((38, -38, 14), (17, 14, 20), move=(0.8, 4.6, 2.6)), B((34, -52, 12), (10, 12, 18), move=(3.0, 3.6, 0.8)),
        B((31, -66, 12), (4.0, 9, 12), move=(0.4, 0.6, -1.6)), B((24.5, -48, 19), (4, 8, 10), move=(0, 0.5, -1.1)),
        B((33, -11, 11), (14, 4.5, 10), move=(0, 1.2, 0.9)), B((12, -73, 26), (10, 8, 18), move=(0.8, 0.6, -0.8)),
    ),
    "mouthFrown": (B((25.5, -68, 14), (11, 8.5, 18), move=(0.6, -5.2, -0.6)), B((28, -78, 12), (10, 9, 14), move=(0.4, -2.6, 0.5)), B((0, -88, 23), (14, 8, 16), move=(0, 0.8, 0.9))),
    "mouthDimple": (B((27, -67, 13), (8, 8, 15), move=(3.6, 0.6, -2.8)), B((32, -66, 11), (5, 8, 12), move=(0, 0, -1.3))),
    "mouthStretch": (B((26, -68, 14), (13, 12, 20), move=(5.6, -2.6, -3.0)), B((32, -84, 6), (14, 14, 18), move=(2.6, -1.6, 0))),
    "mouthPress": (B((14, -63, 25), (12, 5, 16), move=(0.4, -1.0, -1.2), lip="upper"), B((14, -70, 25), (12, 5, 16), move=(0.4, 1.4, -1.2), lip="lower"), B((27, -67, 13), (7, 7, 14), move=(1.2, 0.4, -0.8))),
    "mouthLowerDown": (B((12, -69, 27), (10.5, 8, 20), move=(0.8, -6.2, -0.6), lip="lower"), B((14, -80, 22), (12, 9, 16), move=(0.6, -2.6, 0.2), lip="lower")),
    "mouthUpperUp": (B((12, -62, 27), (10.5, 7.5, 20), move=(0.4, 5.2, 0.3), lip="upper"), B((17, -48, 24), (10, 8, 14), move=(0.4, 2.4, 0.6), lip="upper")),
    "mouthPucker": (
        B((0, -66, 24), (31, 13, 26), grow=(-0.42, 0, 0)), B((0, -66, 28), (14, 12, 22), move=(0, 0, 5.6)), B((0, -61, 29), (15, 4.5, 16), move=(0, -1.0, 0), lip="upper"),
        B((0, -71, 29), (15, 4.5, 16), move=(0, 1.2, 0), lip="lower"), B((33, -58, 12), (15, 20, 20), move=(-2.0, 0, -1.6)),
    ),
    "mouthFunnel": (
        B((0, -66, 24), (30, 13, 26), grow=(-0.3, 0, 0)), B((0, -66, 28), (15, 12, 22), move=(0, 0, 4.6)), B((0, -63, 29), (14, 7, 20), move=(0, 4.0, 1.0), lip="upper"),
        B((0, -69, 29), (14, 7, 20), move=(0, -5.2, 1.2), lip="lower"),
    ),
    "mouthLeft": (B((0, -67, 24), (30, 13, 26), move=(7.0, 0, 0)), B((30, -64, 12), (12, 14, 18), move=(1.6, 0.8, -1.4), side=1), B((24, -67, 14), (12, 10, 18), move=(0.6, 0, 2.4), side=-1)),
    "mouthRollUpper": (B((0, -62, 30), (22, 3.6, 18), move=(0, -1.8, -3.0), lip="upper"), B((0, -58, 30), (20, 3, 16), move=(0, -1.6, -0.8), lip="upper")),
    "mouthRollLower": (B((0, -70, 30), (21, 4, 18), move=(0, 2.2, -3.2), lip="lower"), B((0, -75, 28), (19, 3.5, 16), move=(0, 2.4, -0.8), lip="lower")),
    "mouthShrugUpper": (B((0, -62, 29), (22, 8, 20), move=(0, 2.8, 1.8), lip="upper"),),
    "mouthShrugLower": (B((0, -71, 28), (22, 9, 20), move=(0, 3.4, 2.4)), B((0, -95, 24), (18, 13, 20), move=(0, 3.0, 0.8)), B((0, -83, 22), (14, 5, 14), move=(0, 0.6, -1.2))),
}  # fmt: skip
#: ARKit's 52 names, sides written _L and _R.
NAMES: tuple[str, ...] = (
    *(f"{name}_{side}" for name in ("eyeBlink", "eyeLookDown", "eyeLookIn", "eyeLookOut", "eyeLookUp", "eyeSquint", "eyeWide") for side in "LR"),
    "jawForward", "jawLeft", "jawRight", "jawOpen", "mouthClose", "mouthFunnel", "mouthPucker", "mouthLeft", "mouthRight",
    *(f"{name}_{side}" for name in ("mouthSmile", "mouthFrown", "mouthDimple", "mouthStretch") for side in "LR"),
    "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper",
    *(f"{name}_{side}" for name in ("mouthPress", "mouthLowerDown", "mouthUpperUp", "browDown") for side in "LR"),
    "browInnerUp", "browOuterUp_L", "browOuterUp_R", "cheekPuff",
    *(f"{name}_{side}" for name in ("cheekSquint", "noseSneer") for side in "LR"), "tongueOut",
)  # fmt: skip
