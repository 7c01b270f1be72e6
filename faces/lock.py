"""One writer a folder: the kernel's lock (flock) on a file in it, which whoever ends lets go, however it ends.

A file system that hosts share may keep the lock of a host that is gone. So a holder also touches its file every few
seconds, and one of another machine whose file nobody touched for the whole patience counts as dead. A holder that was
asleep for so long (a suspended machine) does not notice that it was replaced.
"""

import contextlib
import fcntl
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from faces.errors import SamaeError
from faces.files import machine_mark

#: The file that a training holds in its run folder, and the one that its launcher holds from before the training
#: starts until after it has ended.
WRITER_NAME, LAUNCHER_NAME = ".writer.lock", ".launcher.lock"
#: How long a start waits for the holder to end: a training that was killed or stopped may save for a minute before.
PATIENCE_S = 120.0
HEARTBEAT_S, POLL_S = 10.0, 0.25
#: Who replaces a dead holder looks once more after this time whether another one did so at the same moment.
SETTLE_S = 1.0

Say = Callable[[str], None]
#: What is said of a run folder that another training holds.
TRAINING_TAKEN = (
    "a training writes into {folder} already ({who}): wait until it ends, end it there, or give this one a run folder "
    "of its own"
)


class FolderTaken(SamaeError):
    """Another process writes into the folder."""


def to_standard_error(sentence: str) -> None:
    """One line for a reader, with the time."""
    print(f"{time.strftime('%H:%M:%S')}  {sentence}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def sole_writer(
    folder: Path, name: str = WRITER_NAME, patience_s: float | None = None, say: Say = to_standard_error,
    taken: str = TRAINING_TAKEN,
) -> Iterator[None]:  # fmt: skip
    """Hold a folder (made where it is missing) as its only writer inside the block; nothing else in it is touched.

    `patience_s`: how long to wait for a holder to end, PATIENCE_S when None. `say` hears one sentence when it waits,
    `taken` with {folder} and {who}.

    Raises:
        FolderTaken: the holder still lives. SamaeError: the folder cannot be written.
    """
    file = _take(folder / name, PATIENCE_S if patience_s is None else patience_s, say, taken)
    is_over = threading.Event()
    heart = threading.Thread(target=_beat, args=(file.fileno(), is_over), daemon=True)
    heart.start()
    try:
        yield
    finally:
        is_over.set()
        heart.join()
        file.close()


def _take(path: Path, patience_s: float, say: Say, sentence: str) -> IO[bytes]:
    """The lock's file, held."""
    end, first_look, is_heir = time.monotonic() + patience_s, None, False
    while True:
        file = _open(path)
        if _try(file, say):
            time.sleep(SETTLE_S if is_heir else 0.0)
            if _is_at(file, path):
                _sign(file)
                return file
            file.close()  # it was removed or replaced since it was opened
            continue
        look, holder = _look(file), _holder(file)
        file.close()
        taken = sentence.format(folder=path.parent, who=_who(holder))
        if first_look is None:
            first_look = look
            say(f"{taken} (waiting up to {patience_s:g} s for its end)")
        if time.monotonic() < end:
            time.sleep(POLL_S)
        elif holder.get("machine") != machine_mark() and look == first_look:
            say(f"{path.parent}: its writer on host {holder.get('host')} gave no sign for {patience_s:g} s and is gone")
            path.unlink(missing_ok=True)
            is_heir = True
        else:
            raise FolderTaken(taken)


def _open(path: Path) -> IO[bytes]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a+b", buffering=0)
    except OSError as error:
        raise SamaeError(f"{path.parent} cannot be written ({error.strerror}): choose another folder") from None


def _try(file: IO[bytes], say: Say) -> bool:
    """Lock it if nobody else does; on a file system without locks, go on as if it were locked."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        say(f"{file.name} cannot be locked ({error.strerror}): take care that one training at a time writes there")
    return True


def _is_at(file: IO[bytes], path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False


def _look(file: IO[bytes]) -> tuple[int, int]:
    """What changes when its holder touches the file, or when another one holds it."""
    found = os.fstat(file.fileno())
    return found.st_ino, found.st_mtime_ns


def _sign(file: IO[bytes]) -> None:
    """Write down who holds it; on a full disk the lock holds all the same, and only its sentence knows less."""
    holder = {"host": socket.gethostname(), "machine": machine_mark(), "process": os.getpid()}
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    with contextlib.suppress(OSError):
        file.truncate(0)
        file.write(json.dumps(holder | {"since": since}).encode())


def _holder(file: IO[bytes]) -> dict[str, Any]:
    """Who holds it, as far as it has said so yet."""
    file.seek(0)
    with contextlib.suppress(ValueError):
        return dict(json.loads(file.read()))
    return {}


def _who(holder: dict[str, Any]) -> str:
    return "another process" if not holder else "process {process} on host {host}, since {since}".format(**holder)


def _beat(handle: int, is_over: threading.Event) -> None:
    """Touch the file so that hosts which share it see that its holder lives."""
    while not is_over.wait(HEARTBEAT_S):
        with contextlib.suppress(OSError):
            os.utime(handle)
