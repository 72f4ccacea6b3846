"""What an application does to one store meanwhile: it reads a row of the table and writes another, in one transaction.

It writes a column that no contract names, so that the stores go on agreeing. Transactions come at random moments, and
how long each took is kept.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Iterator

from demo_parts.pipeline import wall_clock
from demo_parts.sides import Side

from sweep_drill.damages import APPLICATION_EVERY, key_of


class Application:
    """One thread on one connection."""

    def __init__(self, side: Side, table: str, rows: int, *, per_second: float, seed: int) -> None:
        self._side = side
        self._table = table
        self._rows = rows
        self._per_second = per_second
        self._chance = random.Random(seed)  # noqa: S311 - a load's dice
        self._stop = threading.Event()
        self._turn = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=f"application on {side.kind.value}", daemon=True)
        self.took: list[tuple[float, float]] = []
        """The wall-clock second at which a transaction began, and the milliseconds that it took."""
        self.problem = ""

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for the last transaction."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=30)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Write nothing within the block."""
        with self._turn:
            yield

    def within(self, begun_s: float, ended_s: float) -> list[float]:
        """Return the milliseconds of each transaction that began between two wall-clock seconds."""
        return [took_ms for at_s, took_ms in self.took if begun_s <= at_s < ended_s]

    def _run(self) -> None:
        read = f"SELECT name, price, quantity FROM {self._table} WHERE id = %s"  # noqa: S608 - a name of the drill
        write = f"UPDATE {self._table} SET visits = visits + 1 WHERE id = %s"  # noqa: S608
        try:
            with self._side.connection(autocommit=False) as connection, connection.cursor() as cursor:
                while not self._stop.wait(self._chance.expovariate(self._per_second)):
                    with self._turn:
                        at_s, begun_s = wall_clock(), time.perf_counter()
                        cursor.execute(read, (key_of(self._chance.randrange(1, self._rows + 1)),))
                        cursor.fetchall()
                        cursor.execute(write, (self._own_row(),))
                        connection.commit()
                        self.took.append((at_s, (time.perf_counter() - begun_s) * 1_000))
        except Exception as error:  # noqa: BLE001 - told at the end, by the thread that judges
            self.problem = f"{type(error).__name__}: {error}"

    def _own_row(self) -> int:
        turn = self._chance.randrange(self._rows // APPLICATION_EVERY)
        return key_of(turn * APPLICATION_EVERY + APPLICATION_EVERY // 2)
