"""Small charts as inline SVG strings: no library, no script, colours from the page's CSS, a text for everybody.

Every function returns one <svg> element with a role, a title for screen readers, and a viewBox, so that it scales
with the page and prints. Numbers come in as plain floats; what is not finite is left out.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

#: Marks of the baselines, the same in every chart.
MARKS = {"copy-target": "square", "paste-source": "triangle", "true-swap": "diamond"}
SERIES = tuple(f"var(--series-{i})" for i in range(1, 11))


@dataclass(frozen=True)
class Axis:
    """Data range -> pixels, linear, or by square roots (`root`; of what is below 0 nothing is shown)."""

    low: float
    high: float
    start_px: float
    end_px: float
    root: bool = False

    def at(self, value: float) -> float:
        """Pixel of a value, clamped to the axis."""
        low, high, place = (math.sqrt(max(v, 0.0)) if self.root else v for v in (self.low, self.high, value))
        share = (place - low) / (high - low) if high > low else 0.5
        return self.start_px + min(max(share, 0.0), 1.0) * (self.end_px - self.start_px)

    def ticks(self, wanted: int = 5) -> list[float]:
        """About `wanted` round numbers inside the range; by square roots 1, 2 or 5 times powers of ten from 0 on."""
        if not self.root:
            return nice_ticks(self.low, self.high, wanted)
        top = math.floor(math.log10(self.high)) if self.high > 0 else 0
        rounds = [m * 10.0**power for power in range(top - 1, top + 1) for m in (1, 2, 5)]
        return [0.0] * (self.low <= 0) + [tick for tick in rounds if self.low <= tick <= self.high]


def nice_ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten that lie in [low, high]."""
    if not high > low:
        return [low]
    raw = (high - low) / max(wanted, 1)
    power = 10 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 10) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def padded(values: Sequence[float], share: float = 0.06) -> tuple[float, float]:
    """Range of the finite values with a margin; (0, 1) when there are none."""
    finite = [v for v in values if math.isfinite(v)]
    if not finite:
        return 0.0, 1.0
    low, high = min(finite), max(finite)
    margin = (high - low) * share or max(abs(low) * share, 0.05)
    return low - margin, high + margin


def tick_text(value: float) -> str:
    """A short label: no needless zeros, a true minus sign."""
    text = f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return text.replace("-", "−")


def mark(kind: str, x: float, y: float, radius: float = 4.2, extra: str = "") -> str:
    """A baseline's mark: square, triangle or diamond, hollow; anything else is a filled dot."""
    r = radius
    if kind == "square":
        side, place = f"{1.7 * r:.1f}", f'x="{x - r * 0.85:.1f}" y="{y - r * 0.85:.1f}"'
        return f'<rect class="mark" {place} width="{side}" height="{side}" {extra}/>'
    points = {
        "triangle": [(0, -1.1), (1.05, 0.8), (-1.05, 0.8)],
        "diamond": [(0, -1.2), (1.2, 0), (0, 1.2), (-1.2, 0)],
    }.get(kind)
    if points is None:
        return f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}" {extra}/>'
    path = " ".join(f"{x + dx * r:.1f},{y + dy * r:.1f}" for dx, dy in points)
    return f'<polygon class="mark" points="{path}" {extra}/>'


def _svg(width: float, height: float, title: str, body: str, css: str = "chart") -> str:
    label = escape(title, quote=True)
    return (
        f'<svg class="{css}" viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{label}">'
        f"<title>{label}</title>{body}</svg>"
    )


def range_bar(figure: Mapping[str, float], baselines: Mapping[str, float], title: str) -> str:
    """One metric on a line: the system's mean and interval as a bar, the baselines' means as their marks."""
    values = [figure["mean"], figure["low"], figure["high"], *baselines.values()]
    axis = Axis(*padded(values, 0.04), 8, 192)
    body = f'<line class="axis" x1="{axis.start_px}" x2="{axis.end_px}" y1="12" y2="12"/>'
    body += "".join(mark(MARKS.get(n, ""), axis.at(v), 12) for n, v in baselines.items() if math.isfinite(v))
    if math.isfinite(figure["mean"]):
        low, high = (figure[k] if math.isfinite(figure[k]) else figure["mean"] for k in ("low", "high"))
        left, right = axis.at(low), axis.at(high)
        body += f'<rect class="interval" x="{left - 1:.1f}" y="9" width="{right - left + 2:.1f}" height="6" rx="3"/>'
        body += mark("dot", axis.at(figure["mean"]), 12, 4.4)
    return _svg(200, 24, title, body, "chart bar")


@dataclass(frozen=True)
class Cloud:
    """One system in a scatter: its pairs as faint dots, its mean as a strong one. `colour` is any CSS colour."""

    name: str
    colour: str
    points: Sequence[tuple[float, float]]
    mean: tuple[float, float]
    shape: str = "dot"


#: Where more systems than these meet, only the baselines have names in the plot; the page's legend has the others.
MOST_NAMED = 5


