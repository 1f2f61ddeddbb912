"""Message against the code one would write by hand, and against its peers in their best form."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import torch
from tensordict import TensorDict
from timing import compare, describe_machine, options

from fireworks import Message, concat

ROWS, BATCH = 100_000, 256


def main() -> None:
    short = options(__doc__ or "").short
    rounds = 5 if short else 25
    torch.set_num_threads(1)  # more only wait for each other on batches of this size
    packages = ("torch", "numpy", "pandas", "pyarrow", "polars", "tensordict")
    print(f"## Message\n\n{describe_machine(*packages)},")
    print(f"one torch thread, {rounds} rounds.")

    generator = np.random.default_rng(0)
    x = torch.randn(ROWS, 64)
    i = torch.arange(ROWS)
    f = generator.normal(size=ROWS)
    s = pa.array([f"name {k}" for k in range(ROWS)], pa.large_string())
    message = Message({"x": x, "i": i, "f": f, "s": s})
    parts = {"x": x, "i": i, "f": torch.from_numpy(f)}
    frame = pd.DataFrame({"f": f, "s": s.to_pandas()})
    table = pl.DataFrame({"i": i.numpy(), "f": f, "s": pl.from_arrow(s)})
    tensors = TensorDict(parts, batch_size=[ROWS])
    batches = [generator.integers(0, ROWS, BATCH) for _ in range(64)]
    string = pd.StringDtype("pyarrow", na_value=np.nan)
    strings = pd.arrays.ArrowStringArray

    def by_hand_series(rows: np.ndarray) -> object:
        index = torch.from_numpy(rows)
        taken = strings(s.take(pa.array(rows)), dtype=string)
        return (
            x.index_select(0, index),
            i.index_select(0, index),
            pd.Series(f.take(rows), copy=False),
            pd.Series(taken, copy=False),
        )

    def message_series(rows: np.ndarray) -> object:
        batch = message[rows]
        return batch["x"], batch["i"], batch["f"], batch["s"]

    def tensordict_rows(rows: np.ndarray) -> object:
        batch = tensors[torch.from_numpy(rows)]
        return batch["x"], batch["i"], batch["f"]

    def pandas_rows(rows: np.ndarray) -> object:
        index = torch.from_numpy(rows)
        part = frame.iloc[rows]
        return x[index], i[index], part["f"], part["s"]

    compare(
        "Gather 256 of 100,000 rows of (f32[64], i64, f64, string), vectors as Series",
        {
            "by hand": by_hand_series,
            "Message": message_series,
            "tensordict, without the strings": tensordict_rows,
            "t[i] and iloc": pandas_rows,
        },
        batches,
        rounds=rounds,
    )

    def by_hand_arrays(rows: np.ndarray) -> object:
        index = torch.from_numpy(rows)
        return (
            x.index_select(0, index),
            i.index_select(0, index),
            f.take(rows),
            s.take(pa.array(rows)),
        )

    def message_arrays(rows: np.ndarray) -> object:
        array = message[rows].array
        return array("x"), array("i"), array("f"), array("s")

    def polars_rows(rows: np.ndarray) -> object:
        part = table[rows]
        return (
            x.index_select(0, torch.from_numpy(rows)),
            part["i"].to_numpy(),
            part["f"].to_numpy(),
            part["s"],
        )

    compare(
        "The same as arrays, no Series",
        {"by hand": by_hand_arrays, "Message": message_arrays, "polars and torch": polars_rows},
        batches,
        rounds=rounds,
    )
    sliceable = Message(parts)
    compare(
        "Gather 256 of 100,000 rows of three tensors",
        {
            "dict of index_select": lambda rows: {
                name: each.index_select(0, torch.from_numpy(rows)) for name, each in parts.items()
            },
            "Message": lambda rows: sliceable[rows],
            "tensordict": lambda rows: tensors[torch.from_numpy(rows)],
        },
        batches,
        rounds=rounds,
    )
    compare(
        "One column of 256 rows",
        {
            "index_select": lambda rows: x.index_select(0, torch.from_numpy(rows)),
            "Message.take": lambda rows: message.take(rows, columns=["x"]),
        },
        batches,
        rounds=rounds,
    )

    starts = [slice(k, k + BATCH) for k in range(0, 64 * BATCH, BATCH)]
    compare(
        "A slice of 256 rows of three tensors",
        {
            "dict of slices": lambda rows: {name: each[rows] for name, each in parts.items()},
            "Message": lambda rows: sliceable[rows],
            "tensordict": lambda rows: tensors[rows],
            "pandas, two columns": lambda rows: frame.iloc[rows],
        },
        starts,
        rounds=rounds,
    )
    mixed = {**parts, "f": f, "s": s}
    compare(
        "A slice of 256 rows of (f32[64], i64, f64, string)",
        {
            "dict of slices": lambda rows: {
                name: each.slice(rows.start, BATCH) if name == "s" else each[rows]
                for name, each in mixed.items()
            },
            "Message": lambda rows: message[rows],
        },
        starts,
        rounds=rounds,
    )

    messages = [message[rows] for rows in starts]
    dicts = [{name: each.array(name) for name in each} for each in messages]
    tensordicts = [tensors[rows] for rows in starts]
    frames, tables = [frame.iloc[rows] for rows in starts], [table[rows] for rows in starts]

    def by_hand_concat(_: object) -> object:
        return {
            "x": torch.cat([each["x"] for each in dicts]),
            "i": torch.cat([each["i"] for each in dicts]),
            "f": np.concatenate([each["f"] for each in dicts]),
            "s": pa.concat_arrays([each["s"] for each in dicts]),
        }

    compare(
        "Concat 64 times 256 rows of (f32[64], i64, f64, string)",
        {
            "by hand": by_hand_concat,
            "concat": lambda _: concat(messages),
            "tensordict, without the strings": lambda _: torch.cat(tensordicts),
            "pandas (f64, string)": lambda _: pd.concat(frames, ignore_index=True),
            "polars (i64, f64, string)": lambda _: pl.concat(tables, rechunk=True),
        },
        rounds=rounds,
    )
    compare(
        "Construct from a dict of two tensors, an array and Arrow strings",
        {
            "the dict": lambda _: {"x": x, "i": i, "f": f, "s": s},
            "Message": lambda _: Message({"x": x, "i": i, "f": f, "s": s}),
            "Message of four tensors": lambda _: Message({"x": x, "i": i, "a": x, "b": i}),
            "tensordict of three tensors": lambda _: TensorDict(parts, batch_size=[ROWS]),
        },
        rounds=rounds,
    )


if __name__ == "__main__":
    main()
