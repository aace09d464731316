"""What goes wrong, in one sentence: what was given, what is accepted, what to do. The command line prints it and exits."""

import difflib


class Refused(Exception):
    """Something given cannot be used; the message is the whole answer. Exit code 1."""


class Misused(Refused):
    """The call itself is off: an unknown name, an option that does not fit. Exit code 2."""


class Diverged(Refused):
    """A loss left the numbers: a smaller rate may help."""


def nearest(word, known, count=3):
    """The ending of a refusal: the names that look like the one given, or all of them when none does."""
    known = [str(k) for k in known]
    close = difflib.get_close_matches(str(word), known, n=count, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(known)}."
