"""Runs a plan in a run's folder: each stage once, in order, from where an earlier session stood.

What a batch, a label or a score is, the task knows; what a loss is, the method.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Any, Protocol

import torch
from torch import nn

from dmt.core import hashed
from dmt.engine.fit import ClockedRate, Learner, Tally, fit
from dmt.engine.folder import RunFolder
from dmt.engine.interrupt import StopFlag
from dmt.engine.networks import build_stage
from dmt.engine.runtime import Runtime
from dmt.engine.stage import LabelStage, Stage, TrainStage
from dmt.engine.step import Method, Position
from dmt.engine.task import Task
from dmt.models.build import Network
from dmt.models.weights import load_into, save

MakeMethod = Callable[[TrainStage], Method]


class Listener(Protocol):
    """Who watches a run: a live view, a log, nobody."""

    def on_note(self, text: str) -> None:
        """Something the user should know, in a sentence."""
        ...

    def on_plan(self, stages: Sequence[Stage]) -> None:
        """What will be done, before any of it."""
        ...

    def on_event(self, event: Mapping[str, Any]) -> None:
        """A line was added to `metrics.jsonl`."""
        ...

    def on_step(self, stage: Stage, step: int, num_steps: int, done: float) -> None:
        """A step was taken; `done` is the share of the whole run's images, 0 to 1."""
        ...


