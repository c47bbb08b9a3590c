"""What every plugin in Python needs. You need not change this file."""

import functools
import traceback

from componentize_py_types import Err


def answering(function):
    """An exception becomes the plugin's error, with its place; without this it would end the call without a word."""

    @functools.wraps(function)
    def wrapped(*arguments):
        try:
            return function(*arguments)
        except Err:
            raise
        except Exception as e:
            place = traceback.extract_tb(e.__traceback__)[-1]
            raise Err(f"{type(e).__name__}: {e} (at {place.name}, line {place.lineno})")

    return wrapped
