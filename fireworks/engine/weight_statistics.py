"""How large weights and gradients are, layer by layer."""

from __future__ import annotations

from typing import Self, final

import torch
from ignite.engine import Engine, Events
from torch import nn

from fireworks.errors import WrongValue
from fireworks.experiment import Experiment


@final
class WeightStatistics:
    """Logs the norm of each parameter and of its gradient.

    ``weights/<parameter>`` and ``gradients/<parameter>`` are Euclidean norms, ``weights`` and
    ``gradients`` those of all together.

    Args:
        model: The model.
        experiment: Where to log.
        name: Of the model, where there are several: ``<name>/weights``.
    """

    def __init__(self, model: nn.Module, experiment: Experiment, *, name: str = "") -> None:
        self._model = model
        self._experiment = experiment
        self._prefix = f"{name}/" if name else ""

    def attach(self, trainer: Engine, *, every: int = 100) -> Self:
        """Attach to the model's trainer.

        Args:
            trainer: The trainer.
            every: Iterations from one measurement to the next.

        Returns:
            The handler itself.

        Raises:
            WrongValue: ``every`` is below 1.
        """
        if every < 1:
            raise WrongValue(f"every is a number of iterations, at least 1; it is {every!r}.")
        trainer.add_event_handler(Events.ITERATION_COMPLETED(every=every), self._measure)
        return self

    @torch.no_grad()
    def _measure(self, trainer: Engine) -> None:
        parameters = dict(self._model.named_parameters())
        kinds = {
            f"{self._prefix}weights": parameters,
            f"{self._prefix}gradients": {
                name: each.grad for name, each in parameters.items() if each.grad is not None
            },
        }
        values: dict[str, float] = {}
        for kind, tensors in kinds.items():
            if tensors:
                norms = torch.stack([each.norm() for each in tensors.values()]).cpu()
                values |= {f"{kind}/{name}": norms[i].item() for i, name in enumerate(tensors)}
                values[kind] = norms.norm().item()
        self._experiment.log(values, step=trainer.state.iteration)
