import enum
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fireworks.errors import WrongType, WrongValue
from fireworks.record.json_values import decode, encode

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None, exclude_categories=())),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def same(a: Any, b: Any) -> bool:
    """Equality with types, in which NaN equals NaN."""
    return repr(a) == repr(b)


@given(values)
def test_what_is_written_is_read(value: Any) -> None:
    assert same(decode(encode(value, what="The value")), value)


def test_scalars_of_other_libraries_become_numbers() -> None:
    class Kind(str, enum.Enum):  # noqa: UP042 - unlike StrEnum, its str() is not its value
        SGD = "sgd"

    for value, expected in [
        (np.float32(0.5), 0.5),
        (np.float64(0.1), 0.1),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.array(2.0), 2.0),
        (Kind.SGD, "sgd"),
        ((1, (2,)), [1, [2]]),
    ]:
        assert same(decode(encode(value, what="The value")), expected)


def test_nan_and_infinities_are_kept() -> None:
    read = decode(encode([math.nan, math.inf, -math.inf], what="The value"))
    assert math.isnan(read[0])
    assert read[1:] == [math.inf, -math.inf]


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes", 1j, np.zeros(3), len])
def test_other_values_are_refused(value: object) -> None:
    with pytest.raises(WrongType, match=r"^The parameter 'x' must be JSON"):
        encode({"a": [value]}, what="The parameter 'x'")


def test_a_key_must_be_a_string() -> None:
    with pytest.raises(WrongType, match="key that is not a string: 1"):
        encode({1: 2}, what="The value")


def test_a_value_that_holds_itself_is_refused() -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(WrongValue, match="holds itself"):
        encode(loop, what="The value")


def test_an_endless_integer_is_refused() -> None:
    with pytest.raises(WrongValue, match="cannot be written"):
        encode(10**5000, what="The value")
