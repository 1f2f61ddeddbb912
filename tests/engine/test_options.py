"""What create_trainer adds to a step, each against the same written by hand."""

# Ignite types what an engine's state holds more narrowly than it is.
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# pyright: reportIndexIssue=false, reportOptionalSubscript=false, reportArgumentType=false

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from ignite.engine import Events
from ignite.handlers.param_scheduler import LinearCyclicalScheduler
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from torch.optim.swa_utils import AveragedModel

from fireworks import Message, create_evaluator, create_trainer
from fireworks.engine import trainer_parts
from fireworks.errors import EngineError, LossNotFinite, WrongType, WrongValue
from fireworks.sources import BatchingSource, MessageSource

GENERATOR = torch.Generator().manual_seed(0)
ROWS = Message({"x": torch.randn(48, 3, generator=GENERATOR), "label": torch.arange(48) % 2})
COLUMNS: dict[str, Any] = {"inputs": "x", "target": "label", "device": "cpu"}


def batches():
    return MessageSource(ROWS) >> BatchingSource(8)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))


def trained(epochs=2, **options):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    if "scheduler" in options:
        options["scheduler"] = options["scheduler"](optimizer)
    trainer = create_trainer(model, optimizer, cross_entropy, **COLUMNS, **options)
    trainer.run(batches(), max_epochs=epochs)
    return trainer, model, optimizer


def by_hand(step, epochs=2):
    model = network().train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    iteration = 0
    for _ in range(epochs):
        for batch in batches():
            iteration += 1
            step(model, optimizer, batch["x"], batch["label"], iteration)
    return model


def same(a: nn.Module, b: nn.Module) -> bool:
    other = b.state_dict()
    return all(torch.equal(value, other[name]) for name, value in a.state_dict().items())


def test_bfloat16_on_the_cpu():
    def step(model, optimizer, x, y, iteration):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()

    trainer, model, _ = trained(amp=True)
    assert trainer.state.output.output.dtype == torch.bfloat16
    assert same(model, by_hand(step))
    assert not same(model, trained()[1])
    evaluator = create_evaluator(model, **COLUMNS, amp="bfloat16")
    evaluator.run(batches())
    assert evaluator.state.output[0].dtype == torch.bfloat16


def test_float16_scales_gradients_and_keeps_the_scaler():
    trainer, model, _ = trained(amp="float16", check_loss=False)
    assert trainer_parts(trainer)["scaler"].state_dict()["scale"] > 1
    assert not same(model, network())


def test_accumulation_counts_on_across_epochs():
    def step(model, optimizer, x, y, iteration):
        if iteration % 4 == 1:
            optimizer.zero_grad()
        (cross_entropy(model(x), y) / 4).backward()
        if iteration % 4 == 0:
            optimizer.step()

    trainer, model, _ = trained(accumulate=4, epochs=3)  # 18 iterations: two are left over
    assert same(model, by_hand(step, epochs=3))
    assert len(trainer_parts(trainer)["gradients"].state_dict()) == 6
    assert not trainer_parts(trained(accumulate=5)[0])["gradients"].used
    assert trainer_parts(trained(accumulate=6)[0])["gradients"].state_dict() == {}


@pytest.mark.parametrize("option", ["clip_norm", "clip_value"])
def test_clipping(option):
    def step(model, optimizer, x, y, iteration):
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        if option == "clip_norm":
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        else:
            nn.utils.clip_grad_value_(model.parameters(), 0.1)
        optimizer.step()

    assert same(trained(**{option: 0.1})[1], by_hand(step))


def test_schedulers_of_torch_go_on_after_each_step_or_epoch():
    def scheduler(optimizer):
        return torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)

    assert trained(scheduler=scheduler)[2].param_groups[0]["lr"] == 0.1 * 0.5**12
    assert trained(scheduler=scheduler, accumulate=3)[2].param_groups[0]["lr"] == 0.1 * 0.5**4
    by_epoch = trained(scheduler=scheduler, schedule="epoch")
    assert by_epoch[2].param_groups[0]["lr"] == 0.1 * 0.5**2
    assert "scheduler" in trainer_parts(by_epoch[0])


def test_a_scheduler_of_ignite():
    def scheduler(optimizer):
        return LinearCyclicalScheduler(optimizer, "lr", 0.0, 1.0, cycle_size=20)

    assert trained(scheduler=scheduler)[2].param_groups[0]["lr"] == pytest.approx(0.9)


def test_an_average_of_the_weights_follows_the_model():
    expected: list[dict[str, torch.Tensor]] = []
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer = create_trainer(model, optimizer, cross_entropy, **COLUMNS, ema=0.9)

    @trainer.on(Events.ITERATION_COMPLETED)
    def follow():
        now = {name: value.clone() for name, value in model.state_dict().items()}
        if expected:
            for name, _ in model.named_parameters():
                now[name] = 0.9 * expected[-1][name] + 0.1 * now[name]
        expected.append(now)

    trainer.run(batches(), max_epochs=2)
    average = trainer_parts(trainer)["ema"]
    assert isinstance(average, AveragedModel)
    for name, value in average.module.state_dict().items():
        torch.testing.assert_close(value, expected[-1][name])
    assert not same(average.module, model)


def test_a_compiled_model_keeps_its_own_names():
    trainer, model, _ = trained(compile={"backend": "eager"})
    assert trainer_parts(trainer)["model"] is model
    assert same(model, trained()[1])


