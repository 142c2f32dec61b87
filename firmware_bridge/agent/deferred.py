"""Keeps modules that are named and never used from being loaded; to be imported before all others.

paho-mqtt imports `urllib.request`, and with it the clients of HTTP and e-mail, to look for a proxy
when PySocks is installed; `dataclasses` and `shutil` of the standard library draw in parsers and
compressors in the same way. On a small board these are megabytes of an idle daemon. A stand-in
takes the place of such a module; the first use of it, if ever there is one, loads the real one.
(The lazy loader of the standard library does not do: before Python 3.14 a second import of the
module ends its laziness.) For `edgenas-device` alone. Leaves what is used to whoever uses
it.
"""

from __future__ import annotations

import importlib
import sys
import types

UNUSED = ("urllib.request", "ast", "tokenize", "bz2", "lzma")

_ASKED_BY_IMPORTS = frozenset({"__file__", "__path__", "__spec__", "__warningregistry__"})


class _StandIn(types.ModuleType):
    """Answers for the real module by loading it."""

    def __getattr__(self, attribute: str) -> object:
        if attribute in _ASKED_BY_IMPORTS:
            raise AttributeError(attribute)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        real = importlib.import_module(self.__name__)
        self.__dict__.update(real.__dict__)
        return getattr(real, attribute)


def defer(name: str) -> None:
    """Put a stand-in in the place of the standard library's module `name`, if it is not there."""
    if name in sys.modules:
        return
    parent, _, child = name.rpartition(".")
    stand_in = _StandIn(name)
    sys.modules[name] = stand_in
    if parent:
        setattr(importlib.import_module(parent), child, stand_in)


for unused in UNUSED:
    defer(unused)
