"""training.shards: the index, random access, and every way in which a shard can be wrong."""

import errno
import io
import json
import os
import resource
import tarfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from shard_factory import key_of, make_sample, make_shards, write_tar

from faces.errors import SamaeError
from faces.records import encode_sample
from training.members import GAP_BYTES, find_members, read_members
from training.shards import OTHER_FILES, ShardSet, split_of, write_index

HEAD, ENCODER = {"edition": "test-1", "digest": "0"}, {"name": "test", "digest": "1"}


def test_every_sample_comes_back_as_it_went_in(tmp_path: Path) -> None:
    shards = make_shards(tmp_path, count=10, per_shard=4)
    assert len(shards) == 10
    for index in (9, 0, 5):
        made, read = make_sample(index), shards.read(key_of(index))
        for name in ("mask", "coefficients", "embedding", "skin", "landmarks", "albedo"):
            np.testing.assert_array_equal(read[name], made[name])
        assert read["meta"]["person"] == shards.row(key_of(index)).person == index % 4
        assert np.abs(read["image"].astype(int) - made["image"].astype(int)).mean() < 3


def test_only_the_wanted_fields_are_decoded(tmp_path: Path) -> None:
    shards = make_shards(tmp_path, count=4)
    assert set(shards.read(key_of(1), ("skin", "mask"))) == {"skin", "mask"}


def test_after_its_first_read_the_wanted_members_alone_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = make_shards(tmp_path, count=2, size_px=128)
    asked: list[int] = []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda handle, size, start: asked.append(size) or pread(handle, size, start))
    whole = [shards.read(key_of(1)) for _ in range(2)]
    part = shards.read(key_of(1), ("mask", "image", "skin"))
    for name in ("image", "mask", "albedo", "skin"):
        np.testing.assert_array_equal(whole[0][name], whole[1][name])
        assert name == "albedo" or (whole[0][name] == part[name]).all()
    sizes = {name: len(data) for name, data in encode_sample(make_sample(1, size_px=128)).items()}
    first, second, *last = asked
    assert first == shards.row(key_of(1)).size_bytes >= second > sum(sizes.values())
    assert sizes["albedo.png"] > GAP_BYTES
    assert sum(last) < first - sizes["albedo.png"]


def test_the_manifest_points_at_the_bytes(tmp_path: Path) -> None:
    make_shards(tmp_path, count=6, per_shard=3)
    for row in pq.read_table(tmp_path / "manifest.parquet").to_pylist():
        data = (tmp_path / row["shard"]).read_bytes()[row["offset_bytes"] :][: row["size_bytes"]]
        assert "image.jpg" in read_members(data, row["key"])


def test_the_same_samples_give_the_same_digest_and_bytes(tmp_path: Path) -> None:
    one, two = make_shards(tmp_path / "a"), make_shards(tmp_path / "b")
    assert one.digest == two.digest
    assert (tmp_path / "a/00000.tar").read_bytes() == (tmp_path / "b/00000.tar").read_bytes()
    other = make_shards(tmp_path / "c", splits={key_of(3): "test"})
    assert other.digest != one.digest


def test_splits_hold_the_keys_they_were_given(tmp_path: Path) -> None:
    shards = make_shards(tmp_path, count=8, splits={key_of(2): "validation", key_of(7): "test"})
    assert shards.keys("validation") == (key_of(2),)
    assert shards.keys("test") == (key_of(7),)
    assert len(shards.keys("train")) == 6
    assert len(shards.keys()) == 8
    with pytest.raises(SamaeError, match="no split is called 'dev'"):
        shards.keys("dev")


def test_without_given_splits_a_person_is_in_one_split(tmp_path: Path) -> None:
    for first in (0, 20):
        write_tar(tmp_path / f"{first:05d}.tar", [make_sample(i, people=7) for i in range(first, first + 20)])
    shards = write_index(tmp_path, size_px=32, head=HEAD, encoder=ENCODER)
    homes: dict[int, set[str]] = {shards.row(key).person: set() for key in shards}
    for key in shards:
        homes[shards.row(key).person].add(shards.row(key).split)
    assert all(len(splits) == 1 for splits in homes.values())


