"""Several objectives, constraints, what is known beforehand, and what comes out of a sweep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution, IntDistribution

from fireworks.errors import (
    ExperimentNotFound,
    ParameterNotFound,
    SweepFailed,
    WrongType,
    WrongValue,
)
from fireworks.experiment import Experiment, load_experiment
from fireworks.factory import (
    EndSearch,
    Evaluation,
    Factory,
    ForkServer,
    Grid,
    Proposer,
    Random,
    Stopping,
    Training,
    Trial,
    TrialRecord,
)
from fireworks.factory.goal import Goal, as_goal
from fireworks.factory.proposals import Proposals
from fireworks.factory.proposers import as_proposer
from fireworks.factory.records import pareto_front

Make = Callable[..., Factory]
SPACE = {"x": FloatDistribution(0, 1), "n": IntDistribution(1, 9)}


def train(trial: Trial) -> dict[str, float]:
    x, n = trial.params["x"], trial.params.get("n", 1)
    return {"accuracy": x, "latency": x * n}


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_several_objectives_have_a_pareto_front(server: ForkServer, experiment: Experiment) -> None:
    factory = Factory(
        train,
        propose=SPACE,
        maximize=["accuracy"],
        minimize=["latency"],
        experiment=experiment,
        seed=1,
        backend=server,
    )
    factory.run(trials=8)
    results = [each.values for each in factory.records if each.values is not None]
    assert {each.values for each in factory.best_trials} == {
        (a, b) for a, b in results if not any(x >= a and y <= b for x, y in results if x != a)
    }
    best = factory.best_trial
    assert best is not None and best.values == max(results) and best in factory.best_trials
    assert "maximize accuracy, minimize latency" in str(factory.table().title)
    objective = experiment.sql("SELECT value FROM metadata WHERE key = 'objective'")["value"][0]
    assert str(objective) == '[["accuracy","maximize"],["latency","minimize"]]'


def test_the_front_is_what_nothing_beats() -> None:
    goal = as_goal("a", "b")
    values: list[tuple[float, ...] | None] = [(1, 1), (2, 2), (2, 3), None, (1, 1), (0, 0), (3, 9)]
    records = [
        TrialRecord(number, {}, 1, Path(), "completed", values=each, feasible=number != 6)
        for number, each in enumerate(values)
    ]
    assert [each.number for each in pareto_front(records, goal)] == [0, 1, 4, 5]


def test_what_breaks_a_constraint_is_not_the_best(make: Make, experiment: Experiment) -> None:
    factory = make(train, propose=SPACE, constraints=["latency <= 1.5", "accuracy >= 0.1"])
    factory.run(trials=12)
    feasible = [each.feasible for each in factory.records]
    assert any(feasible) and not all(feasible)
    for each in factory.records:
        assert each.result is not None
        expected = each.result["latency"] <= 1.5 and each.result["accuracy"] >= 0.1
        assert each.feasible == expected
    best = factory.best_trial
    assert best is not None and best.feasible
    assert best.value == max(each.value or 0 for each in factory.records if each.feasible)
    experiment.sweep.write_index()
    with load_experiment(experiment.path) as loaded:
        assert loaded._index.best is not None  # pyright: ignore[reportPrivateUsage]
        assert loaded._index.best["trial"] == best.number  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize("text", ["latency < 3", "<= 3", "latency <= many", "a <= b <= 3", ""])
def test_constraints_that_make_no_sense(text: str) -> None:
    with pytest.raises(WrongValue, match="<= or >="):
        as_goal("a", None, [text])
    with pytest.raises(WrongType, match="constraint"):
        as_goal("a", None, [3])


def test_what_is_enqueued_comes_first(make: Make) -> None:
    factory = make(train, propose=SPACE)
    factory.enqueue({"x": 0.5, "n": 3})
    factory.enqueue({"n": 9})
    factory.run(trials=4)
    params = [each.params for each in factory.records]
    assert params[0] == {"x": 0.5, "n": 3} and params[1]["n"] == 9
    grid = make(train, propose=Grid({"x": [0.1, 0.2]}), experiment="grid")
    grid.enqueue({"x": 0.7})
    grid.run(trials=9)
    assert grid.trials["x"].tolist() == [0.7, 0.1, 0.2]
    drawn = make(train, propose=Random(SPACE), experiment="random")
    drawn.enqueue({"x": 0.7})
    drawn.run(trials=2)
    assert drawn.records[0].params["x"] == 0.7 and 1 <= drawn.records[0].params["n"] <= 9


@pytest.mark.parametrize(
    ("propose", "wanted", "message"),
    [
        (SPACE, {"y": 1}, "no parameter 'y'"),
        (SPACE, {"x": 2.0}, "'x' cannot be 2.0"),
        (lambda trial: {"xx": trial.suggest_float("xx", 0, 1)}, {"x": 0.5}, "Did you mean 'xx'"),
        (Grid({"x": [1], "n": [2]}), {"x": 1}, "missing.*'n'"),
        (Random(SPACE), {"m": 1}, "Did you mean|no parameter 'm'"),
    ],
)
def test_what_is_enqueued_must_fit_the_space(
    make: Make, propose: Any, wanted: Mapping[str, Any], message: str
) -> None:
    factory = make(train, propose=propose)
    factory.enqueue(wanted)
    with pytest.raises(WrongValue, match=message):
        factory.run(trials=1)
    with pytest.raises(WrongType, match="JSON"):
        factory.enqueue({"x": object()})


def test_a_sweep_learns_from_an_earlier_one(make: Make) -> None:
    first = make(train, propose=SPACE, experiment="first")
    first.run(trials=12)
    second = make(train, propose=SPACE, experiment="second", seed=2)
    assert second.learn_from(first.experiment.path) == 12
    second.run(trials=4)
    fresh = make(train, propose=SPACE, experiment="third", seed=2)
    fresh.run(trials=4)
    assert second.trials["x"].tolist() != fresh.trials["x"].tolist()
    # It knows what is good.
    assert float(second.trials["x"].mean()) > float(fresh.trials["x"].mean())
    again = make(train, propose=SPACE, experiment="fourth", seed=2)
    again.learn_from(first.experiment.path)
    again.run(trials=2)
    again.run(trials=4)
    assert again.trials["x"].tolist() == second.trials["x"].tolist()

    seen: list[int] = []

    def look(params: Any, metrics: Any) -> dict[str, Any]:
        seen.append(len(params))
        assert set(params["trial"]) >= {-1} and metrics["accuracy"].notna().all()
        return {"x": 0.5}

    blackboard = make(train, propose=look, experiment="fifth")
    blackboard.learn_from(first.experiment.path)
    blackboard.run(trials=1)
    assert seen == [12]


def test_what_nothing_can_be_learnt_from(make: Make) -> None:
    with pytest.raises(ExperimentNotFound):
        make(train).learn_from("runs/none-0001")
    with Experiment("empty") as empty:
        pass
    with pytest.raises(WrongValue, match="no finished trials"):
        make(train).learn_from(empty.path)
    first = make(train, propose=SPACE, experiment="first")
    first.run(trials=2)
    grid = make(train, propose=Grid({"x": [1]}), experiment="grid")
    grid.learn_from(first.experiment.path)
    with pytest.raises(WrongValue, match="Grid learns nothing"):
        grid.run(trials=1)
    late = make(train, experiment="late")
    late.run(trials=1)
    with pytest.raises(WrongValue, match="before the first run"):
        late.learn_from(first.experiment.path)
    other = make(lambda trial: {"loss": 1.0}, propose=SPACE, maximize="loss", experiment="other")
    other.learn_from(first.experiment.path)
    with pytest.raises(WrongValue, match="no 'loss'"):
        other.run(trials=1)


def test_optuna_opens_what_is_exported(make: Make, tmp_path: Path) -> None:
    def fails(trial: Trial) -> dict[str, float]:
        trial.report(1, 0.5)
        if trial.number == 1:
            raise ValueError
        return train(trial)

    factory = make(fails, propose=SPACE, constraints=["latency <= 2"])
    factory.run(trials=3)
    url = f"sqlite:///{tmp_path}/study.db"
    factory.export_study(url, "tuned")
    storage = optuna.storages.RDBStorage(url)
    study = optuna.load_study(study_name="tuned", storage=storage)
    assert [each.state.name for each in study.trials] == ["COMPLETE", "FAIL", "COMPLETE"]
    assert [each.params for each in study.trials] == [each.params for each in factory.records]
    assert study.trials[0].distributions == SPACE
    assert study.trials[0].intermediate_values == {1: 0.5}
    assert study.trials[0].user_attrs["latency"] == factory.trials["latency"][0]
    assert factory.best_trial is not None
    assert study.best_trial.user_attrs["number"] == factory.best_trial.number
    with pytest.raises(WrongValue, match="a study 'tuned'"):
        factory.export_study(url, "tuned")
    grid = make(train, propose=Grid({"x": [0.1, 0.2]}), experiment="grid")
    grid.run(trials=2)
    grid.export_study(url)
    assert len(optuna.load_study(study_name="grid-0001", storage=storage).trials) == 2
    storage.remove_session()
    storage.engine.dispose()


class Doubling(Training):
    def train(self, trial: Trial) -> float:
        return trial.params["x"] * 2


class Measuring(Evaluation):
    def __init__(self, scale: float) -> None:
        self.scale = scale

    def evaluate(self, trial: Trial, trained: float) -> dict[str, float]:
        return {"accuracy": trained * self.scale}


class Enough(Stopping):
    def stop(self, params: Any, metrics: Any) -> bool:
        return bool(metrics["accuracy"].max() >= 2)


class Climbing(Proposer):
    def begin(self, goal: Goal, seed: int) -> None:
        self.best = 0.0

    def propose(self, number: int) -> Mapping[str, Any]:
        return {"x": self.best + 0.25}

    def tell(self, record: TrialRecord) -> None:
        self.best = max(self.best, record.params["x"])


def test_the_four_methods_can_be_parts(make: Make) -> None:
    options: Any = {
        "evaluate": Measuring(1.0),
        "stop": Enough(),
        "propose": Climbing(),
        "workers": 1,
    }
    factory = make(Doubling(), **options)
    factory.run(trials=50)
    assert factory.trials["accuracy"].tolist() == [0.5, 1.0, 1.5, 2.0]
    functions = make(
        lambda trial: trial.params["x"] * 2,
        **options
        | {
            "evaluate": lambda trial, trained: {"accuracy": trained},
            "stop": lambda params, metrics: len(params) >= 2,
        },
        experiment="functions",
    )
    functions.run(trials=50)
    assert len(functions.trials) == 2
    parts: list[tuple[Any, Any]] = [("evaluate", 3), ("stop", 3)]
    for name, part in parts:
        with pytest.raises(WrongType, match=name):
            make(train, **{name: part})


@pytest.mark.parametrize("retries", [0, 1])
def test_a_proposer_with_wrong_keys_does_not_waste_the_sweep(make: Make, retries: int) -> None:
    def train(trial: Trial) -> dict[str, float]:
        return {"accuracy": trial.params["lr"]}

    factory = make(train, propose=lambda params, metrics: {"lrr": 0.1}, retries=retries)
    with pytest.raises(SweepFailed, match="no parameter 'lr'. Did you mean 'lrr'"):
        factory.run(trials=50)
    assert len(factory.records) <= 4
    assert issubclass(ParameterNotFound, KeyError)


def test_a_proposer_that_repeats_for_ever_is_warned_of_and_ends(
    experiment: Experiment, caplog: pytest.LogCaptureFixture
) -> None:
    proposed: list[float] = []

    def repeat(params: Any, metrics: Any) -> dict[str, Any]:
        proposed.append(0.5 if len(proposed) > 3 else len(proposed) / 10)
        return {"x": proposed[-1]}

    def proposals() -> Proposals:
        """As a process that goes on with the sweep makes them."""
        found = Proposals(as_goal("a", None), as_proposer(repeat), None, None, str)
        found.begin(experiment.sweep, experiment.path, seed=1, ordered=10_000)
        return found

    first = proposals()
    first.enqueue({"x": 0.1})
    for _ in range(600):
        first.propose()
    repeated = [each for each in caplog.messages if "had all been tried before" in each]
    assert len(repeated) == 1 and "after 1000 it ends" in repeated[0]
    again = proposals()
    with pytest.raises(EndSearch, match="the last 1000 proposals had all been tried before"):
        while True:
            again.propose()
    # What is enqueued does not count; 0.1 was proposed after that; 0.5 was new once.
    assert len(again.trials) == 1 + len(proposed) == 1 + 5 + 1000
    again.enqueue({"x": 0.5})  # somebody wants it
    assert again.propose().params == {"x": 0.5}
    with pytest.raises(EndSearch):
        again.propose()


def test_a_parameter_with_other_choices_is_explained(make: Make) -> None:
    def space(trial: optuna.Trial) -> dict[str, Any]:
        return {"x": trial.suggest_categorical("x", list(range(trial.number + 1)))}

    with pytest.raises(WrongValue, match="another way than for earlier trials"):
        make(train, propose=space).run(trials=3)


@pytest.mark.parametrize("pruner", ["median", "successive-halving"])
def test_a_sweep_is_the_same_for_any_number_of_workers(make: Make, pruner: str) -> None:
    def train(trial: Trial) -> dict[str, float]:
        import time

        for step in range(1, 5):
            time.sleep(trial.seed % 5 / 200)
            trial.report(step, trial.params["x"] * step)
        if trial.number == 3:
            raise ValueError("for good")
        return {"accuracy": trial.params["x"]}

    frames: list[Any] = []
    for workers in (1, 2, 4):
        options: Any = {"pruner": pruner, "ordered": 4, "propose": SPACE}
        factory = make(train, workers=workers, experiment=f"w{workers}", **options)
        factory.run(trials=14)
        frame = factory.trials.drop(columns="seconds")
        frame["reports"] = [str(each.reports) for each in factory.records]
        frames.append(frame)
    assert "pruned" in set(frames[0]["state"])
    assert frames[0].equals(frames[1]) and frames[0].equals(frames[2])
