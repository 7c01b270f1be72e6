"""One module a command of `samae`. They are imported when the command runs, so that `samae --help` stays quick."""
