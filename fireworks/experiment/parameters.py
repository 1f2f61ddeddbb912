"""The parameters of a run or trial, as a mapping whose changes are written at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any, final

from fireworks.errors import WrongType, WrongValue, suggest
from fireworks.record.json_values import check_unicode, decode, encode
from fireworks.record.schema import NO_TRIAL
from fireworks.record.store import Connection


@final
class Parameters(MutableMapping[str, Any]):
    """Parameters by name: JSON values. A change is committed before it returns.

    Args:
        values: The parameters.
        write: Writes all of them, or raises.
    """

    def __init__(self, values: dict[str, Any], write: Callable[[Mapping[str, Any]], None]) -> None:
        self._values = values
        self._write = write

    def __getitem__(self, name: str) -> Any:
        try:
            return self._values[name]
        except KeyError:
            raise _NoParameter(
                f"There is no parameter {name!r}.{suggest(name, self._values)}"
            ) from None

    def __setitem__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def __delitem__(self, name: str) -> None:
        self[name]
        self._replace({key: value for key, value in self._values.items() if key != name})

    def update(self, *mappings: Any, **more: Any) -> None:
        """Set several parameters in one transaction."""
        self._replace(dict(self._values) | dict(*mappings, **more))

    def _replace(self, values: dict[str, Any]) -> None:
        self._write(values)
        self._values = values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(self._values)


class _NoParameter(WrongValue, KeyError):
    """A parameter that is not there: a KeyError, as in every mapping."""


def encoded(trial: int, parameters: Mapping[str, Any]) -> list[tuple[int, str, str]]:
    """The rows of the table of parameters.

    Raises:
        WrongType, WrongValue: A name or value that cannot be recorded.
    """
    rows: list[tuple[int, str, str]] = []
    for name, value in parameters.items():
        if not isinstance(name, str):
            raise WrongType(f"A parameter's name must be a string; got {name!r}.")
        check_unicode(name, what="A parameter's name")
        rows.append((trial, name, encode(value, what=f"The parameter {name!r}")))
    return rows


def write_parameters(connection: Connection, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Replace the run's own parameters and return them as they will be read."""
    rows = encoded(NO_TRIAL, parameters)
    connection.execute("DELETE FROM params WHERE trial = ?", (NO_TRIAL,))
    connection.executemany("INSERT INTO params VALUES (?,?,?)", rows)
    return {name: decode(text) for _, name, text in rows}
