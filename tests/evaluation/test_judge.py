"""The judge on fakes: order of systems, failures counted, restarts, chunks, files."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch

from evaluation.batch import Chunk, _measure_result, pair_covariates
from evaluation.colour import delta_e_2000, linear_to_lab
from evaluation.context import Pictures
from evaluation.evaluation import Evaluation, read_evaluation, write_evaluation
from evaluation.judge import build_gallery, judge
from evaluation.pairs import choose_pairs
from evaluation.rows import merge_rows, systems_of
from faces.errors import SamaeError
from tests.evaluation.fakes import ColourEncoder, FakeSwapper, index, load_faces, pairs, person_of, truth
from tests.faces.toy_head import toy_head
from training.batch import FaceBatch, SwapResult


def run(swapper: FakeSwapper | str = "copy-target", **options: object) -> Evaluation:
    return judge(swapper, pairs(), load_faces, [ColourEncoder()], truth, **options)  # type: ignore[arg-type]


def test_copy_target_keeps_everything_and_swaps_nobody() -> None:
    figures = run("copy-target").summary
    assert figures["background_psnr_db"]["mean"] == 60
    assert figures["skin_delta_e"]["mean"] == 0
    assert figures["seam"]["mean"] == 0
    assert figures["identity_leak"]["mean"] == pytest.approx(1, abs=1e-5)
    assert figures["retrieval_top1"]["mean"] == 0


def test_true_swap_is_the_ceiling() -> None:
    evaluation = run("copy-target")
    ceiling = evaluation.baselines["true-swap"]
    assert ceiling["truth_face_psnr_db"]["mean"] == 60
    assert ceiling["truth_ssim"]["mean"] == pytest.approx(1)
    assert ceiling["truth_face_delta_e"]["mean"] == 0
    assert ceiling["truth_identity"]["mean"] == pytest.approx(1, abs=1e-6)
    assert evaluation.summary["truth_identity"]["mean"] < 0.5
    assert ceiling["identity_similarity"]["mean"] > evaluation.summary["identity_similarity"]["mean"] + 0.5
    assert ceiling["retrieval_top1"]["mean"] == 1


def test_paste_source_has_the_identity_and_the_wrong_colour() -> None:
    evaluation = run("paste-source")
    assert evaluation.summary["identity_similarity"]["mean"] > 0.8
    ceiling = evaluation.baselines["true-swap"]
    assert evaluation.summary["skin_delta_e"]["mean"] > 1.5 * ceiling["skin_delta_e"]["mean"]
    assert evaluation.summary["truth_face_psnr_db"]["mean"] < 30


def test_a_half_swap_lies_between() -> None:
    weak, strong = run(FakeSwapper(0.3)).summary, run(FakeSwapper(0.9)).summary
    for name in ("identity_similarity", "truth_identity", "truth_face_psnr_db", "truth_face_ssim"):
        assert strong[name]["mean"] > weak[name]["mean"], name
    for name in ("identity_leak", "truth_face_delta_e"):
        assert strong[name]["mean"] < weak[name]["mean"], name


def test_failures_are_counted_and_take_no_other_pair_with_them() -> None:
    listed = pairs()
    dead, broken = listed.target_keys[0], next(k for k in listed.target_keys if k != listed.target_keys[0])
    evaluation = run(FakeSwapper(fails_on=(dead,), nan_on=(broken,)))
    expected = sum(k in (dead, broken) for k in listed.target_keys)
    figure = evaluation.summary["identity_similarity"]
    assert (figure["n"], figure["failed"]) == (len(listed) - expected, expected)
    reasons = set(evaluation.rows.column("reason").to_pylist()) - {""}
    assert any("cannot swap onto" in r for r in reasons)
    assert any("not numbers" in r for r in reasons)
    assert figure["mean"] > 0.95


def test_set_distances_compare_results_and_targets_of_the_same_pairs() -> None:
    """Copies of the targets are as far from them as they are from themselves, however many pairs failed."""

    class Copying(FakeSwapper):
        def swap(self, source: FaceBatch, target: FaceBatch) -> SwapResult:
            return SwapResult(target.image, super().swap(source, target).mask)

    listed = pairs()
    summary = run(Copying(fails_on=tuple(dict.fromkeys(listed.target_keys))[:5])).summary
    assert 0 < summary["frechet_identity_features"]["failed"] < len(listed)
    assert summary["frechet_identity_features"]["mean"] == pytest.approx(0, abs=1e-9)


class LosingFaces:
    """The fakes' faces without the one that is named, which the loader says is missing."""

    def __init__(self, lost: str) -> None:
        self.lost = lost

    def __call__(self, keys: Sequence[str]) -> FaceBatch:
        return load_faces(keys)

    def missing(self, key: str) -> str:
        return "it shows no face" if key == self.lost else ""


