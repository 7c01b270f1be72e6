"""From decoded vertices to a lit, antialiased picture: the inner loops (numba) of faces/render/mesh_image.py."""

# Types here are numba's: whole numbers of fixed width that Python's annotations cannot tell apart.
# mypy: disable-error-code="operator,call-overload,assignment,arg-type"

import numpy as np

from faces.compiled import kernel

i64, u64, f32 = np.int64, np.uint64, np.float32
_U1, _U2, _U3 = u64(1), u64(2), u64(3)


@kernel
def paint_face(
    corners: np.ndarray, triangle: np.ndarray, barycentric: np.ndarray, depth: np.ndarray, colours: np.ndarray,
    in_mask: np.ndarray, antialias: int, srgb: np.ndarray, picture: np.ndarray,
) -> None:  # fmt: skip
    """Samples (a H, a W) and linear vertex colours (V, 3) -> picture (H, W, 6): sRGB, mask, coverage, depth_mm.

    Box filter over a x a samples in linear light, black where there is no mesh; depth is the nearest sample's.
    srgb is a table of sRGB at equal steps of linear 0..1, read with linear interpolation.
    """
    share, last = f32(1.0 / (antialias * antialias)), srgb.shape[0] - 2
    fine_width = picture.shape[1] * antialias
    for y in range(picture.shape[0]):
        for x in range(picture.shape[1]):
            red, green, blue, masked, covered, nearest = f32(0), f32(0), f32(0), f32(0), f32(0), f32(np.inf)
            for sub_row in range(antialias):
                base = (y * antialias + sub_row) * fine_width + x * antialias
                for p in range(u64(base), u64(base + antialias)):
                    if triangle[p] < 0:
                        continue
                    t = u64(triangle[p])
                    a, b, c = corners[_U3 * t], corners[_U3 * t + _U1], corners[_U3 * t + _U2]
                    wa, wb, wc = barycentric[_U3 * p], barycentric[_U3 * p + _U1], barycentric[_U3 * p + _U2]
                    red += wa * colours[a, 0] + wb * colours[b, 0] + wc * colours[c, 0]
                    green += wa * colours[a, 1] + wb * colours[b, 1] + wc * colours[c, 1]
                    blue += wa * colours[a, 2] + wb * colours[b, 2] + wc * colours[c, 2]
                    covered += f32(1)
                    masked += f32(in_mask[t])
                    nearest = min(nearest, depth[p])
            picture[y, x, 3], picture[y, x, 4], picture[y, x, 5] = masked * share, covered * share, nearest
            for channel, value in enumerate((red, green, blue)):
                spot = min(max(value * share, f32(0)), f32(1)) * f32(last + 1)
                low = min(i64(spot), last)
                picture[y, x, channel] = srgb[low] + (srgb[low + 1] - srgb[low]) * (spot - f32(low))


@kernel
def light_face(
    flat: np.ndarray, normals: np.ndarray, pose: np.ndarray, shift: np.ndarray, lens: np.ndarray,
    albedo: np.ndarray, light: np.ndarray, projected: np.ndarray, colours: np.ndarray,
) -> None:  # fmt: skip
    """Pose, project and light one face: camera.head_to_camera, camera.project and shading.shade in one sweep.

    flat, normals (3 V,) head frame; pose (9,) rows of R; shift (3,) mm; lens (3,) focal_px, centre_x_px, centre_y_px;
    albedo (3 V,); light (27,) times SH_CONSTANTS -> projected (3 V,) u_px, v_px, depth_mm and colours (3 V,) linear.
    """
    r0, r1, r2, r3, r4, r5, r6, r7, r8 = (
        pose[0], pose[1], pose[2], pose[3], pose[4], pose[5], pose[6], pose[7], pose[8],
    )  # fmt: skip
    for i in range(u64(flat.shape[0] // 3)):
        j = _U3 * i
        x, y, z = flat[j], flat[j + _U1], flat[j + _U2]
        depth = shift[2] - (r6 * x + r7 * y + r8 * z)
        scale = lens[0] / depth
        projected[j] = (r0 * x + r1 * y + r2 * z + shift[0]) * scale + lens[1]
        projected[j + _U1] = (shift[1] - (r3 * x + r4 * y + r5 * z)) * scale + lens[2]
        projected[j + _U2] = depth
    for i in range(u64(flat.shape[0] // 3)):
        j = _U3 * i
        x, y, z = normals[j], normals[j + _U1], normals[j + _U2]
        nx, ny, nz = r0 * x + r1 * y + r2 * z, r3 * x + r4 * y + r5 * z, r6 * x + r7 * y + r8 * z
        b4, b5, b6, b7, b8 = nx * ny, ny * nz, f32(3) * nz * nz - f32(1), nx * nz, nx * nx - ny * ny
        for channel in range(3):
            k = u64(9 * channel)
            received = light[k] + light[k + _U1] * ny + light[k + _U2] * nz + light[k + _U3] * nx
            received += light[k + u64(4)] * b4 + light[k + u64(5)] * b5 + light[k + u64(6)] * b6
            received += light[k + u64(7)] * b7 + light[k + u64(8)] * b8
            colours[j + u64(channel)] = albedo[j + u64(channel)] * max(received, f32(0))
