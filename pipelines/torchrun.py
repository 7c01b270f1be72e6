"""torchrun as training starts it: python -m pipelines.torchrun OPTIONS -m MODULE ARGUMENTS.

PyTorch's own program ends with two screens of traceback when it is told to stop or when a rank fails, and they bury
what the ranks said. This one ends with a sentence; the reason is the ranks' own, above it in the log.
"""

import sys


def main(arguments: list[str] | None = None) -> int:
    """Run the ranks of this host; the exit code: 0, 1 when a rank failed, 128 + n when signal n ended them."""
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run

    try:
        run(parse_args(arguments))  # not main(), which prints the traceback of whatever ends it
    except SignalException as error:
        print(f"torchrun: stopped by {error.sigval.name}, which the ranks got as well", file=sys.stderr, flush=True)
        return 128 + int(error.sigval)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        print(f"torchrun: rank {rank} ended first, with code {failure.exitcode}", file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
