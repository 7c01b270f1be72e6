"""Where assets lie, and when they are up to date."""

from pathlib import Path

import pytest

from assets.plan import Plan
from assets.store import Store
from faces.errors import SamaeError

PROVENANCE = {"code_version": "1", "settings": {}, "inputs": {"raw_faces": "abc"}}


def write(store: Store, text: str, provenance: dict[str, object]) -> str:
    with store.write("aligned_faces", "00000", provenance) as (folder, _):
        (folder / "rows.txt").write_text(text)
    return store.digest("aligned_faces", "00000")


def test_up_to_date_means_whole_and_made_from_the_same(tmp_path: Path) -> None:
    store = Store(tmp_path, "people")
    assert not store.is_current("aligned_faces", "00000", PROVENANCE)
    write(store, "one", PROVENANCE)
    assert store.is_current("aligned_faces", "00000", PROVENANCE)
    assert not store.is_current("aligned_faces", "00000", PROVENANCE | {"code_version": "2"})
    (store.folder("aligned_faces", "00000") / "rows.txt").unlink()
    assert not store.is_current("aligned_faces", "00000", PROVENANCE)


def test_the_data_version_is_the_content_alone(tmp_path: Path) -> None:
    store = Store(tmp_path, "people")
    first = write(store, "one", PROVENANCE)
    assert write(store, "one", PROVENANCE | {"code_version": "2"}) == first
    assert write(store, "two", PROVENANCE) != first


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    store = Store(tmp_path, "people")
    first = write(store, "one", PROVENANCE)

    def fail() -> None:
        with store.write("aligned_faces", "00000", PROVENANCE) as (folder, _):
            (folder / "rows.txt").write_text("half")
            raise RuntimeError("the power went")

    with pytest.raises(RuntimeError):
        fail()
    assert store.digest("aligned_faces", "00000") == first
    assert [path.name for path in store.folder("aligned_faces", "00000").parent.iterdir()] == ["00000"]


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(SamaeError, match=r"swap_model \[samae\] has not been made yet .*run `samae demo`"):
        Store(tmp_path, "people").digest("swap_model", "samae")


def test_sets_have_names() -> None:
    assert Plan().set_name == "people-1000x128"
    assert Plan(seed=3).set_name == "people-1000x128-s3"
    assert Plan(raw=Path("/data/FFHQ")).set_name == "ffhq"