def test_several_optimizers_with_an_update_of_the_users_own():
    torch.manual_seed(0)
    generator, critic = nn.Linear(2, 3), nn.Linear(3, 1)
    of_generator = torch.optim.Adam(generator.parameters(), lr=0.05)
    of_critic = torch.optim.Adam(critic.parameters(), lr=0.05)
    noise = torch.Generator().manual_seed(1)

    def update(engine, batch):
        real = batch["x"] + 3.0
        fake = generator(torch.randn(len(real), 2, generator=noise))
        ones = torch.ones(len(real), 1)
        of_critic.zero_grad()
        right = binary_cross_entropy_with_logits(critic(real), ones)
        wrong = binary_cross_entropy_with_logits(critic(fake.detach()), 1 - ones)
        (right + wrong).backward()
        of_critic.step()
        of_generator.zero_grad()
        loss = binary_cross_entropy_with_logits(critic(fake), ones)
        loss.backward()
        of_generator.step()
        return {"loss": loss.item(), "critic": (right + wrong).item()}

    before = copy.deepcopy(generator)
    trainer = create_trainer(
        {"generator": generator, "critic": critic},
        {"generator": of_generator, "critic": of_critic},
        update=update,
    )
    trainer.run(batches(), max_epochs=20)
    assert set(trainer.state.output) == {"loss", "critic"}
    assert not same(generator, before)
    assert generator.bias.mean() > 0.5  # on its way to the real mean, 3
    assert list(trainer_parts(trainer)) == [
        "model/generator", "model/critic", "optimizer/generator", "optimizer/critic", "gradients",
    ]  # fmt: skip


class TestBadInput:
    def create(self, **options):
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        given = {"loss": cross_entropy, **COLUMNS, **options}
        return create_trainer(given.pop("model", model), given.pop("optimizer", optimizer), **given)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"amp": "float8"}, "'float8'"),
            ({"amp": torch.float32}, "float32"),
            ({"accumulate": 0}, "accumulate must be positive"),
            ({"clip_norm": -1.0}, "clip_norm must be positive"),
            ({"ema": 1.0}, "between 0 and 1"),
            ({"schedule": "batch", "scheduler": object()}, "'step' or 'epoch'"),
            ({"update": lambda engine, batch: None}, "no use for loss, inputs, target"),
            ({"inputs": None}, "needs loss= and inputs="),
            ({"model": {"a": network()}}, "train nothing"),
        ],
    )
    def test_options(self, options, message):
        with pytest.raises(WrongValue, match=message):
            self.create(**options)

    def test_types(self):
        with pytest.raises(WrongType, match="not str"):
            self.create(model="model")
        with pytest.raises(WrongType, match="but int"):
            self.create(optimizer=3)
        with pytest.raises(WrongType, match="ReduceLROnPlateau needs a metric"):
            optimizer = torch.optim.SGD(network().parameters(), lr=0.1)
            self.create(scheduler=torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer))
        with pytest.raises(WrongType, match="not int"):
            self.create(scheduler=3)

    def test_an_optimizer_of_another_model(self):
        with pytest.raises(WrongValue, match="6 parameters, none of them of the model"):
            self.create(optimizer=torch.optim.SGD(network().parameters(), lr=0.1))

    def test_an_optimizer_of_nothing(self):
        with pytest.raises(WrongValue, match="The optimizer has 0 parameters"):
            self.create(optimizer=torch.optim.SGD([{"params": []}], lr=0.1))

    def test_an_optimizer_that_needs_a_closure(self):
        model = network()
        with pytest.raises(WrongValue, match=r"LBFGS.*update=.*step\(closure\)"):
            self.create(model=model, optimizer=torch.optim.LBFGS(model.parameters()))

    def test_shapes_that_do_not_fit_name_the_layer(self):
        rows = Message({"x": torch.randn(4, 5), "label": torch.arange(4) % 2})
        with pytest.raises(RuntimeError, match="4x5 and 3x4") as caught:
            self.create().run([rows])
        (note,) = caught.value.__notes__
        assert "layer '0', Linear" in note
        assert "(4, 5)" in note
        assert "weight (4, 3)" in note

    def test_an_output_that_does_not_fit_the_target_shows_both(self):
        rows = Message({"x": torch.randn(4, 3), "label": torch.zeros(4, 3)})
        with pytest.raises(RuntimeError) as caught:
            self.create().run([rows])
        assert "output of shape (4, 2)" in caught.value.__notes__[0]
        assert "target 'label' of shape (4, 3)" in caught.value.__notes__[0]

    def test_a_loss_that_is_not_finite_never_reaches_the_weights(self):
        trainer = self.create()
        bad = Message({"x": torch.full((4, 3), torch.nan), "label": torch.arange(4) % 2})
        good = [ROWS[:4], bad, ROWS[4:8]]
        with pytest.raises(LossNotFinite, match="nan at iteration 2, epoch 1"):
            trainer.run(good)
        model = trainer_parts(trainer)["model"]
        assert all(each.isfinite().all() for each in model.parameters())

    def test_no_data(self):
        with pytest.raises(ValueError, match="zero size"):
            self.create().run(MessageSource(ROWS[:0]) >> BatchingSource(4))
        with pytest.raises(EngineError, match="no batch at all"):
            self.create().run(iter([]))
