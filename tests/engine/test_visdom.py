"""Curves on a real Visdom server, which may go away and come back."""

from __future__ import annotations

import math
import signal
import socket
import time
from collections.abc import Iterator
from itertools import count

import pytest
import torch
from ignite.engine import Engine, Events

from fireworks import Experiment, ExperimentLogger, VisdomLogger, load_experiment
from fireworks.errors import EngineError, WrongValue
from fireworks.experiment import open_attempt
from tests.engine.visdom_server import VisdomServer

NUMBERS = count()


@pytest.fixture(scope="module")
def only_server(tmp_path_factory) -> Iterator[VisdomServer]:
    server = VisdomServer(tmp_path_factory.mktemp("visdom"))
    yield server
    server.kill()


@pytest.fixture
def server(only_server) -> VisdomServer:
    if not only_server.running:  # the test before may have killed it
        only_server.start()
    return only_server


@pytest.fixture
def experiment(tmp_path):
    """Of another name for each test: that of its windows on the server."""
    with Experiment(f"run{next(NUMBERS)}", root=tmp_path) as experiment:
        yield experiment


def stepping(seconds=0.0) -> Engine:
    def step(engine, batch):
        time.sleep(seconds)
        return torch.tensor(1.0 / engine.state.iteration)

    return Engine(step)


def recorded(experiment) -> dict[str, list[tuple[int, float]]]:
    return {
        str(name): list(zip(rows["step"].tolist(), rows["value"].tolist(), strict=True))
        for name, rows in experiment.metrics().groupby("name")
    }


def test_a_run_is_shown_as_it_is_recorded(server, experiment):
    trainer, evaluator = stepping(), Engine(lambda engine, batch: None)
    evaluator.add_event_handler(
        Events.COMPLETED, lambda: evaluator.state.metrics.update(accuracy=0.5)
    )
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run([0]))
    ExperimentLogger(experiment).attach(trainer, evaluator)
    VisdomLogger(experiment, server.address).attach(trainer, evaluator)
    trainer.run(range(20), max_epochs=3)
    assert server.curves(experiment.id) == recorded(experiment)
    assert [step for step, _ in server.curves(experiment.id)["valid/accuracy"]] == [20, 40, 60]


def test_a_further_run_goes_on_with_the_curves(server, experiment):
    trainer = stepping()
    ExperimentLogger(experiment).attach(trainer)
    VisdomLogger(experiment, server.address).attach(trainer)
    trainer.run(range(5), max_epochs=1)
    trainer.run(range(5), max_epochs=2)
    assert server.curves(experiment.id) == recorded(experiment)
    assert len(recorded(experiment)["train/loss"]) == 10


def test_a_server_that_dies_and_comes_back_empty_lacks_nothing(server, experiment, caplog):
    trainer = stepping(0.02)
    ExperimentLogger(experiment).attach(trainer)
    VisdomLogger(experiment, server.address).attach(trainer)

    @trainer.on(Events.ITERATION_COMPLETED(once=40))
    def die():
        assert server.curves(experiment.id)["train/loss"]  # it was there
        server.kill()

    @trainer.on(Events.ITERATION_COMPLETED(once=110))
    def come_back():
        server.start()

    trainer.run(range(130))
    assert server.curves(experiment.id) == recorded(experiment)
    assert len(recorded(experiment)["train/loss"]) == 130
    assert caplog.text.count("does not answer") == 1


def test_without_a_server_nothing_waits_and_replay_shows_all_later(server, experiment, caplog):
    server.kill()
    trainer = stepping()
    ExperimentLogger(experiment).attach(trainer)
    logger = VisdomLogger(experiment, server.address).attach(trainer)
    began = time.monotonic()
    trainer.run(range(1_000), max_epochs=2)
    assert time.monotonic() - began < 4
    assert "training goes on" in caplog.text
    with pytest.raises(EngineError, match="does not answer"):
        logger.replay()
    server.start()
    assert logger.replay() == 1
    assert server.curves(experiment.id) == recorded(experiment)
    experiment.log({"late": 0.5, "none": math.nan, "much": math.inf}, step=7)
    experiment.flush()
    assert logger.replay(load_experiment(experiment.path)) == 4
    shown = server.curves(experiment.id)
    assert shown["late"] == [(7, 0.5)]
    assert shown["none"] == shown["much"] == [(7, None)]


def test_a_server_that_hangs_holds_up_the_end_for_five_seconds_at_most(server, experiment):
    trainer = stepping()
    logger = VisdomLogger(experiment, server.address).attach(trainer)
    server.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    trainer.run(range(100), max_epochs=3)
    assert time.monotonic() - began < 7
    server.kill()
    assert logger is not None


def test_what_was_logged_before_an_error_is_shown(server, experiment):
    trainer = stepping()
    VisdomLogger(experiment, server.address).attach(trainer)

    @trainer.on(Events.ITERATION_COMPLETED(once=7))
    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        trainer.run(range(10))
    assert [step for step, _ in server.curves(experiment.id)["train/loss"]] == list(range(1, 8))


def test_a_sweep_is_replayed_trial_by_trial(server, tmp_path):
    with Experiment("sweep", root=tmp_path) as sweep:
        for trial in range(2):
            sweep.sweep.add_trial(trial, seed=1, params={})
            attempt = sweep.sweep.start_attempt(trial, host="here")
            with open_attempt(sweep.path, trial, attempt) as experiment:
                experiment.log(loss=0.5 + trial, step=1)
        assert VisdomLogger(sweep, server.address).replay() == 2
    assert server.curves("sweep-0001-trial-1") == {"loss": [(1, 1.5)]}


def test_values_that_are_no_numbers_are_left_out(server, experiment):
    logger = VisdomLogger(experiment, server.address)
    loss = torch.tensor(0.5)
    logger.log({"matrix": torch.ones(2, 2), "text": "words", "loss": loss}, 1)
    loss += 1  # what was logged is what it was then
    logger.close()
    assert server.curves(experiment.id) == {"loss": [(1, 0.5)]}


def test_the_server_listens_to_this_machine_only(server):
    with socket.socket() as outside:
        outside.bind(("127.0.0.2", 0))
        with pytest.raises(OSError):
            outside.connect(("127.0.0.2", server.port))


@pytest.mark.parametrize("address", ["here", "ftp://127.0.0.1", "http://", "http://a:b"])
def test_no_address(experiment, address):
    with pytest.raises(WrongValue, match="address"):
        VisdomLogger(experiment, address)
