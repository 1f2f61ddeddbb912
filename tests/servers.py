"""Real database servers for tests: private data folders, free ports, 127.0.0.1 only."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, NullPool, create_engine, make_url, text
from sqlalchemy.exc import OperationalError

_START_SECONDS = 60

pids: set[int] = set()
"""The servers that run: they outlive the test that started them."""


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server(ABC):
    """A database server that tests may stop, kill and start again."""

    driver: str
    """Dialect and driver, as SQLAlchemy names them."""
    query = ""
    """What follows the path in the URL."""
    user = "fireworks"
    quick_stop = signal.SIGTERM
    """The signal that ends it in order, whoever is connected."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fireworks-"))
        # Servers refuse to run as root: there they run as an account that owns nothing else.
        self.account = "nobody" if os.geteuid() == 0 else None
        if self.account is not None:
            shutil.chown(self.folder, self.account)
        self.port = free_port()
        self._log = self.folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.set_up()
        self.start()

    @property
    def url(self) -> str:
        """The URL of a database in which each test may make its tables."""
        return f"{self.driver}://{self.user}@127.0.0.1:{self.port}/fireworks{self.query}"

    @abstractmethod
    def set_up(self) -> None:
        """Fill the data folder."""

    @abstractmethod
    def command(self) -> list[str]:
        """The command line of the server in the foreground."""

    @abstractmethod
    def create_database(self) -> None:
        """Create the user and database of `url`, where they are not there yet."""

    def start(self) -> None:
        """Start the server and wait until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                user=self.account,
                start_new_session=True,  # an interrupted test run ends the server in order
            )
        pids.add(self._process.pid)
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                self.create_database()
                return
            except OperationalError as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.kill()
                    log_end = self._log.read_text(errors="replace")[-2000:]
                    raise RuntimeError(f"{error}; the server's log ends:\n{log_end}") from error
                time.sleep(0.05)

    def stop(self, how: signal.Signals | None = None) -> None:
        """End the server, by default in order."""
        assert self._process is not None
        self._process.send_signal(how or self.quick_stop)
        self._process.wait(_START_SECONDS)
        pids.discard(self._process.pid)

    def kill(self) -> None:
        """End the server at once, as a crash does."""
        self.stop(signal.SIGKILL)

    def restart(self) -> None:
        """Crash the server, and start it again on the same port."""
        self.kill()
        self.start()

    def remove(self) -> None:
        """Stop the server and delete its data."""
        self.stop()
        shutil.rmtree(self.folder)

    def run(self, *command: str) -> None:
        """Run one of the server's own programs."""
        subprocess.run(
            command,
            check=True,
            capture_output=True,
            cwd=self.folder,
            user=self.account,
            timeout=_START_SECONDS,
        )


@contextmanager
def administrator(url: URL) -> Iterator[Connection]:
    """A connection on which each statement is a transaction of its own."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        yield connection


def program(name: str, *folders: str) -> str:
    """The path of a server's program; a test fails where the set-up did not install it."""
    found = shutil.which(name, path=os.pathsep.join([os.environ["PATH"], "/usr/sbin", *folders]))
    assert found is not None, f"{name} is not installed: `make test` installs it"
    return found


class PostgreSQL(Server):
    """A PostgreSQL server; with durability off, which only a crash of the machine would need."""

    driver = "postgresql+psycopg"
    quick_stop = signal.SIGINT

    def set_up(self) -> None:
        self._bin = [str(each) for each in sorted(Path("/usr/lib/postgresql").glob("*/bin"))][-1:]
        initdb = program("initdb", *self._bin)
        data = str(self.folder / "data")
        self.run(initdb, "-D", data, "-U", self.user, "-A", "trust", "-E", "UTF8", "--no-sync")

    def command(self) -> list[str]:
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
            "fsync": "off",
        }
        settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        return [program("postgres", *self._bin), "-D", str(self.folder / "data"), *settings]

    def create_database(self) -> None:
        with administrator(make_url(self.url).set(database="postgres")) as connection:
            known = connection.scalars(text("SELECT datname FROM pg_database")).all()
            if "fireworks" not in known:
                connection.execute(text("CREATE DATABASE fireworks"))


class MariaDB(Server):
    """A MariaDB server."""

    driver = "mariadb+pymysql"
    query = "?ssl_disabled=true"  # loading the certificates would take 30 ms a connection

    def set_up(self) -> None:
        self.run(
            program("mariadb-install-db"),
            "--no-defaults",
            f"--datadir={self.folder / 'data'}",
            f"--tmpdir={self.folder}",  # a server that starts deletes the temporary files in it
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        )

    def command(self) -> list[str]:
        return [
            program("mariadbd"),
            "--no-defaults",
            f"--datadir={self.folder / 'data'}",
            f"--tmpdir={self.folder}",
            f"--socket={self.folder / 'socket'}",
            f"--pid-file={self.folder / 'pid'}",
            "--bind-address=127.0.0.1",
            f"--port={self.port}",
            "--innodb-flush-log-at-trx-commit=2",
            "--innodb-fast-shutdown=2",
        ]

    def create_database(self) -> None:
        user = f"'{self.user}'@'localhost'"
        with administrator(make_url(self.url).set(username="root", database="mysql")) as root:
            root.execute(text("CREATE DATABASE IF NOT EXISTS fireworks CHARACTER SET utf8mb4"))
            root.execute(text(f"CREATE USER IF NOT EXISTS {user}"))
            root.execute(text(f"GRANT ALL ON fireworks.* TO {user}"))
