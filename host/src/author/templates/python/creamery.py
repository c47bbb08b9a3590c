"""What every plugin in Python needs. You need not change this file."""

import builtins
import functools

from componentize_py_types import Err
from wit_world.imports import host


def _print(*values, sep=" ", end="", file=None, flush=False):
    """There is no terminal in the sandbox: what is printed goes to the user as a message."""
    host.log(host.Level.INFO, (" " if sep is None else sep).join(map(str, values)))


builtins.print = _print


def answering(function):
    """An exception becomes the plugin's error, with its place; without this it would end the call without a word."""

    @functools.wraps(function)
    def wrapped(*arguments):
        try:
            return function(*arguments)
        except Err:
            raise
        except Exception as e:
            place = e.__traceback__  # the module `traceback` would read files, which are not there
            while place.tb_next:
                place = place.tb_next
            code = place.tb_frame.f_code
            file = code.co_filename.rsplit("/", 1)[-1]
            raise Err(f"{type(e).__name__}: {e} (at {code.co_name}, line {place.tb_lineno} of {file})")

    return wrapped
