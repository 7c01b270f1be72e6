"""The report: one page, whole in itself, that says what the figures say."""

import itertools
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from markupsafe import escape

from evaluation.ablations import ablations, base_of
from evaluation.charts import MOST_NAMED, Axis, Cloud, nice_ticks, range_bar, running_mean, scatter, tick_text
from evaluation.evaluation import Evaluation
from evaluation.examples import FIXED, RANKED
from evaluation.judge import judge
from evaluation.report import STRIP_PX, write_report
from evaluation.report_parts import curve_charts, picture_uri
from evaluation.rows import column, in_order, system_rows
from faces.errors import SamaeError
from pipelines.commands.evaluate import table
from tests import browser
from tests.evaluation.fakes import ColourEncoder, FakeSwapper, load_faces, pairs, truth

CURVES = {"reconstruction": [(0.1 * i, 1 / (1 + i)) for i in range(40)]}
SETTINGS = {"commit": "abc1234", "recipe": {"name": "fake", "optimiser": {"lr": 2e-4}}, "<script>": "a & b"}


class Page(HTMLParser):
    """Collects what a page loads, its pictures' texts, its headings, and whether its tags are balanced."""

    VOID = {"meta", "img", "br", "link", "input", "hr"}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.alts: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.loads += [str(given[k]) for k in ("src", "href") if k in given]
        if tag == "img":
            self.alts.append(given.get("alt") or "")
        if tag == "svg" and given.get("role") == "img":
            self.alts.append(given.get("aria-label") or "")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in self.VOID:
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return judge(FakeSwapper(0.7), pairs(), load_faces, [ColourEncoder()], truth)


