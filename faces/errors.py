"""The one exception a user may meet: a sentence that says what is wrong and names the mend."""

from collections.abc import Iterator


class SamaeError(Exception):
    """Something the user can mend (a wrong setting, a missing file, a damaged input).

    The command line prints the sentence without a traceback and exits with code 2. Write it so that it stands alone:
    what was found, where, and what to do about it.
    """


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and all that it came from, nearest first, each once: some errors are raised from themselves."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