def test_split_fractions_are_about_right() -> None:
    splits = [split_of(f"person-{i}") for i in range(2000)]
    assert abs(splits.count("test") / 2000 - 0.10) < 0.03
    assert abs(splits.count("validation") / 2000 - 0.05) < 0.02


def test_rejected_photographs_are_rows_but_not_samples(tmp_path: Path) -> None:
    write_tar(tmp_path / "00000.tar", [make_sample(i) for i in range(3)])
    rejected = [{"key": "00099", "status": "no face"}]
    shards = write_index(tmp_path, size_px=32, head=HEAD, encoder=ENCODER, rejected=rejected)
    assert len(shards) == 3
    assert "00099" not in shards
    assert pq.read_table(tmp_path / "manifest.parquet")["status"].to_pylist().count("no face") == 1
    assert len(ShardSet.open(tmp_path)) == 3


def test_a_flipped_byte_is_named_by_shard_and_key(tmp_path: Path) -> None:
    shards = make_shards(tmp_path, count=8, per_shard=4)
    row = shards.row(key_of(6))
    with (tmp_path / row.shard).open("r+b") as stream:
        stream.seek(row.offset_bytes + 700)
        byte = stream.read(1)
        stream.seek(row.offset_bytes + 700)
        stream.write(bytes([byte[0] ^ 1]))
    again = ShardSet.open(tmp_path)
    again.read(key_of(5))
    with pytest.raises(SamaeError, match=rf"'{key_of(6)}'.*{row.shard}.*SHA-256"):
        again.read(key_of(6))


def test_a_truncated_shard_is_refused_at_opening(tmp_path: Path) -> None:
    make_shards(tmp_path, count=8, per_shard=4)
    path = tmp_path / "00004.tar"
    path.write_bytes(path.read_bytes()[:-512])
    with pytest.raises(SamaeError, match=r"00004\.tar has \d+ bytes instead of \d+"):
        ShardSet.open(tmp_path)


def test_a_shard_that_shrinks_under_the_reader_is_an_error(tmp_path: Path) -> None:
    shards = make_shards(tmp_path, count=4, per_shard=4)
    path = tmp_path / "00000.tar"
    path.write_bytes(path.read_bytes()[:1024])
    with pytest.raises(SamaeError, match="ends within sample"):
        shards.read(key_of(3))


@pytest.mark.parametrize(("name", "match"), [("shards.json", "materialise"), ("manifest.parquet", "cannot be read")])
def test_a_missing_index_is_one_clear_sentence(tmp_path: Path, name: str, match: str) -> None:
    make_shards(tmp_path, count=4)
    (tmp_path / name).unlink()
    with pytest.raises(SamaeError, match=match):
        ShardSet.open(tmp_path)


def test_a_missing_tar_and_another_schema_are_refused(tmp_path: Path) -> None:
    make_shards(tmp_path, count=4, per_shard=4)
    index = json.loads((tmp_path / "shards.json").read_text())
    (tmp_path / "shards.json").write_text(json.dumps(index | {"schema_version": 99}))
    with pytest.raises(SamaeError, match="schema version 99"):
        ShardSet.open(tmp_path)
    (tmp_path / "shards.json").write_text(json.dumps(index))
    (tmp_path / "00000.tar").unlink()
    with pytest.raises(SamaeError, match=r"00000\.tar is missing"):
        ShardSet.open(tmp_path)


def test_a_manifest_of_another_index_is_refused(tmp_path: Path) -> None:
    make_shards(tmp_path / "a", count=4)
    make_shards(tmp_path / "b", count=4, splits={key_of(0): "test"})
    (tmp_path / "b/manifest.parquet").replace(tmp_path / "a/manifest.parquet")
    with pytest.raises(SamaeError, match="does not belong"):
        ShardSet.open(tmp_path / "a")


