"""A node of the data graph: what it reads from, who reads from it, and calls that travel up."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from fireworks.errors import WiringError
from fireworks.source import lookup, wiring

if TYPE_CHECKING:
    from fireworks.source.base import Source

After = TypeVar("After", bound="Node")


class Node:
    """The wiring of a source.

    Attributes:
        name: Tells this source from others of its class; None where none was given.
        needs_inputs: Whether a source of this class is useless without an input.
        closes_loops: Whether this class may read what lies downstream of it.
    """

    needs_inputs: ClassVar[bool] = False
    closes_loops: ClassVar[bool] = False

    name: str | None
    _inputs: dict[str, Source]
    _outputs: list[weakref.ref[Source]]
    _lock: threading.Lock  # for what a subclass works out once

    def __new__(
        cls, *args: object, inputs: object = None, name: str | None = None, **options: object
    ) -> Self:
        """Set everything up: a subclass whose ``__init__`` forgets ``super()`` works too."""
        self = super().__new__(cls)
        self._inputs = {}
        self._outputs = []
        self._lock = threading.Lock()
        self.name = name
        if inputs is not None:
            self._bind(inputs)
        return self

    # -- wiring -----------------------------------------------------------------------------------

    @property
    def inputs(self) -> Mapping[str, Source]:
        """The sources this one reads from, by name; a single one is called ``"input"``."""
        return MappingProxyType(self._inputs)

    @property
    def input(self) -> Source:
        """The one source this one reads from.

        Raises:
            WiringError: No input is bound, or there are several.
        """
        if len(self._inputs) == 1:
            (above,) = self._inputs.values()
            return above
        if self._inputs:
            names = ", ".join(map(repr, self._inputs))
            raise WiringError(f"{self!r} has several inputs: {names}; use inputs[name].")
        raise WiringError(
            f"{self!r} has no input yet. Pass inputs=source, or write: "
            f"source >> {type(self).__name__}(…)"
        )

    @property
    def outputs(self) -> list[Source]:
        """The sources that read from this one and are still in use, in the order of binding."""
        return [source for each in self._outputs if (source := each()) is not None]

    @property
    def is_shared(self) -> bool:
        """Whether more than one source may be reading from this one."""
        return len(self._outputs) > 1

    def __rshift__(self, after: After) -> After:
        if not isinstance(after, Node):
            return NotImplemented
        wiring.the_open_end(after)._bind(self)
        return after

    def __rrshift__(self, before: object) -> Self:
        wiring.the_open_end(self)._bind(before)
        return self

    def _bind(self, inputs: object) -> None:
        sources = wiring.named(inputs)
        wiring.check_bindable(self, sources)
        self._inputs = sources
        for each in sources.values():
            each._outputs = [ref for ref in each._outputs if ref() is not None]
        self._appear()
        wiring.changed()

    def _appear(self) -> None:
        """Show up among the outputs of every input, once each."""
        for each in {id(source): source for source in self._inputs.values()}.values():
            each._outputs.append(weakref.ref(self))  # pyright: ignore[reportArgumentType]

    # -- calling upstream -------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        if lookup.has_own(self, name):
            # A property of our own raised an AttributeError: that one is the news.
            return object.__getattribute__(self, name)
        return lookup.find(self, name)

    def upstream(self, name: str) -> Any:
        """Return the attribute that sources upstream have, this source's own left aside.

        Raises:
            AttributeError: None has it; the message shows the path searched.
        """
        return lookup.find(self, name)

    def __dir__(self) -> Iterable[str]:
        names = set(super().__dir__())
        for source in wiring.upstream(self):
            names.update(each for each in object.__dir__(source) if not each.startswith("_"))
        return sorted(names)

    # -- being an object --------------------------------------------------------------------------

    def __repr__(self) -> str:
        return f"{type(self).__name__}({'' if self.name is None else repr(self.name)})"

    def __getstate__(self) -> dict[str, Any]:
        left_out = ("_outputs", "_lock")
        return {key: value for key, value in self.__dict__.items() if key not in left_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._outputs = []
        self._lock = threading.Lock()
        self._appear()