class Runner:
    """One run: its plan, its folder, its task.

    Args:
        stages: in an order in which each comes after what it needs.
        task: batches, labels, scores.
        make_method: the method for a stage that trains.
        folder: locked by the caller.
        runtime: where it computes.
        seed: of the run.
        image_size: side of a training view in pixels.
        checkpoint_every: seconds between two saves inside a stage.
        allow_code: whether a `package.module:factory` may be imported.
        listener: told of events and steps.
        stop: looked at after every step.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        task: Task,
        make_method: MakeMethod,
        folder: RunFolder,
        runtime: Runtime,
        *,
        seed: int,
        image_size: int,
        checkpoint_every: float,
        allow_code: bool,
        listener: Listener,
        stop: StopFlag,
    ) -> None:
        self._stages = stages
        self._task = task
        self._make_method = make_method
        self._folder = folder
        self._runtime = runtime
        self._seed = seed
        self._image_size = image_size
        self._checkpoint_every = checkpoint_every
        self._allow_code = allow_code
        self._listener = listener
        self._stop = stop
        trained = [stage for stage in stages if isinstance(stage, TrainStage)]
        self._num_images = sum(stage.num_images for stage in trained)
        self._num_done = 0

    def run(self) -> None:
        """Do all stages that are not finished yet.

        Raises:
            Interrupted: the stop flag was set; what was done is saved.
            TrainingError: a loss is not finite.
        """
        for stage in self._stages:
            if stage.name in self._folder.progress.finished:
                self._num_done += getattr(stage, "num_images", 0)
                continue
            if isinstance(stage, TrainStage):
                self._train(stage)
            else:
                assert isinstance(stage, LabelStage)
                self._label(stage)
            self._folder.finish(stage.name)
            self._runtime.barrier()  # no rank looks for a checkpoint while one removes it
            if self._is_stopping():
                self._stop.check(f"`dmt resume {self._folder.path}` goes on after {stage.name}")

    def network(self, stage: TrainStage, *, is_trained: bool = True) -> Network:
        """A stage's network on the device: as it was trained, or as its training begins."""
        same_start = f"round{stage.round}" if stage.role == "round" else "round0"
        fold = "" if stage.fold is None else f"fold{stage.fold}"
        is_first = stage.start is None and not is_trained
        network, _ = build_stage(
            stage,
            len(self._task.classes),
            # The baseline begins where peer a began, so that the two differ by the labels alone.
            seed=hashed(self._seed, "initial weights", fold, same_start, stage.peer) >> 1,
            image_size=self._image_size,
            is_dense=self._task.name == "segmentation",
            has_weights=is_first,
            allow_code=self._allow_code,
        )
        if is_trained:
            load_into(network, self._folder.weights(stage.name))
        elif stage.start is not None:
            load_into(network, self._folder.weights(stage.start))
        # Channels last is what the convolutions of CPU and CUDA are fastest with.
        return network.to(self._runtime.device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def _train(self, stage: TrainStage) -> None:
        state = self._folder.load_state(stage.name)
        method = self._make_method(stage)
        learners = {
            name: Learner(self.network(stage, is_trained=False), stage.fit)
            for name in method.learners
        }
        tally, scaler = Tally(), self._runtime.grad_scaler()
        first_step = 0
        if state is None:
            self._emit("started", stage.name, num_steps=stage.fit.num_steps)
        else:
            first_step = int(state["step"])
            for name, learner in learners.items():
                learner.load_state_dict(state["learners"][name])
            method.load_state_dict(state["method"])
            scaler.load_state_dict(state["scaler"])
            tally.sums = {
                name: value.to(self._runtime.device) for name, value in state["tally"].items()
            }
        began, saved = time.perf_counter(), time.perf_counter()
        rate = ClockedRate()

        def save_state(next_step: int) -> None:
            self._folder.save_state(
                {
                    "stage": stage.name,
                    "step": next_step,
                    "learners": {name: each.state_dict() for name, each in learners.items()},
                    "method": method.state_dict(),
                    "scaler": scaler.state_dict(),
                    "tally": tally.sums,
                }
            )

        def after_step(position: Position, sums: Mapping[str, float] | None) -> None:
            nonlocal saved
            next_step = position.step + 1
            rate.add(stage.fit.batch_size)
            done = (self._num_done + next_step * stage.fit.batch_size) / max(1, self._num_images)
            self._listener.on_step(stage, next_step, position.num_steps, done)
            if sums is not None:
                self._emit("step", stage.name, **_step_fields(stage, next_step, sums),
                           gamma=method.gamma(position), images_per_second=rate.read(),
                           seconds=time.perf_counter() - began)  # fmt: skip
            if next_step < position.num_steps:
                if self._is_stopping():
                    save_state(next_step)
                    self._stop.check(f"`dmt resume {self._folder.path}` goes on from step "
                                     f"{next_step} of {stage.name}")  # fmt: skip
                elif time.perf_counter() - saved > self._checkpoint_every:
                    save_state(next_step)
                    saved = time.perf_counter()

        labels = None if stage.pseudo is None else self._folder.pseudo_labels(stage.pseudo)
        with closing(self._task.batches(stage, labels, first_step)) as batches:
            fit(learners, method, batches, self._runtime,
                tally=tally, scaler=scaler, after_step=after_step)  # fmt: skip
        self._num_done += stage.num_images
        (learner,) = learners.values()
        self._keep(stage, learner.outcome)
        self._emit("finished", stage.name, seconds=time.perf_counter() - began)

    def _is_stopping(self) -> bool:
        """Whether any rank was asked to stop: then all do, at the same step."""
        if self._runtime.world_size > 1:
            own = torch.tensor([self._stop.signal or 0], device=self._runtime.device)
            asked = int(self._runtime.largest(own))
            if asked:  # a flag is never taken down: a signal may come while ranks compare theirs
                self._stop.signal = asked
            return asked > 0
        return self._stop.signal is not None

    def _keep(self, stage: TrainStage, net: nn.Module) -> None:
        score = self._task.validate(net, stage.fold)
        if score is not None:
            self._emit("evaluate", stage.name, round=stage.round, peer=stage.peer, split="val",
                       metric=self._task.metric, value=score.value,
                       classes=score.classes)  # fmt: skip
        if self._runtime.is_writer:
            assert isinstance(net, Network)
            path = self._folder.weights(stage.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            save(net, path, {"stage": stage.name})
        self._runtime.barrier()

    def _label(self, stage: LabelStage) -> None:
        self._folder.load_state(stage.name)  # cuts the record back to what is finished
        began = time.perf_counter()
        self._emit("started", stage.name, num_images=self._task.num_forward(stage))
        teacher = next(
            each for each in self._stages
            if isinstance(each, TrainStage) and each.name == stage.teacher
        )  # fmt: skip
        labeling = self._task.label(
            stage, self.network(teacher), self._folder.pseudo_labels(stage.name)
        )
        self._emit(
            "label", stage.name, round=stage.round, teacher=stage.peer, student=stage.student,
            label_fraction=stage.fraction, unit=labeling.unit, pool=labeling.num_pool,
            selected=labeling.num_selected,
            threshold=labeling.threshold, pseudo_label_accuracy=labeling.pseudo_label_accuracy,
            pool_accuracy=labeling.pool_accuracy,
            classes=[each.model_dump() for each in labeling.classes],
        )  # fmt: skip
        self._emit("finished", stage.name, seconds=time.perf_counter() - began)

    def _emit(self, event: str, stage: str, **fields: Any) -> None:
        self._listener.on_event(self._folder.record(event, stage, **fields))


def _step_fields(stage: TrainStage, next_step: int, sums: Mapping[str, float]) -> dict[str, Any]:
    """A `step` line's fields from the sums since the last one."""
    num_pseudo = sums.get("num_pseudo", 0.0)
    return {
        "round": stage.round,
        "peer": stage.peer,
        "step": next_step,
        "num_steps": stage.fit.num_steps,
        "images_seen": next_step * stage.fit.batch_size,
        "loss": sums["loss"] / sums["num_steps"],
        "agreement": sums["num_agreed"] / num_pseudo if num_pseudo else None,
        "mean_weight": sums["weight"] / num_pseudo if num_pseudo else None,
        "lr": stage.fit.lr_at(next_step - 1),
    }
