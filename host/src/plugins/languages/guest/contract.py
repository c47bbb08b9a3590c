"""Holds the functions of a plugin to the contract: a value of another type than the contract's ends a call in a trap that
says nothing. What the contract says is read from the types of the generated bindings."""

import builtins
import dataclasses
import enum
import inspect
import types
import typing

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import host


def _print(*values, sep=" ", end="", file=None, flush=False):
    """There is no terminal in the sandbox: what is printed goes to the user as a message."""
    text = (" " if sep is None else sep).join(map(str, values))
    host.log(host.Level.INFO, text.encode(errors="replace").decode())


# Whole numbers of the contract have 32 bits, but for these.
_LONG = {("Measure", "count")}


class _Wrong(Exception):
    """What is wrong: the place within the value, what was expected, what was found."""

    def at(self, place):
        where, expected, found = self.args
        return _Wrong(place + where, expected, found)


def _found(value):
    if isinstance(value, str):
        if not _is_text(value):
            return "a text with half of a surrogate pair, which is no Unicode"
        return repr(value if len(value) <= 40 else value[:40] + "…")
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, int) and not -(2**64) < value < 2**64:
        return "a number that is too large"
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value)
    return f"of the type {type(value).__name__}"


def _is_text(value):
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_number(value):
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        float(value)
    except OverflowError:
        return False
    return True


def _is(right, expected):
    def shape(value):
        if not right(value):
            raise _Wrong("", expected, _found(value))

    return shape


def _whole(bits):
    most = 2**bits - 1
    return _is(
        lambda v: isinstance(v, int) and not isinstance(v, bool) and 0 <= v <= most, f"a whole number from 0 to {most}"
    )


_PLAIN = {
    str: _is(_is_text, "a text"),
    int: _whole(32),
    float: _is(_is_number, "a number"),
    type(None): lambda value: None,
}


def _list(item):
    def shape(value):
        if not isinstance(value, list):
            raise _Wrong("", "a list", _found(value))
        for i, v in enumerate(value):
            try:
                item(v)
            except _Wrong as wrong:
                raise wrong.at(f"[{i}]")

    return shape


def _record(kind):
    hints = typing.get_type_hints(kind)
    fields = [
        (f.name, _whole(64) if (kind.__name__, f.name) in _LONG else _shape(hints[f.name]))
        for f in dataclasses.fields(kind)
    ]

    def shape(value):
        if not isinstance(value, kind):
            raise _Wrong("", kind.__name__, _found(value))
        for name, field in fields:
            try:
                field(getattr(value, name))
            except _Wrong as wrong:
                raise wrong.at(f".{name}")

    return shape


def _union(cases):
    shapes = {case: _shape(case) for case in cases}
    names = " or ".join("None" if case is type(None) else case.__name__ for case in cases)

    def shape(value):
        inner = shapes.get(type(value))
        if inner is None:
            raise _Wrong("", names, _found(value))
        inner(value)

    return shape


def _shape(hint):
    """A function that raises `_Wrong` for values that are not of this type."""
    if hint in _PLAIN:
        return _PLAIN[hint]
    if typing.get_origin(hint) is list:
        return _list(_shape(typing.get_args(hint)[0]))
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return _union(typing.get_args(hint))
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _is(lambda v: isinstance(v, hint), hint.__name__)
    return _record(hint)


def _said(e, folder):
    """An exception as the plugin's error, with its last place in the plugin's own files; without this it would end the call
    without a word."""
    try:
        message = str(e)
    except BaseException:
        message = "an exception that cannot be shown"
    place, frame = "", e.__traceback__  # the module `traceback` would read files, which are not there
    while frame:
        code = frame.tb_frame.f_code
        if code.co_filename.startswith(folder) and not code.co_filename.endswith("creamery_contract.py"):
            file = code.co_filename.rsplit("/", 1)[-1]
            place = f" (at {code.co_name}, line {frame.tb_lineno} of {file})"
        frame = frame.tb_next
    return _error(f"{type(e).__name__}: {message}{place}")


def _error(text):
    return Err(text.encode(errors="replace").decode())


def _held_function(name, function, shape, folder):
    def held(self, *arguments):
        # Not before: while the plugin is built there is no host that could be told.
        builtins.print = _print
        try:
            value = function.__get__(self, type(self))(*arguments)
            if inspect.iscoroutine(value):
                value.close()  # else Python complains of it in a way that ends the call
                raise Err(f"{name} of plugin.py is async: no function of the contract is")
            shape(value)
        except Err as e:
            raise (_error(e.value) if isinstance(e.value, str) else e)
        except _Wrong as wrong:
            where, expected, found = wrong.args
            raise _error(
                f"{name} of plugin.py gives another shape than the contract's: "
                f"its result{where} is {found}, expected {expected}"
            )
        except BaseException as e:  # sys.exit, too
            raise _said(e, folder)
        return value

    return held


def held(plugin, name):
    """The plugin's class of this name, held to the contract. Fails while the plugin is built if there is no such class, or
    one that lacks a function."""
    contract, theirs = getattr(exports, name), getattr(plugin, name, None)
    wanted = [f for f in vars(contract) if not f.startswith("_")]
    if not isinstance(theirs, type):
        classes = [n for n, v in vars(plugin).items() if isinstance(v, type) and v.__module__ == plugin.__name__]
        raise TypeError(
            f"plugin.py has no class {name} (only {', '.join(classes) or 'none'}): expected one with {', '.join(wanted)}"
        )
    own = {f: inspect.getattr_static(theirs, f, None) for f in wanted}
    lacking = [f for f in wanted if own[f] is None or own[f] is vars(contract)[f]]
    if lacking:
        raise TypeError(f"the class {name} of plugin.py has no function {', '.join(lacking)}")
    hints = {f: typing.get_type_hints(vars(contract)[f]) for f in wanted}
    folder = plugin.__file__.rsplit("/", 1)[0]
    functions = {f: _held_function(f, own[f], _shape(hints[f]["return"]), folder) for f in wanted}
    return type(name, (theirs,), functions)