def scatter(clouds: Sequence[Cloud], x_label: str, y_label: str, title: str, better: str = "") -> str:
    """Two metrics against each other; `better` is the corner to strive for, "top right" or "bottom right".

    An error (the corner is at the bottom, nothing is below 0) is drawn by square roots, so that systems which are good
    at it stand apart though single pairs fail.
    """
    width, height = 640, 400
    xs = [c.mean[0] for c in clouds] + [p[0] for c in clouds for p in c.points]
    ys = [c.mean[1] for c in clouds] + [p[1] for c in clouds for p in c.points]
    x_axis = Axis(*padded(xs), 56, width - 16)
    y_axis = Axis(*padded(ys), height - 48, 16)
    if better.startswith("bottom") and min(filter(math.isfinite, ys), default=-1.0) >= 0:
        y_axis = Axis(0.0, y_axis.high, height - 48, 16, root=True)
    body = _frame(x_axis, y_axis, x_label, y_label)
    for cloud in clouds:
        body += "".join(
            f'<circle class="pair" cx="{x_axis.at(x):.1f}" cy="{y_axis.at(y):.1f}" r="2.6" {_fill(cloud.colour)}/>'
            for x, y in cloud.points
            if math.isfinite(x) and math.isfinite(y)
        )
    shown = [cloud for cloud in clouds if all(map(math.isfinite, cloud.mean))]
    systems = [cloud for cloud in shown if cloud.shape == "dot"]
    unnamed = systems if len(systems) > MOST_NAMED else []
    body += _labelled(shown, x_axis, y_axis, unnamed)
    if better:
        y, arrow = (34, "↗") if better.startswith("top") else (y_axis.start_px - 8, "↘")
        body += f'<text class="better" x="{x_axis.end_px - 6}" y="{y:g}" text-anchor="end">better {arrow}</text>'
    return _svg(width, height, title, body)


def _fill(colour: str) -> str:
    return f'style="fill:{colour}"'


def _labelled(clouds: Sequence[Cloud], x_axis: Axis, y_axis: Axis, unnamed: Sequence[Cloud] = ()) -> str:
    """Marks of the means, then names of all but the unnamed where they cover neither a mark nor another name."""
    spots = [(x_axis.at(cloud.mean[0]), y_axis.at(cloud.mean[1])) for cloud in clouds]
    taken = [(x - 8, y - 8, x + 8, y + 8) for x, y in spots]
    marks, names = "", ""
    for cloud, (x, y) in zip(clouds, spots, strict=True):
        marks += mark(cloud.shape, x, y, 6.5, _fill(cloud.colour) if cloud.shape == "dot" else "")
        if cloud in unnamed:
            continue
        left, base, box = _free_place(x, y, 8.2 * len(cloud.name), taken, x_axis, y_axis)
        taken.append(box)
        if abs(base - 4 - y) > FAR_PX:  # a line says whose name it is
            near = min(max(x, box[0]), box[2])
            end = box[3] if base < y else box[1]
            marks = f'<line class="leader" x1="{x:.1f}" y1="{y:.1f}" x2="{near:.1f}" y2="{end:.1f}"/>' + marks
        names += f'<text class="name" x="{left:.1f}" y="{base:.1f}">{escape(cloud.name)}</text>'
    return marks + names


#: A name that stands farther from its mark (px, up or down) gets a line to it.
FAR_PX = 26.0
Box = tuple[float, float, float, float]


def _free_place(
    x: float, y: float, wide: float, taken: Sequence[Box], x_axis: Axis, y_axis: Axis
) -> tuple[float, float, Box]:
    """Left end, base line and box of a name: right of the mark, left, above, below, or ever farther up and down."""
    offers = [(x + 11, y + 4), (x - 11 - wide, y + 4), (x - wide / 2, y - 12), (x - wide / 2, y + 21)]
    for step in range(1, 16):
        offers += [(left, y + 4 + 15 * way * step) for way in (-1, 1) for left in (x + 11, x - 11 - wide)]
    boxes = [(left, base - 11, left + wide, base + 3) for left, base in offers]
    for (left, base), box in zip(offers, boxes, strict=True):
        inside = box[0] > x_axis.start_px and box[2] < x_axis.end_px + 12 and y_axis.end_px - 8 < box[1]
        inside = inside and box[3] < y_axis.start_px
        if inside and not any(_overlap(box, other) for other in taken):
            return left, base, box
    return *offers[0], boxes[0]


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _frame(x_axis: Axis, y_axis: Axis, x_label: str, y_label: str) -> str:
    left, right, bottom, top = x_axis.start_px, x_axis.end_px, y_axis.start_px, y_axis.end_px
    parts = []
    for tick in y_axis.ticks():
        y = y_axis.at(tick)
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{tick_text(tick)}</text>')
    for tick in x_axis.ticks(6):
        x = x_axis.at(tick)
        parts.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{tick_text(tick)}</text>')
    parts.append(f'<line class="axis" x1="{left}" x2="{right}" y1="{bottom}" y2="{bottom}"/>')
    below, beside = f'x="{(left + right) / 2:.0f}" y="{bottom + 38}"', f'x="{-(top + bottom) / 2:.0f}" y="13"'
    parts.append(f'<text class="label" {below} text-anchor="middle">{escape(x_label)}</text>')
    parts.append(f'<text class="label" {beside} transform="rotate(-90)" text-anchor="middle">{escape(y_label)}</text>')
    return "".join(parts)


