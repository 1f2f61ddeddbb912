import pytest

from fireworks.errors import WrongType, WrongValue
from fireworks.record.filters import condition
from fireworks.record.index import Index

RUN = Index(
    name="digits",
    number=7,
    id="digits-0007",
    status="completed",
    tags=["best", "baseline"],
    parameters={"lr": 0.05, "optimizer": "sgd", "model": {"hidden": [64, 32]}, "none": None},
    metrics={"valid/accuracy": 0.97, "loss": None},
)


@pytest.mark.parametrize(
    "text",
    [
        "params.lr < 0.1",
        "0.01 < params.lr <= 0.05",
        "status == 'completed' and 'best' in tags",
        "not params.lr > 0.1",
        "params.optimizer in ('sgd', 'adam')",
        "params.model.hidden[0] == 64",
        "metrics['valid/accuracy'] > 0.9",
        "params.missing != 3",
        "params.none == None",
        "params.lr > -1 or params.nothing > 3",
        " number == 7 ",
    ],
)
def test_conditions_that_hold(text: str) -> None:
    assert condition(text)(RUN)


@pytest.mark.parametrize(
    "text",
    [
        "params.lr > 0.1",
        "params.missing < 3",
        "params.optimizer < 3",
        "params.lr.deeper == 1",
        "metrics.loss < 1",
        "'x' in tags",
        "params.model.hidden[9] == 1",
    ],
)
def test_conditions_that_do_not_hold(text: str) -> None:
    assert not condition(text)(RUN)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("params.lr <", "cannot be read"),
        ("", "cannot be read"),
        ("statsu == 'x'", "Did you mean 'status'"),
        ("__import__('os').system('x')", "not allowed"),
        ("params.lr.__class__()", "not allowed"),
        ("[x for x in tags]", "not allowed"),
        ("tags[0:1] == 3", "not allowed"),
        ("status is 3", "use == or !="),
        ("(" * 500 + ")" * 500, "cannot be read"),
        ("a\0b", "cannot be read"),
    ],
)
def test_conditions_that_are_refused(text: str, message: str) -> None:
    with pytest.raises(WrongValue, match=message):
        condition(text)


def test_a_condition_is_a_string() -> None:
    with pytest.raises(WrongType, match="must be a string"):
        condition(3)  # pyright: ignore[reportArgumentType]


def test_no_attribute_of_an_object_is_reached() -> None:
    assert not condition("status.__class__ != None")(RUN)