def test_a_missing_face_is_marked_in_the_gallery(tmp_path: Path) -> None:
    listed = pairs()
    lost = listed.target_keys[0]
    for _ in range(2):  # looked at, and read from what was kept
        gallery = build_gallery(listed, LosingFaces(lost), (ColourEncoder(),), kept=tmp_path)
        assert gallery.there is not None
        assert [key for key, there in zip(gallery.keys, gallery.there, strict=True) if not there] == [lost]
    for kept in tmp_path.glob("*.npz"):
        kept.write_bytes(kept.read_bytes()[:-100])
    with pytest.raises(SamaeError, match=r"cannot be read as a gallery that was kept .*; remove it and judge again"):
        build_gallery(listed, LosingFaces(lost), (ColourEncoder(),), kept=tmp_path)


def test_consistency_is_measured_in_lists_without_a_repeated_source() -> None:
    listed = pairs()
    assert len(set(listed.source_keys)) == len(listed)
    evaluation = run("copy-target")
    both = evaluation.summary, evaluation.baselines["true-swap"]
    copy, truths = (summary["identity_consistency"]["mean"] for summary in both)
    assert copy < truths - 0.5
    assert truths == pytest.approx(1, abs=0.05)  # a person's colours are the same in every scene
    assert "identity_consistency" in {m.name for m in evaluation.metrics}


def test_consistency_of_unknown_persons_needs_the_protocol_whose_sources_repeat() -> None:
    def anonymous(keys: Sequence[str]) -> FaceBatch:
        batch = load_faces(keys)
        return replace(batch, person=torch.full_like(batch.person, -1))

    unknown = replace(index(), person=np.full(len(index().keys), -1))
    for protocol, measured in (("cross", False), ("consistency", True)):
        listed = choose_pairs(unknown, 20, 3, protocol)
        figure = judge("copy-target", listed, anonymous, [ColourEncoder()], truth).summary["identity_consistency"]
        assert math.isfinite(figure["mean"]) == measured


def test_chunks_do_not_change_the_figures() -> None:
    def backwards(function: Callable[[Chunk], pa.Table], chunks: Sequence[Chunk]) -> Iterator[pa.Table]:
        return iter([function(chunk) for chunk in reversed(chunks)])

    whole, pieces = run(FakeSwapper(0.5)), run(FakeSwapper(0.5), chunk_pairs=3, map_chunks=backwards)
    for name, figure in whole.summary.items():
        assert pieces.summary[name]["mean"] == pytest.approx(figure["mean"], nan_ok=True), name


def test_progress_ends_at_the_number_of_pairs() -> None:
    seen: list[tuple[int, int]] = []
    run(on_progress=lambda done, total: seen.append((done, total)), chunk_pairs=6)
    assert seen == [(6, 20), (12, 20), (18, 20), (20, 20)]


