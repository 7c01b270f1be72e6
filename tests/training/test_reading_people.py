"""People for networks that read photographs: resumed, the same bytes, more in front of their faces."""

import numpy as np
import pytest

from faces.errors import SamaeError
from training.reading import people


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(people, "PART", 3)


def test_a_set_that_was_interrupted_goes_on_and_ends_the_same(tmp_path, small_parts):
    lines: list[str] = []

    def stop(line: str) -> None:
        lines.append(line)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        people.draw_people(tmp_path / "a", 5, 48, 3, report=stop)
    assert lines[0].startswith("people 3/5")
    with pytest.raises(SamaeError, match="other people"):
        people.draw_people(tmp_path / "a", 5, 48, 4)
    people.draw_people(tmp_path / "a", 5, 48, 3, report=lines.append)
    assert lines[1:] == ["people 5/5, 0 s left"]
    people.draw_people(tmp_path / "b", 5, 48, 3, report=lambda _: None)
    a, b = people.load_people(tmp_path / "a"), people.load_people(tmp_path / "b")
    assert len(a) == 5
    for name in people.ARRAYS:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    one = people.crowded_picture(3, 4, 48)
    np.testing.assert_array_equal(a.image[4], one["image"])
    assert a.mask.shape == (5, 48, 48)
    assert a.landmarks_px.dtype == np.float32
    with pytest.raises(SamaeError, match="finished set"):
        people.draw_people(tmp_path / "a", 6, 48, 3)


def test_things_in_front_are_common():
    from faces.synthetic.scene import scene_from_seed

    rng = np.random.default_rng(0)
    scenes = [people.crowded(scene_from_seed(1, n), rng) for n in range(150)]
    share = {kind: np.mean([s.occluder == kind for s in scenes]) for kind in ("hand", "strand")}
    assert min(share.values()) > 0.08
    assert np.mean([s.glasses != "none" for s in scenes]) > 0.25
    assert np.mean([s.glasses == "sunglasses" for s in scenes]) > 0.04


def test_strong_expressions_reach_every_movement_and_are_both_sides_mostly() -> None:
    from faces.morphable.registry import load_head

    rng = np.random.default_rng(0)
    drawn = [dict(people.strong_expression(rng)) for _ in range(400)]
    known = set(load_head("builtin").expression_names)
    wanted = {n for group, _ in people.MOVEMENTS for m in group for n in (m, f"{m}_L", f"{m}_R") if n in known}
    assert set().union(*drawn) == wanted
    assert all(0 <= value <= 1 for values in drawn for value in values.values())
    assert max(values.get("jawOpen", 0) for values in drawn) > 0.9
    smiles = np.array([(v["mouthSmile_L"], v["mouthSmile_R"]) for v in drawn if "mouthSmile_L" in v])
    assert np.abs(smiles[:, 0] - smiles[:, 1]).mean() < 0.2


def test_an_unfinished_set_is_refused(tmp_path):
    with pytest.raises(SamaeError, match="never finished"):
        people.load_people(tmp_path)
