"""Times as people write them on a command line: 90, 90s, 3m, 1h."""

import math

from sim.options import OptionError

UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def duration_s(flag: str, text: str) -> float:
    """Return the seconds in a text such as ``90``, ``90s``, ``3m`` or ``1.5h``.

    Raises
    ------
    OptionError
        In one line, for anything else, and for a time that is not above 0.
    """
    word = text.strip().lower()
    number, unit_s = word, 1.0
    for unit, each_s in UNITS_S.items():
        if word.endswith(unit):
            number, unit_s = word[: -len(unit)], each_s
            break
    try:
        seconds = float(number) * unit_s
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise OptionError(f"{flag} {text!r}: expected a time such as 90s, 3m or 1h")
    return seconds