def _tar(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> None:
    with tarfile.open(path, "w") as archive:
        for info, data in members:
            info.size = len(data) if info.isreg() else 0
            archive.addfile(info, io.BytesIO(data))


@pytest.mark.parametrize("name", ["../evil.image.jpg", "/etc/passwd.json", "UPPER.image.jpg", "dir/a.image.jpg"])
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    _tar(tmp_path / "00000.tar", (tarfile.TarInfo(name), b"x"))
    with pytest.raises(SamaeError, match="no plain file of a sample"):
        write_index(tmp_path, size_px=32, head=HEAD, encoder=ENCODER)


def test_links_and_incomplete_samples_are_refused(tmp_path: Path) -> None:
    link = tarfile.TarInfo("00000.image.jpg")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    _tar(tmp_path / "00000.tar", (link, b""))
    with pytest.raises(SamaeError, match="no plain file"):
        write_index(tmp_path, size_px=32, head=HEAD, encoder=ENCODER)
    _tar(tmp_path / "00000.tar", (tarfile.TarInfo("00000.image.jpg"), b"x"))
    with pytest.raises(SamaeError, match=r"lacks \['albedo.png'"):
        write_index(tmp_path, size_px=32, head=HEAD, encoder=ENCODER)


def test_a_key_in_two_shards_is_refused(tmp_path: Path) -> None:
    for name in ("00000.tar", "00001.tar"):
        write_tar(tmp_path / name, [make_sample(0)])
    with pytest.raises(SamaeError, match=r"occurs twice \(00000.tar and 00001.tar\)"):
        write_index(tmp_path, size_px=32, head=HEAD, encoder=ENCODER)


def test_a_member_of_negative_size_is_refused_and_nobody_waits_for_ever() -> None:
    block = bytearray(512)
    block[:5], block[124:136], block[156] = b"a.png", b"-0000001000\0", ord("0")
    with pytest.raises(SamaeError, match="tar header is damaged"):
        find_members(bytes(block) + bytes(1024), "a")


def test_a_set_of_many_shards_raises_the_limit_of_open_files_or_says_how(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = make_shards(tmp_path, count=8, per_shard=4)
    limits = [(100, 10_000)]
    monkeypatch.setattr(resource, "getrlimit", lambda kind: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda kind, pair: limits.append(pair))
    ShardSet.open(tmp_path)
    assert limits[-1] == (2 + OTHER_FILES, 10_000)
    ShardSet.open(tmp_path)
    assert len(limits) == 2  # enough already

    def full(*arguments: object) -> int:
        """No handle is left."""
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(SamaeError, match=r"may open 514 and the set has 2 shards; raise the limit \(ulimit -n\)"):
        shards.read(key_of(0))


def test_webdataset_and_pax_headers_are_read(tmp_path: Path) -> None:
    wds = pytest.importorskip("webdataset")
    with wds.TarWriter(str(tmp_path / "00000.tar")) as writer:
        for index in range(3):
            sample = make_sample(index)
            writer.write({"__key__": key_of(index), **encode_sample(sample)})
    shards = write_index(tmp_path, size_px=32, head=HEAD, encoder=ENCODER)
    np.testing.assert_array_equal(shards.read(key_of(2))["skin"], make_sample(2)["skin"])


def test_the_digest_names_head_encoder_and_size(tmp_path: Path) -> None:
    write_tar(tmp_path / "00000.tar", [make_sample(0)])
    other = {"digest": "2"}
    made = [(32, HEAD, ENCODER), (32, HEAD | other, ENCODER), (32, HEAD, ENCODER | other), (64, HEAD, ENCODER)]
    digests = {write_index(tmp_path, size_px=px, head=head, encoder=encoder).digest for px, head, encoder in made}
    assert len(digests) == 4


def test_a_closed_set_trusts_no_file_that_it_knew(tmp_path: Path) -> None:
    """Of the same size, with other bytes: read anew after `close`, and hashed."""
    shards = make_shards(tmp_path, count=2, per_shard=2)
    shards.read(key_of(0), ("skin",))
    path = tmp_path / "00000.tar"
    row, data = shards.row(key_of(0)), bytearray(path.read_bytes())
    data[row.offset_bytes + 600] ^= 1
    shards.close()
    path.write_bytes(data)
    with pytest.raises(SamaeError, match="does not match its SHA-256"):
        shards.read(key_of(0), ("skin",))
