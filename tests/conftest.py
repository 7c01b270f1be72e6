"""Settings of every test: nothing phones home, nothing is written into the user's home folder."""

import os
import signal
import sys

import pytest

#: A developer's own settings change no test; done before anything that reads them is imported.
for _name in [name for name in os.environ if name.startswith(("SAMAE_", "DAGSTER_HOME"))]:
    del os.environ[_name]
os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.setdefault("DO_NOT_TRACK", "1")
# A shell that starts the tests in its background hands on SIGINT ignored; those that interrupt would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_status = 0


def pytest_sessionfinish(exitstatus: int) -> None:
    """Remember how the tests went, for `pytest_unconfigure`."""
    global _status
    _status = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """Where a test started gloo in this process, leave as a rank does (training.engine.leave says why)."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_initialized():
        from training.engine import leave

        leave(_status)