def test_a_second_run_reads_its_rows_and_doubles_none(tmp_path: Path) -> None:
    class Dying(FakeSwapper):
        calls = 0

        def swap(self, source, target):  # type: ignore[no-untyped-def]
            Dying.calls += 1
            if Dying.calls == 3:
                raise KeyboardInterrupt
            return super().swap(source, target)

    with pytest.raises(KeyboardInterrupt):
        run(Dying(0.5), chunk_pairs=5, rows_folder=tmp_path)
    assert len(list(tmp_path.glob("*.parquet"))) == 2 * 4
    calls = Dying.calls
    evaluation = run(Dying(0.5), chunk_pairs=5, rows_folder=tmp_path)
    assert Dying.calls == calls + 2 + 1  # two chunks left, and the examples once
    assert evaluation.rows.num_rows == 20 * 4
    assert len(list(tmp_path.glob("*.parquet"))) == 4 * 4
    other = run(FakeSwapper(0.9), chunk_pairs=5, rows_folder=tmp_path, system_digest="other weights")
    assert len(list(tmp_path.glob("*.parquet"))) == 5 * 4  # the baselines were judged already
    assert other.summary["identity_similarity"]["mean"] != evaluation.summary["identity_similarity"]["mean"]


def test_a_second_run_looks_at_no_face_again(tmp_path: Path) -> None:
    first, second = ColourEncoder(), ColourEncoder()
    for encoder in (first, second):
        judge(FakeSwapper(0.5), pairs(), load_faces, [encoder], truth, rows_folder=tmp_path)
    assert first.pictures > len(pairs())
    assert second.pictures == 0


def test_merging_is_idempotent() -> None:
    rows = run().rows
    assert merge_rows(rows, rows).equals(rows)
    assert systems_of(rows) == ["copy-target", "paste-source", "true-swap"]


def test_every_picture_is_embedded_once_a_system() -> None:
    encoder = ColourEncoder()
    listed = pairs()
    judge("copy-target", listed, load_faces, [encoder], truth, baselines=())
    results_and_truths = 2 * len(listed)
    assert encoder.pictures == len(set(listed.source_keys) | set(listed.target_keys)) + results_and_truths


def test_the_training_encoder_is_kept_out_of_the_headline() -> None:
    own, other = ColourEncoder("own", 40.0), ColourEncoder("other")
    evaluation = judge(FakeSwapper(0.6), pairs(), load_faces, [own, other], truth, trained_with=("own",))
    summary = evaluation.summary
    assert summary["identity_similarity"]["mean"] == summary["identity_similarity.other"]["mean"]
    assert summary["identity_similarity"]["mean"] != summary["identity_similarity.own"]["mean"]
    assert evaluation.provenance["headline_encoders"] == ["other"]


def test_a_renamed_copy_of_the_training_encoder_is_kept_out_too() -> None:
    """The method says name and digest of its encoder; the judge's file of the same weights has another name."""
    renamed, other = ColourEncoder("my-judge", 40.0), ColourEncoder("other")
    renamed.digest = "digest-own"
    evaluation = judge(
        FakeSwapper(0.6), pairs(), load_faces, [renamed, other], truth, trained_with=("own", "digest-own")
    )
    assert evaluation.provenance["headline_encoders"] == ["other"]
    assert [said["trained_the_model"] for said in evaluation.provenance["encoders"]] == [True, False]


def test_without_a_fit_its_metrics_are_absent_and_not_invented() -> None:
    assert run().provenance["fitted"] is False
    assert {"pose_degrees", "expression_mm", "shape_mm", "light_distance"}.isdisjoint(run().summary)


def test_an_evaluation_is_kept_and_read_back(tmp_path: Path) -> None:
    evaluation = run(FakeSwapper(0.5, fails_on=(pairs().target_keys[0],)))
    write_evaluation(tmp_path / "e", evaluation)
    back = read_evaluation(tmp_path / "e")
    assert back.rows.equals(evaluation.rows)
    assert back.pairs == evaluation.pairs
    assert back.persons == evaluation.persons == {k: person_of(k) for k in evaluation.persons}
    assert back.persons.keys() == {*back.pairs.source_keys, *back.pairs.target_keys}
    assert back.summary.keys() == evaluation.summary.keys()
    assert list(back.slices) == list(evaluation.slices)
    assert math.isnan(back.summary["frechet_identity_features"]["low"])
    assert np.array_equal(back.examples[0].result, evaluation.examples[0].result)
    assert {e.why for e in back.examples} == {"fixed", "best", "median", "worst"}


