import math

from fireworks.record.ranking import lower_is_better, rank


def test_losses_and_errors_are_better_low() -> None:
    for name in ("loss", "train/loss", "valid/mean_error", "MSE", "nll", "loss_1", "test-mae"):
        assert lower_is_better(name)
    for name in ("accuracy", "valid/f1", "closs", "glossary", "merry", "reward"):
        assert not lower_is_better(name)


def test_the_objective_decides_for_the_metrics_it_names() -> None:
    assert lower_is_better("valid/accuracy", [["accuracy", "minimize"]])
    assert not lower_is_better("loss", [["loss", "maximize"]])
    assert lower_is_better("loss", [["accuracy", "maximize"]])


def test_nan_and_missing_results_come_last() -> None:
    results = [{"a": math.nan}, {"a": 0.5}, {}, {"a": 0.9}, None, {"a": "text"}]
    ordered = sorted(results, key=lambda each: rank(each, [["a", "maximize"]]))
    assert ordered[:2] == [{"a": 0.9}, {"a": 0.5}]
    assert sorted(results[1:4:2], key=lambda each: rank(each, [["a", "minimize"]])) == [
        {"a": 0.5},
        {"a": 0.9},
    ]


def test_a_second_objective_decides_between_equals() -> None:
    objective = [["a", "maximize"], ["b", "minimize"]]
    results = [{"a": 1, "b": 2}, {"a": 1, "b": 1}, {"a": 0, "b": 0}]
    assert sorted(results, key=lambda each: rank(each, objective))[0] == {"a": 1, "b": 1}
