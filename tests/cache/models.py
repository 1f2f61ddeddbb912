"""What each policy should do, row by row in plain Python."""

from __future__ import annotations

HIGHEST, PERIOD = 15, 10  # of the aged counters


class Model:
    """A cache of ids with a limit of rows; `order` gives victims first to last."""

    def __init__(self, max_rows: int) -> None:
        self.max_rows = max_rows
        self.ids: list[int] = []
        self.pins: dict[int, int] = {}

    def insert(self, ids: list[int]) -> None:
        overwritten = [each for each in ids if each in self.ids]
        fresh = [each for each in ids if each not in self.ids]
        needed = len(self.ids) + len(fresh) - self.max_rows
        if needed > 0:
            leaving = [each for each in self.order() if self.may_leave(each, ids)]
            leaving = leaving[:needed]
            fresh, leaving = self.admit(fresh, leaving)
            for each in leaving:
                self.ids.remove(each)
                self.left(each)
        self.ids += fresh
        self.came(fresh)
        self.used(overwritten)

    def may_leave(self, each: int, ids: list[int]) -> bool:
        return each not in self.pins and each not in ids

    def admit(self, fresh: list[int], leaving: list[int]) -> tuple[list[int], list[int]]:
        """Which of the new rows stay, and which rows leave for them."""
        room = self.max_rows - len(self.ids) + len(leaving)
        return self.preferred(fresh, room), leaving

    def preferred(self, fresh: list[int], room: int) -> list[int]:
        return fresh[len(fresh) - room :] if room < len(fresh) else fresh

    def delete(self, ids: list[int]) -> None:
        for each in ids:
            self.ids.remove(each)
            self.pins.pop(each, None)
            self.left(each)

    def order(self) -> list[int]:
        raise NotImplementedError

    def came(self, ids: list[int]) -> None: ...

    def used(self, ids: list[int]) -> None: ...

    def left(self, each: int) -> None: ...

    def announced(self, ids: list[int]) -> None: ...


class LRU(Model):
    def __init__(self, max_rows: int) -> None:
        super().__init__(max_rows)
        self.recent: list[int] = []

    def order(self) -> list[int]:
        return self.recent

    def came(self, ids: list[int]) -> None:
        self.recent += ids

    def used(self, ids: list[int]) -> None:
        for each in ids:
            self.recent.remove(each)
            self.recent.append(each)

    def left(self, each: int) -> None:
        self.recent.remove(each)


class FIFO(LRU):
    def used(self, ids: list[int]) -> None: ...


class Keep(Model):
    def order(self) -> list[int]:
        return []

    def preferred(self, fresh: list[int], room: int) -> list[int]:
        return fresh[:room]


class LFU(Model):
    def __init__(self, max_rows: int) -> None:
        super().__init__(max_rows)
        self.counts: dict[int, int] = {}
        self.queues: list[list[int]] = [[] for _ in range(HIGHEST + 1)]
        self.uses = 0

    def order(self) -> list[int]:
        return [each for queue in self.queues for each in queue]

    def place(self, each: int, count: int) -> None:
        if each in self.counts:
            self.queues[self.counts[each]].remove(each)
        self.counts[each] = count
        self.queues[count].append(each)

    def came(self, ids: list[int]) -> None:
        for each in ids:
            self.place(each, 1)
        self.age(len(ids))

    def used(self, ids: list[int]) -> None:
        # Of rows used together and equally often, the one in the lower slot counts as used first;
        # the tests read one id at a time, where it does not matter.
        for each in dict.fromkeys(ids):
            self.place(each, min(HIGHEST, self.counts[each] + ids.count(each)))
        self.age(len(ids))

    def left(self, each: int) -> None:
        self.queues[self.counts.pop(each)].remove(each)

    def age(self, uses: int) -> None:
        self.uses += uses
        if self.uses >= PERIOD * self.max_rows:
            self.uses = 0
            for count in range(1, HIGHEST + 1):
                for each in list(self.queues[count]):
                    self.place(each, count // 2)


class Forecast(LRU):
    """Belady's rule over the announced reads."""

    def __init__(self, max_rows: int) -> None:
        super().__init__(max_rows)
        self.future: list[int] = []

    def need(self, each: int) -> float:
        return self.future.index(each) if each in self.future else float("inf")

    def order(self) -> list[int]:
        return sorted(self.recent, key=self.need, reverse=True)

    def admit(self, fresh: list[int], leaving: list[int]) -> tuple[list[int], list[int]]:
        free = self.max_rows - len(self.ids)
        wanted = sorted(fresh, key=self.need)
        stay = wanted[:free]
        gone: list[int] = []
        for each, victim in zip(wanted[free:], leaving, strict=False):
            if not (self.need(each) < self.need(victim) or self.need(victim) == float("inf")):
                break
            stay.append(each)
            gone.append(victim)
        return [each for each in fresh if each in stay], gone

    def used(self, ids: list[int]) -> None:
        super().used(ids)
        for each in ids:
            if each in self.future:
                self.future.remove(each)

    def announced(self, ids: list[int]) -> None:
        self.future += ids


MODELS = {"lru": LRU, "fifo": FIFO, "keep": Keep, "lfu": LFU, "forecast": Forecast}