def test_grids_hold_four_columns(tmp_path: Path) -> None:
    grids = run(FakeSwapper(0.5)).grids
    # what can be measured without a fit and tells the pairs apart: background and seam are perfect everywhere
    ranked = ("identity_similarity", "identity_leak", "skin_delta_e", "truth_face_psnr_db")
    assert set(grids) == {"fixed", *(f"best_to_worst_{name}" for name in ranked)}
    assert grids["fixed"].dtype == np.uint8
    assert grids["fixed"].shape[1] == 6 + 4 * 134


def test_wrong_use_names_its_mend() -> None:
    with pytest.raises(SamaeError, match="no baseline is called"):
        run("nothing")
    with pytest.raises(SamaeError, match="at least one identity encoder"):
        judge("copy-target", pairs(), load_faces, [], truth)
    with pytest.raises(SamaeError, match="no true swaps"):
        judge("true-swap", pairs(), load_faces, [ColourEncoder()], None)


def test_slices_are_cut_by_the_difference_of_the_pair_and_the_looks_of_its_target() -> None:
    """Pose, shape and skin: between the two; yaw and what is hidden: the target's; lightness: the source's."""
    head = toy_head()
    pose = np.radians([[0.0, 10.0, 0.0], [25.0, -40.0, 0.0]])
    shape = np.zeros((2, len(head.identity_mm)))
    shape[1, 0] = 3.0
    both = replace(
        load_faces(["00000", "00001"]),
        coefficients=torch.from_numpy(head.layout.pack(rotation_rad=pose, identity=shape)),
        skin=torch.tensor([[0.05, 0.03, 0.02], [0.6, 0.45, 0.4]]),
    )
    both.mask[1, :, :, 24:] = 0  # the half of the target
    source, target = both.select([0]), both.select([1])
    found = {name: float(value[0]) for name, value in pair_covariates(source, target, head).items()}
    lab = linear_to_lab(both.skin.numpy())
    assert found["target_yaw_degrees"] == pytest.approx(40, abs=1e-3)
    assert 50 < found["pose_difference_degrees"] < 60
    assert found["shape_difference"] == pytest.approx(3, abs=1e-5)
    assert found["source_skin_lightness"] == pytest.approx(lab[0, 0])
    assert found["skin_difference"] == pytest.approx(float(delta_e_2000(lab[:1], lab[1:])[0]))
    assert 0.3 < found["target_occlusion"] < 0.7
    bare = pair_covariates(source, target, None)
    assert np.isnan(bare["target_yaw_degrees"]).all()
    assert np.isfinite(bare["skin_difference"]).all()


def test_a_result_is_fitted_from_the_sources_shape_under_the_targets_rest() -> None:
    head, seen = toy_head(), []

    class Noting:
        """Measures nothing, and notes where it was to start."""

        digest = "noting"

        def measure(self, pictures: Pictures, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            """The start itself."""
            seen.append(start)
            return start, pictures.landmarks_px

    known = np.random.default_rng(0).normal(size=(2, head.layout.size)).astype(np.float32)
    batch = replace(load_faces(["00000", "00001"]), coefficients=torch.from_numpy(known))
    source, target = (Pictures.of_batch(batch.select([n])) for n in (0, 1))
    context = SimpleNamespace(measurer=Noting(), head=head)
    _measure_result(context, source, target, target, (known[:1], known[1:]))  # type: ignore[arg-type]
    place, wanted = head.layout.slices["identity"], known[1:].copy()
    wanted[:, place] = known[:1, place]
    np.testing.assert_array_equal(seen[0], wanted)
    np.testing.assert_array_equal(target.coefficients, known[1:])
