"""Folders that lie elsewhere (s3://, gs://, memory:// …) through fsspec: publish one whole, read it by a local cache.

Reading a file: bytes are fetched into `<cache>/.NAME.tmp`, checked (size, SHA-256 where it is known) and renamed, so
nothing half-fetched is ever read; an error of the network or the store is tried again, each time after a longer wait.
Publishing writes the file that says "finished" (manifest or index) last and after the others were read back by size.
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from faces.errors import SamaeError
from faces.files import atomic_file, digest_of, sha256_file

#: Attempts of one operation, and the wait before the second, s; it doubles each time.
ATTEMPTS, FIRST_WAIT_S = 5, 0.2
T = TypeVar("T")


def is_remote(place: Path | str) -> bool:
    """True for an address such as s3://bucket/folder."""
    return "://" in str(place)


class RemoteFolder:
    """One folder of a store that fsspec knows. `options` go to the file system, e.g. {"endpoint_url": …} for S3."""

    def __init__(self, url: str, cache: Path, options: dict[str, Any] | None = None) -> None:
        import fsspec

        self.url = url.rstrip("/")
        self.cache = cache / digest_of(self.url)
        try:
            self.system, self.root = fsspec.core.url_to_fs(self.url, **(options or {}))
        except (ImportError, ValueError) as error:
            raise SamaeError(f"{url} cannot be opened ({error}); s3:// needs the package s3fs: install it") from None

    def fetch(self, name: str, size_bytes: int | None = None, sha256: str | None = None) -> Path:
        """The local copy of a file, fetched when it is not there; SamaeError when it is missing or wrong."""
        path = self.cache / name
        if path.is_file() and (size_bytes is None or path.stat().st_size == size_bytes):
            return path

        def get() -> None:
            """One attempt: OSError for the wrong size or SHA-256, so that it is tried again."""
            with atomic_file(path) as scratch:
                self.system.get_file(f"{self.root}/{name}", str(scratch))
                if size_bytes is not None and scratch.stat().st_size != size_bytes:
                    raise OSError(f"{scratch.stat().st_size} bytes instead of {size_bytes}")
                if sha256 is not None and sha256_file(scratch) != sha256:
                    raise OSError("another SHA-256 than its index says")

        self._retry(get, f"{self.url}/{name} cannot be read")
        return path

    def publish(self, folder: Path, last: str) -> None:
        """Copy a local folder's files here, `last` (its index) after all others: without it nobody opens the folder."""
        names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
        if last not in names:
            raise SamaeError(f"{folder} has no {last}: it was never finished; make it first")
        for name in [*(name for name in names if name != last), last]:
            self._retry(partial(self._put, folder / name, name), f"{self.url}/{name} cannot be written")

    def _put(self, path: Path, name: str) -> None:
        self.system.put_file(str(path), f"{self.root}/{name}")
        self.system.invalidate_cache()
        found = int(self.system.info(f"{self.root}/{name}")["size"])
        if found != path.stat().st_size:
            raise OSError(f"{found} bytes arrived instead of {path.stat().st_size}")

    def _retry(self, action: Callable[[], T], what: str, wait_s: float = FIRST_WAIT_S) -> T:
        for attempt in range(ATTEMPTS):
            try:
                return action()
            except FileNotFoundError as error:
                raise SamaeError(f"{what}: there is no such file ({error})") from None
            except Exception as error:  # every store has exceptions of its own
                if attempt == ATTEMPTS - 1:
                    raise SamaeError(f"{what} after {ATTEMPTS} attempts ({type(error).__name__}: {error})") from None
                time.sleep(wait_s * 2**attempt)
        raise AssertionError("unreachable")
