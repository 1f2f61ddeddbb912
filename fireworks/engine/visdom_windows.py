"""Curves on a Visdom server: one window for each series of numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, final
from urllib.parse import urlsplit

import numpy as np

from fireworks.errors import MissingDependency, WrongValue
from fireworks.optional import require

_TIMEOUT = 10.0  # seconds for each request

Points = Sequence[tuple[int, float]]


@final
class VisdomWindows:
    """The windows of one environment of a Visdom server.

    It is for one thread at a time. A call that fails raises ``OSError``; the next one connects
    again.

    Args:
        server: Where the server is: ``"http://127.0.0.1:8097"``.
        environment: Which environment the windows are in.

    Raises:
        MissingDependency: Visdom is not installed.
        WrongValue: ``server`` is no such address.
    """

    def __init__(self, server: str, environment: str) -> None:
        try:
            visdom: Any = require("visdom", extra="visdom", purpose="VisdomLogger")
        except MissingDependency as error:
            error.add_note(
                "Visdom builds with an old setuptools only: pip install 'setuptools<81' && "
                "pip install --no-build-isolation visdom 'tornado<6.6'"
            )
            raise
        try:
            address = urlsplit(server)
            port = address.port
        except ValueError:
            raise WrongValue(f"{server!r} is no address of a server.") from None
        if address.scheme not in ("http", "https") or not address.hostname:
            raise WrongValue(
                f"A Visdom server has an address such as 'http://127.0.0.1:8097', not {server!r}."
            )
        kind = HTTPSConnection if address.scheme == "https" else HTTPConnection
        self._connection = kind(address.hostname, port, timeout=_TIMEOUT)
        self._base = address.path.rstrip("/")
        # It only words the messages: its own requests have no timeout.
        self._visdom = visdom.Visdom(env=environment, send=False, use_incoming_socket=False)

    def draw(self, name: str, points: Points) -> None:
        """Make the window of a series anew, with these points.

        Raises:
            OSError: The server does not answer, or refuses.
        """
        self._line(name, points, append=False)

    def append(self, name: str, points: Points) -> None:
        """Add points to the window of a series.

        Raises:
            OSError: The server does not answer, or refuses.
        """
        self._line(name, points, append=True)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _line(self, name: str, points: Points, *, append: bool) -> None:
        # A browser cannot read JSON with an infinity in it; a NaN becomes a gap.
        values = [value if math.isfinite(value) else math.nan for _, value in points]
        message, endpoint = self._visdom.line(
            X=np.array([step for step, _ in points]),
            Y=np.array(values),
            win=name,
            update="append" if append else None,
            opts={"title": name, "xlabel": "iteration"},
        )
        try:
            self._connection.request("POST", f"{self._base}/{endpoint}", json.dumps(message))
            response = self._connection.getresponse()
            response.read()
            if response.status != 200:
                raise OSError(f"it answers {response.status} {response.reason}")
        except (OSError, HTTPException) as error:
            self._connection.close()
            raise OSError(str(error) or type(error).__name__) from error
