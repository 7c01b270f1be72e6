"""The one exception a user may meet: a sentence that says what is wrong and names the mend."""


class SamaeError(Exception):
    """Something the user can mend (a wrong setting, a missing file, a damaged input).

    The command line prints the sentence without a traceback and exits with code 2. Write it so that it stands alone:
    what was found, where, and what to do about it.
    """