def test_a_recipe_page_is_whole_in_itself(evaluation: Evaluation, tmp_path: Path) -> None:
    write_report(evaluation, CURVES, SETTINGS, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    page = Page(text)
    assert page.open == []
    assert page.loads
    assert all(load.startswith("data:image/webp;base64,") for load in page.loads)
    assert not re.search(r"url\(|@import|<script|<link|http", text)
    assert all(page.alts)
    for expected in ("fake", "Face PSNR to the truth", "copy-target", "abc1234", "optimiser.lr", "a &amp; b",
                     evaluation.pairs.digest, "colours", "reconstruction", "Best", "The whole profile"):  # fmt: skip
        assert expected in text, expected


def test_what_was_not_measured_is_said(evaluation: Evaluation, tmp_path: Path) -> None:
    write_report(evaluation, None, None, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert "no trustworthy fit of the results was at hand" in text
    assert "pt_inception-2015-12-05-6726825d.pth into a folder named by SAMAE_WEIGHTS" in text
    assert "How it learned" not in text


class Failing(FakeSwapper):
    """Cannot swap onto most targets."""

    name = "failing"


@pytest.fixture(scope="module")
def failing() -> tuple[Evaluation, int]:
    """A system that swaps perfectly where it swaps at all, and how many pairs it fails."""
    listed = pairs()
    lost = listed.target_keys[:8]
    swapper = Failing(1.0, fails_on=lost)
    count = sum(key in lost for key in listed.target_keys)
    return judge(swapper, listed, load_faces, [ColourEncoder()], truth), count


def row_of(text: str, title: str) -> str:
    """The row of the page's first table that starts with this title."""
    return next(row for row in re.findall(r"<tr>.*?</tr>", text, re.S) if row.startswith(f"<tr><td>{title}"))


def test_failures_stand_beside_every_mean_of_a_recipe(failing: tuple[Evaluation, int], tmp_path: Path) -> None:
    evaluation, lost = failing
    write_report(evaluation, None, None, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert f"failing failed {lost} of 20 pairs: its means are over the {20 - lost} that it could swap" in text
    for title in ("Identity", "Skin colour error", "Face PSNR to the truth"):
        assert f"{20 - lost} of 20" in row_of(text, title)


def test_failures_are_flagged_on_the_leaderboard(
    evaluation: Evaluation, failing: tuple[Evaluation, int], tmp_path: Path
) -> None:
    lame, lost = failing
    write_report([evaluation, lame], None, None, tmp_path / "l.html")
    text = (tmp_path / "l.html").read_text()
    assert f"failing failed {lost} of 20 pairs" in text
    assert "fake failed" not in text
    assert "fake alone failed none of 20 frozen pairs" in text
    cells = re.findall(r'<td class="(\w*)">(\d+)<', row_of(text, "Failed pairs"))
    assert cells == [("", "0"), ("bad", str(lost)), ("dim", "0"), ("dim", "0"), ("dim", "0")]
    assert row_of(text, "Identity ").count(f"over {20 - lost} of 20") == 1
    better, other = (e.summary["identity_similarity"]["mean"] for e in (lame, evaluation))
    assert better > other
    assert re.findall(r'<td class="own">([\d.]+)', row_of(text, "Identity ")) == [f"{other:.3f}"]  # not the survivors'


def test_failures_go_to_trackers_and_the_terminal(evaluation: Evaluation, failing: tuple[Evaluation, int]) -> None:
    lame, lost = failing
    assert lame.flat("eval/")["eval/failed"] == lost
    assert lame.flat("eval/")["eval/pairs"] == 20
    assert evaluation.flat()["failed"] == 0
    lines = {line.split("  ")[0]: line.split() for line in table(lame).split("\n")}
    assert lines["failed pairs"][2:4] == [str(lost), "20"]
    assert lines["identity_similarity cosine"][4] == str(20 - lost)


def test_the_terminal_tells_shares_in_per_cent_and_what_was_not_measured(evaluation: Evaluation) -> None:
    lines = {line.split("  ")[0]: line.split() for line in table(evaluation).split("\n")}
    found = evaluation.summary["retrieval_top1"]
    assert found["unit"] == "share"  # as it is kept, and printed as JSON
    assert lines["retrieval_top1 %"][2] == f"{100 * found['mean']:.3f}"
    rows = replace(evaluation, summary=evaluation.summary | {"pose_degrees": found | {"mean": math.nan}})
    assert "not measured here: fid, kid, pose_degrees (the page says why: --report)" in table(rows).split("\n")


def test_a_recipe_that_fails_everything_has_a_page(tmp_path: Path) -> None:
    lost = judge(FakeSwapper(fails_on=pairs().target_keys), pairs(), load_faces, [ColourEncoder()], truth)
    write_report(lost, None, None, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert "failed every one of the 20 pairs" in text
    assert "nan" not in re.sub(r"base64,[^\"]*", "", text)


def test_recipes_that_fail_pairs_stand_behind_those_that_fail_none(evaluation: Evaluation, tmp_path: Path) -> None:
    """And their means, over fewer pairs, do not make them the nearest to the truth; no figure is no "nan"."""

    def named(name: str, share: float, failing: int) -> Evaluation:
        class Named(FakeSwapper):
            pass

        Named.name = name
        swapper = Named(share, fails_on=tuple(dict.fromkeys(pairs().target_keys))[:failing])
        return judge(swapper, pairs(), load_faces, [ColourEncoder()], truth)

    def lead(*listed: Evaluation) -> str:
        write_report(listed, None, None, tmp_path / "l.html")
        text = re.sub(r"base64,[^\"]*", "", (tmp_path / "l.html").read_text())
        assert "nan" not in text
        (found,) = re.findall(r'<p class="lead">(.*?)</p>', text, re.S)
        return str(found)

    lost, other, some = named("lost", 1, 20), named("other", 1, 20), named("some", 0.95, 1)
    weak = named("weak", 0.2, 0)
    assert "nothing to judge: lost failed 20 of 20 pairs, other failed 20 of 20 pairs" in lead(lost, other)
    assert lead(lost, evaluation).startswith("fake alone failed none of 20 frozen pairs; its identity similarity is 0.")
    partial = lead(lost, some)
    assert f"identity ({some.summary['identity_similarity']['mean']:.2f}) on the 19 pairs" in partial
    assert "; lost failed 20 of 20 pairs." in partial
    said = lead(some, weak, evaluation)
    assert said.startswith("fake carries the most")
    face, person = (evaluation.summary[name]["mean"] for name in ("truth_face_psnr_db", "truth_identity"))
    assert f"Nearest to the true swap inside the face is fake ({face:.1f} dB), in identity too ({person:.2f})." in said
    known = {name: info for name, info in weak.summary.items() if name != "truth_identity"}
    assert re.search(r"inside the face is fake \(\d+\.\d dB\)\.", lead(replace(weak, summary=known), evaluation))
    better = evaluation.summary["truth_identity"] | {"mean": 0.99}
    turned = replace(weak, summary=weak.summary | {"truth_identity": better})
    assert "inside the face is fake" in lead(turned, evaluation)
    assert "in identity weak (0.99)." in lead(turned, evaluation)


def test_an_encoder_that_trained_the_model_and_judges_it_is_said(evaluation: Evaluation, tmp_path: Path) -> None:
    own = judge(FakeSwapper(0.6), pairs(), load_faces, [ColourEncoder()], truth, trained_with=("colours",))
    write_report(own, None, None, tmp_path / "own.html")
    write_report([own, own], None, None, tmp_path / "l.html")
    for page in ("own.html", "l.html"):
        text = (tmp_path / page).read_text()
        assert "trained the model; in the headline all the same" in text
        assert "Beware: colours trained fake and judges it" in text
        assert "not in the headline" not in text
    other = judge(
        FakeSwapper(0.6),
        pairs(),
        load_faces,
        [ColourEncoder(), ColourEncoder("other")],
        truth,
        trained_with=("colours",),
    )
    write_report(other, None, None, tmp_path / "other.html")
    text = (tmp_path / "other.html").read_text()
    assert "trained the model; not in the headline" in text
    assert "Beware" not in text


def test_without_truth_there_is_no_such_column(tmp_path: Path) -> None:
    bare = judge(FakeSwapper(0.7), pairs(), load_faces, [ColourEncoder()], None)
    write_report(bare, None, None, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert "true swap</span>" not in text
    assert "PSNR to the truth" not in text


def test_the_leaderboard_orders_recipes(evaluation: Evaluation, tmp_path: Path) -> None:
    class Weak(FakeSwapper):
        name = "weak"

    weak = judge(Weak(0.2), pairs(), load_faces, [ColourEncoder()], truth)
    write_report([weak, evaluation], {"weak": CURVES}, SETTINGS, tmp_path / "l.html")
    text = (tmp_path / "l.html").read_text()
    page = Page(text)
    assert page.open == []
    assert all(page.alts)
    assert text.index(">fake<") < text.index(">weak<")
    assert "2 recipes, one judge" in text
    assert "weak · reconstruction" in text
    assert "Profile of every system" in text
    for label in evaluation.slices:
        own, other = (e.slices[label]["identity_similarity"]["mean"] for e in (evaluation, weak))
        row = row_of(text, f"{escape(label)}</td>")
        assert re.findall(r">(−?\d\.\d+)", row) == [f"{value:.3f}".replace("-", "−") for value in (own, other)]


def test_a_loss_that_several_recipes_have_is_one_chart_with_a_line_each() -> None:
    curves = {"a": CURVES, "b": CURVES | {"mask": CURVES["reconstruction"]}, "c": {"mask": [(0.0, 1.0)]}}
    shared, own = curve_charts(curves, {"a": "red", "b": "blue", "c": "green"})
    assert (shared["title"], own["title"]) == ("reconstruction", "b · mask")
    assert [shared["chart"].count(f'style="stroke:{colour}"') for colour in ("red", "blue", "green")] == [1, 1, 0]
    assert own["chart"].count('class="raw"') == own["chart"].count('class="line"') == 1
    (alone,) = curve_charts(CURVES)
    assert alone["title"] == "reconstruction"


def test_different_pairs_are_not_compared(evaluation: Evaluation, tmp_path: Path) -> None:
    other = judge(FakeSwapper(0.7), pairs(seed=9), load_faces, [ColourEncoder()], truth)
    with pytest.raises(SamaeError, match="different pair lists"):
        write_report([evaluation, other], None, None, tmp_path / "l.html")
    with pytest.raises(SamaeError, match="nothing to report"):
        write_report([], None, None, tmp_path / "l.html")
    assert not (tmp_path / "l.html").exists()


def test_axes_and_ticks() -> None:
    assert nice_ticks(0, 1, 5) == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert nice_ticks(-3, 47, 5) == [0, 10, 20, 30, 40]
    axis = Axis(0, 10, 100, 200)
    assert (axis.at(5), axis.at(-4), axis.at(99)) == (150, 100, 200)
    assert tick_text(-0.25) == "−0.25"
    assert running_mean([(0, 1), (1, 3)], 1.0) == [(0, 2), (1, 2)]


def test_a_bar_survives_numbers_that_are_none() -> None:
    nan = float("nan")
    assert "circle" not in range_bar({"mean": nan, "low": nan, "high": nan}, {"copy-target": nan}, "x")


@pytest.fixture(scope="module")
def both_pages(
    evaluation: Evaluation, failing: tuple[Evaluation, int], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """A recipe's page, and the leaderboard of two."""
    folder = tmp_path_factory.mktemp("pages")
    found = {name: folder / f"{name}.html" for name in ("recipe", "leaderboard")}
    write_report(failing[0], CURVES, SETTINGS, found["recipe"])
    listed = [evaluation, failing[0]]
    curves = {one.name: CURVES for one in listed}
    write_report(listed, curves, SETTINGS, found["leaderboard"])
    return found


#: What a reader must find on the pages, whatever the figures are.
HEADINGS = {
    "recipe": ("The swaps", "Best, median, worst", "Every figure, beside its baselines", "Identity against attributes",
               "The whole profile", "Where it is strong, where it is weak", "How it learned", "What made this"),
    "leaderboard": ("Side by side", "The swaps", "Identity against attributes", "The whole profile",
                    "Who is strong where", "How they learned", "What made this"),
}  # fmt: skip
#: Pictures that the browser could not draw, charts without an extent, and texts of a chart that leave the window or
#: cover each other.
BROKEN = """[
  ...[...document.images].filter(i => !i.complete || !i.naturalWidth).map(i => 'picture ' + i.alt),
  ...[...document.querySelectorAll('svg.chart')]
    .filter(c => c.checkVisibility() && c.getBoundingClientRect().height < 8)
    .map(c => 'chart ' + c.getAttribute('aria-label')),
  ...[...document.querySelectorAll('svg.chart text')].filter(text => {
    const r = text.getBoundingClientRect();
    return r.width && (r.left < 0 || r.right > innerWidth + 1);
  }).map(text => 'text ' + text.textContent),
  ...[...document.querySelectorAll('svg.chart')].flatMap(chart => {
    const names = [...chart.querySelectorAll('text')].map(text => [text.textContent, text.getBoundingClientRect()]);
    return names.flatMap(([a, r], n) => names.slice(n + 1)
      .filter(([b, s]) => r.left < s.right - 1 && s.left < r.right - 1 && r.top < s.bottom - 4 && s.top < r.bottom - 4)
      .map(([b]) => `${a} meets ${b}`));
  })
]"""


@pytest.mark.slow
@pytest.mark.parametrize("width_px", [420, 1280])
@pytest.mark.parametrize("name", ["recipe", "leaderboard"])
def test_a_browser_shows_both_pages_whole(
    both_pages: dict[str, Path], tmp_path: Path, name: str, width_px: int
) -> None:
    if browser.chromium() is None:
        pytest.skip("no Chromium on this machine")
    with browser.Page(tmp_path / "profile") as page:
        page.call("Emulation.setDeviceMetricsOverride", width=width_px, height=900, deviceScaleFactor=1, mobile=False)
        page.open(both_pages[name].as_uri())
        browser.until(lambda: page.evaluate("document.readyState") == "complete", "the page", 60)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.evaluate("[...document.querySelectorAll('h2')].map(h => h.innerText)") == [
            *(h for h in HEADINGS[name][:-1]), "How to read this", HEADINGS[name][-1]
        ]  # fmt: skip
        assert page.evaluate(BROKEN) == []
        assert "failing failed 8 of 20 pairs" in page.text()
        page.screenshot(tmp_path / "page.png")
        assert (tmp_path / "page.png").stat().st_size > 20_000


def test_the_pages_stay_small(both_pages: dict[str, Path]) -> None:
    """Pictures of 256 px, which are the largest that a page holds, must not make it larger than about 6 MB."""
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    picture = np.kron(noise, np.ones((4, 4, 1), np.uint8))
    ranked = 3 * sum(RANKED.values())
    assert 4 * (FIXED * len(picture_uri(picture)) + ranked * len(picture_uri(picture, STRIP_PX))) < 6e6


def test_names_in_a_scatter_do_not_cover_each_other() -> None:
    names = ["samae", "samae-no-perforation", "samae-no-mesh-scaling", "samae-vector-condition", "samae-blendface"]
    clouds = [Cloud(name, "red", [], (0.5 + 0.01 * n, 0.1)) for n, name in enumerate(names)]
    shapes = enumerate(("square", "triangle", "diamond"))
    far = [Cloud(shape, "grey", [], (0.1 + 0.43 * n, 0.1 + 0.4 * (n != 1)), shape) for n, shape in shapes]
    text = scatter([*clouds, *far], "x", "y", "t")
    spots = re.findall(r'class="name" x="([-\d.]+)" y="([-\d.]+)">([\w-]+)<', text)
    boxes = {name: (float(x), float(y) - 11, float(x) + 7.6 * len(name), float(y) + 3) for x, y, name in spots}
    assert len(boxes) == 8
    for a, b in itertools.combinations(boxes.values(), 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
    assert 'class="leader"' in text  # some had to go far


def test_where_many_systems_meet_a_scatter_names_the_baselines_alone() -> None:
    clouds = [Cloud(f"method-{n}", "red", [], (0.5 + 0.01 * n, 0.1)) for n in range(MOST_NAMED + 1)]
    text = scatter([*clouds, Cloud("true-swap", "grey", [], (0.49, 0.1), "square")], "x", "y", "t")
    ((left, base, name),) = re.findall(r'class="name" x="([-\d.]+)" y="([-\d.]+)">([\w-]+)<', text)
    assert name == "true-swap"
    for x, y in re.findall(r'class="dot" cx="([\d.]+)" cy="([\d.]+)"', text):  # and covers none of their marks
        inside = float(left) < float(x) < float(left) + 7.6 * len(name)
        assert not (inside and float(base) - 11 < float(y) < float(base) + 3)
    assert text.count('class="dot"') == len(clouds)


def test_an_error_is_drawn_by_square_roots() -> None:
    axis = Axis(0.0, 25.0, 100.0, 0.0, root=True)
    assert [axis.at(value) for value in (0, 1, 4, 25, -1)] == pytest.approx([100, 80, 60, 0, 100])
    assert axis.ticks() == [0, 1, 2, 5, 10, 20]
    clouds = [
        Cloud("good", "red", [], (0.5, 1.0)),
        Cloud("better", "red", [], (0.5, 0.0)),
        Cloud("bad", "red", [], (0.5, 25.0)),
    ]
    heights = [
        float(y)
        for y in re.findall(r'class="dot" cx="[\d.]+" cy="([\d.]+)"', scatter(clouds, "x", "y", "t", "bottom right"))
    ]
    assert (heights[1] - heights[0]) / (heights[1] - heights[2]) > 0.15  # linear: 0.04


def test_the_leaderboard_has_the_ablations_of_a_recipe(evaluation: Evaluation, tmp_path: Path) -> None:
    class Variant(FakeSwapper):
        name = "fake-half"

    variant = judge(Variant(0.35), pairs(), load_faces, [ColourEncoder()], truth)
    table = ablations([evaluation, variant], [m for m in evaluation.metrics if m.name == "truth_face_psnr_db"])
    assert table is not None
    assert table["variants"] == [{"name": "fake-half", "base": "fake"}]
    (cell,) = table["rows"][0]["cells"]
    gap = variant.summary["truth_face_psnr_db"]["mean"] - evaluation.summary["truth_face_psnr_db"]["mean"]
    assert cell["value"] == f"{gap:.2f}".replace("-", "−")
    assert cell["verdict"] == "bad"
    write_report([evaluation, variant], None, None, tmp_path / "l.html")
    assert "What each part is worth" in (tmp_path / "l.html").read_text()
    assert ablations([evaluation], list(evaluation.metrics)) is None
    assert base_of("samae-no-perforation-x", ["samae", "samae-no-perforation", "simswap"]) == "samae-no-perforation"


def test_pairs_are_shown_by_every_ranked_metric(evaluation: Evaluation) -> None:
    for name, sign in (("skin_delta_e", 1), ("truth_face_psnr_db", -1)):
        rows = in_order(system_rows(evaluation.rows, "fake"), evaluation.pairs.ids)
        order = np.argsort(sign * column(rows, name), kind="stable")
        shown = {e.why: e.pair_id for e in evaluation.examples if e.by == name}
        assert shown["best"] == evaluation.pairs.ids[order[0]]
        assert shown["worst"] == evaluation.pairs.ids[order[-1]]
        assert shown["median"] == evaluation.pairs.ids[order[len(order) // 2]]