def line_chart(
    series: Mapping[str, Sequence[tuple[float, float]]],
    x_label: str,
    title: str,
    colours: Mapping[str, str] | None = None,
) -> str:
    """Curves over x, one colour a series: a running mean strong, behind one alone its raw values faint.

    For small multiples. `colours`: name -> colour, the series' own order without.
    """
    width, height = 300, 170
    finite = {n: [(x, y) for x, y in pts if math.isfinite(x) and math.isfinite(y)] for n, pts in series.items()}
    points = [p for pts in finite.values() for p in pts]
    if not points:
        return _svg(width, height, title, '<text class="tick" x="20" y="40">no values</text>')
    x_axis = Axis(min(p[0] for p in points), max(p[0] for p in points), 44, width - 10)
    y_axis = Axis(*padded(_without_spikes([p[1] for p in points])), height - 34, 12)
    body = ""
    for tick in y_axis.ticks(4):
        y = y_axis.at(tick)
        body += f'<line class="grid" x1="44" x2="{width - 10}" y1="{y:.1f}" y2="{y:.1f}"/>'
        body += f'<text class="tick" x="38" y="{y + 4:.1f}" text-anchor="end">{tick_text(tick)}</text>'
    for tick in x_axis.ticks(4):
        place = f'x="{x_axis.at(tick):.1f}" y="{height - 18}"'
        body += f'<text class="tick" {place} text-anchor="middle">{tick_text(tick)}</text>'
    body += f'<text class="label" x="{width - 10}" y="{height - 3}" text-anchor="end">{escape(x_label)}</text>'
    for number, (name, pts) in enumerate(finite.items()):
        colour = (colours or {}).get(name, SERIES[number % len(SERIES)])
        body += _polyline(pts, x_axis, y_axis, colour, "raw") if len(pts) > 8 and len(finite) == 1 else ""
        body += _polyline(running_mean(pts), x_axis, y_axis, colour, "line")
    return _svg(width, height, title, body)


def _without_spikes(values: Sequence[float]) -> list[float]:
    """Values up to four times the 90th percentile: the first steps must not flatten the rest."""
    ordered = sorted(values)
    limit = ordered[int(0.9 * (len(ordered) - 1))]
    return [v for v in values if v <= 4 * abs(limit) or v <= limit] or list(values)


def running_mean(points: Sequence[tuple[float, float]], share: float = 0.05) -> list[tuple[float, float]]:
    """Mean over a centred window of `share` of the points (at least 1)."""
    half = int(len(points) * share / 2)
    means = []
    for i, (x, _) in enumerate(points):
        window = points[max(0, i - half) : i + half + 1]
        means.append((x, sum(y for _, y in window) / len(window)))
    return means


def _polyline(points: Sequence[tuple[float, float]], x_axis: Axis, y_axis: Axis, colour: str, css: str) -> str:
    path = " ".join(f"{x_axis.at(x):.1f},{y_axis.at(y):.1f}" for x, y in points)
    return f'<polyline class="{css}" points="{path}" style="stroke:{colour}"/>'


def parallel(
    systems: Mapping[str, Sequence[float]], labels: Sequence[str], colours: Mapping[str, str], title: str
) -> str:
    """Several metrics side by side, each axis from worst (bottom) to best (top); values are 0..1 along their axis."""
    width, height = 720, 300
    step = (width - 120) / max(len(labels) - 1, 1)
    body = ""
    for number, label in enumerate(labels):
        x = 60 + number * step
        body += f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="24" y2="{height - 68}"/>'
        y = height - 50 + 19 * (number % 3)  # three rows, so that long names do not meet
        place, anchor = (width - 2.0, "end") if number and number == len(labels) - 1 else (x, "middle")
        body += f'<text class="tick" x="{place:.1f}" y="{y}" text-anchor="{anchor}">{escape(label)}</text>'
    y_axis = Axis(0, 1, height - 68, 24)
    for name, values in systems.items():
        points = [(60 + i * step, y_axis.at(v)) for i, v in enumerate(values) if math.isfinite(v)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        css = "line faint" if name in MARKS else "line"
        body += f'<polyline class="{css}" points="{path}" style="stroke:{colours[name]}"/>'
        style = _fill(colours[name]) if name not in MARKS else ""
        body += "".join(mark(MARKS.get(name, "dot"), x, y, 4.0, style) for x, y in points)
    body += '<text class="label" x="50" y="28" text-anchor="end">best</text>'
    body += f'<text class="label" x="50" y="{height - 66}" text-anchor="end">worst</text>'
    return _svg(width, height, title, body)
