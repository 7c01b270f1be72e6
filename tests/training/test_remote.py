"""Shards in a real S3 server on localhost (moto's), and through fsspec's memory store: whole, checked, tried again."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from shard_factory import key_of, make_shards

from faces import remote
from faces.errors import SamaeError
from training.shards import ShardSet, fetch_shards, publish_shards


@pytest.fixture(scope="module")
def s3(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """Options of a server on a free port, with the bucket "faces"."""
    moto = pytest.importorskip("moto.server", reason="moto[server] is not installed: S3 is not proven here")
    pytest.importorskip("s3fs", reason="s3fs is not installed: S3 is not proven here")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    options = {"endpoint_url": f"http://{host}:{port}", "key": "test", "secret": "test"}
    import fsspec

    fsspec.filesystem("s3", **options).mkdir("faces")
    yield options
    server.stop()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote.time, "sleep", lambda seconds: None)


def test_shards_go_to_s3_and_come_back(s3: dict[str, Any], tmp_path: Path) -> None:
    here = make_shards(tmp_path / "here", count=8, per_shard=4)
    publish_shards(tmp_path / "here", "s3://faces/set", s3)
    there = ShardSet.open(fetch_shards("s3://faces/set", tmp_path / "cache", s3))
    assert there.digest == here.digest
    assert (there.read(key_of(5))["image"] == here.read(key_of(5))["image"]).all()
    assert not list((tmp_path / "cache").rglob("*.tmp"))


def address() -> str:
    return f"memory://{uuid.uuid4().hex}/set"


def test_what_is_cached_is_not_fetched_again_and_a_new_set_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url, fetched = address(), []
    original = remote.RemoteFolder.fetch

    def counted(self: Any, name: str, *rest: Any) -> Path:
        fetched.append((name, (self.cache / name).is_file()))
        return original(self, name, *rest)

    monkeypatch.setattr(remote.RemoteFolder, "fetch", counted)
    make_shards(tmp_path / "one", count=4, per_shard=4)
    publish_shards(tmp_path / "one", url)
    first = fetch_shards(url, tmp_path / "cache")
    fetched.clear()
    assert fetch_shards(url, tmp_path / "cache") == first
    assert ("00000.tar", True) in fetched
    make_shards(tmp_path / "two", count=4, per_shard=4, splits={key_of(1): "test"})
    publish_shards(tmp_path / "two", url)
    assert ShardSet.open(fetch_shards(url, tmp_path / "cache")).keys("test") == (key_of(1),)


def test_a_read_that_fails_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url, attempts = address(), []
    make_shards(tmp_path / "here", count=4, per_shard=4)
    publish_shards(tmp_path / "here", url)
    system = remote.RemoteFolder(url, tmp_path).system
    original = type(system).get_file

    def flaky(self: Any, source: str, target: str, **rest: Any) -> None:
        attempts.append(source)
        if len(attempts) % 3:
            Path(target).write_bytes(b"half")
            raise ConnectionError("reset by peer")
        original(self, source, target, **rest)

    monkeypatch.setattr(type(system), "get_file", flaky)
    assert len(ShardSet.open(fetch_shards(url, tmp_path / "cache"))) == 4
    assert len(attempts) == 9  # index, tar and manifest, three times each
    assert not list((tmp_path / "cache").rglob("*.tmp"))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"digest": "../../../../tmp"}, "not 16 hexadecimal digits"),
        ({"shards": [{"path": "../00000.tar", "bytes": 1, "sha256": ""}]}, "no plain file name"),
    ],
)
def test_an_index_that_leads_out_of_the_cache_is_refused(tmp_path: Path, changed: dict[str, Any], words: str) -> None:
    url = address()
    make_shards(tmp_path / "here", count=4, per_shard=4)
    index = tmp_path / "here" / "shards.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | changed))
    publish_shards(tmp_path / "here", url)
    with pytest.raises(SamaeError, match=words):
        fetch_shards(url, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_wrong_bytes_and_unfinished_folders_are_named(tmp_path: Path) -> None:
    url = address()
    make_shards(tmp_path / "here", count=4, per_shard=4)
    publish_shards(tmp_path / "here", url)
    system = remote.RemoteFolder(url, tmp_path).system
    path = url.removeprefix("memory:/") + "/00000.tar"
    data = system.cat_file(path)
    system.pipe_file(path, data[:900] + bytes([data[900] ^ 1]) + data[901:])
    with pytest.raises(SamaeError, match=r"00000\.tar cannot be read after 5 attempts .*another SHA-256"):
        fetch_shards(url, tmp_path / "cache")
    with pytest.raises(SamaeError, match="there is no such file"):
        fetch_shards(address(), tmp_path / "cache")
    system.pipe_file(path, data)
    manifest = path.replace("00000.tar", "manifest.parquet")
    system.pipe_file(manifest, system.cat_file(manifest)[:-1] + b"?")
    with pytest.raises(SamaeError, match=r"manifest\.parquet cannot be read .*another SHA-256"):
        fetch_shards(url, tmp_path / "cache")
    (tmp_path / "here" / "shards.json").unlink()
    with pytest.raises(SamaeError, match=r"has no shards\.json"):
        publish_shards(tmp_path / "here", url)
