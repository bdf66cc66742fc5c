"""Answers that Beam works out over and over, worked out once.

On small data a node spends most of its time not on rows but on Beam's own questions:
which arguments a function takes, what the flags say, which states a DoFn keeps. The
answers don't change within a process, so they are remembered. docs/speed.md says what
that saves; the results are the same.

Each shortcut stands before a function of Beam 2.77 and asks it whenever its answer
could be another one.
"""

import argparse
import copy
import functools
import types
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.worker.statesampler import StateSampler
from apache_beam.transforms import core, userstate

# How often Beam looks which step it is in, for a counter that nobody here reads. At a
# bundle's end it waits for the next look: 0.5 s in a node with Beam's 200 ms.
_SAMPLING_PERIOD_MS = 5

Inspect = Callable[[Any], tuple[list[str], list[Any]]]
Specs = Callable[[Any], tuple[set[Any], set[Any]]]


@functools.cache
def install() -> None:
    """Puts the shortcuts in place in this process; a second time changes nothing."""
    core.get_function_args_defaults = by_function(core.get_function_args_defaults)
    userstate.get_dofn_specs = by_class(userstate.get_dofn_specs)
    PipelineOptions.__init__ = parsed_once(PipelineOptions.__init__)
    StateSampler.__init__.__defaults__ = (_SAMPLING_PERIOD_MS,)


def by_function(inspect: Inspect) -> Inspect:
    """Remembers the arguments and defaults of plain functions and their methods."""
    known: weakref.WeakKeyDictionary[Any, dict[bool, Any]]
    known = weakref.WeakKeyDictionary()

    def quick(function: Any) -> tuple[list[str], list[Any]]:
        plain = getattr(function, "__func__", function)
        if not isinstance(plain, types.FunctionType):
            return inspect(function)
        # A bound method doesn't count the argument that it is bound to.
        bound = plain is not function
        answers = known.setdefault(plain, {})
        if bound not in answers:
            answers[bound] = inspect(function)
        names, defaults = answers[bound]
        return list(names), list(defaults)

    return quick


def by_class(specs: Specs) -> Specs:
    """Remembers the state and timer specs of DoFns, which their classes declare."""
    known: weakref.WeakKeyDictionary[type, Any] = weakref.WeakKeyDictionary()

    def quick(dofn: Any) -> tuple[set[Any], set[Any]]:
        # A method that one instance was given may declare more than its class does.
        if any(isinstance(value, types.MethodType) for value in vars(dofn).values()):
            return specs(dofn)
        if type(dofn) not in known:
            known[type(dofn)] = specs(dofn)
        states, timers = known[type(dofn)]
        return set(states), set(timers)

    return quick


def parsed_once(parse: Callable[..., None]) -> Callable[..., None]:
    """Remembers what flags mean to a class of options.

    Beam asks for a view of its options at every step of a pipeline, and each view
    builds a parser of command lines and reads the same flags with it.
    """
    known: dict[tuple[type, tuple[str, ...]], Mapping[str, Any]] = {}

    def quick(self: Any, flags: Any = None, **options: Any) -> None:
        # Without flags they come from sys.argv; one string is a mistake to be told.
        if flags is None or isinstance(flags, str):
            parse(self, flags, **options)
            return
        key = (type(self), tuple(flags))
        if key not in known:
            parse(self, flags, **options)
            known[key] = copy.deepcopy(vars(self._visible_options))
            return
        self._flags = flags
        self._visible_options = argparse.Namespace(**copy.deepcopy(known[key]))
        self._all_options = {**vars(self._visible_options), **options}

    return quick
