"""Runs a plan in a run's folder: each stage once, in order, from where an earlier session stood.

What a batch, a label or a score is, the task knows; what a loss is, the method.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dmt import faults
from dmt.core import hashed
from dmt.data.decode import shown
from dmt.engine.finite import NotFiniteError, refuse_unless_finite
from dmt.engine.fit import ClockedRate, Learner, Tally, fit
from dmt.engine.folder import RunFolder
from dmt.engine.health import Health
from dmt.engine.interrupt import StopFlag
from dmt.engine.listener import Listener, tell
from dmt.engine.networks import build_stage
from dmt.engine.runtime import Runtime
from dmt.engine.sharding import whole
from dmt.engine.shared_stages import Elsewhere
from dmt.engine.stage import LabelStage, Stage, TrainStage
from dmt.engine.step import Method, Position
from dmt.engine.step_lines import step_fields, where
from dmt.engine.task import Task
from dmt.errors import RunError, TrainingError
from dmt.models.build import Network
from dmt.models.weights import load_into, save
from dmt.records import METRICS, read_metrics

MakeMethod = Callable[[TrainStage], Method]


class Crew(NamedTuple):
    """Who trains a network: some of the ranks, with a task and methods that deal batches to them.

    Labeling and judging are always all ranks'.
    """

    task: Task
    make_method: MakeMethod
    runtime: Runtime


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
        paths: of the images by id, for sentences.
        listener: told of events and steps.
        stop: looked at after every step.
        unlabeled_classes: names of those without any label.
        shared: stages that are trained elsewhere.
        crew: who trains the others; None: all ranks.
        go_on: the command that goes on after a stop; None: `dmt resume` with the folder.
        has_sync_norm: whether BatchNorm sees the batch of all ranks.
        is_sharded: whether a network in training lies in parts on those ranks.
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
        paths: Sequence[str],
        listener: Listener,
        stop: StopFlag,
        unlabeled_classes: Collection[str] = (),
        shared: Elsewhere | None = None,
        crew: Crew | None = None,
        go_on: str | None = None,
        has_sync_norm: bool = False,
        is_sharded: bool = False,
    ) -> None:
        self._shared = shared
        self._crew = crew or Crew(task, make_method, runtime)
        self._stages = stages
        self._task = task
        self._folder = folder
        self._runtime = runtime
        self._seed = seed
        self._image_size = image_size
        self._checkpoint_every = checkpoint_every
        self._allow_code = allow_code
        self._paths = paths
        self._listener = listener
        self._stop = stop
        self._trained = [stage for stage in stages if isinstance(stage, TrainStage)]
        self._num_images = sum(stage.num_images for stage in self._trained)
        self._go_on = go_on or f"dmt resume {folder.path}"
        self._has_sync_norm = has_sync_norm and self._crew.runtime.world_size > 1
        self._is_sharded = is_sharded and self._crew.runtime.world_size > 1
        self._num_done = 0
        self._health = Health(task.classes, unlabeled_classes)
        self._is_caught_up = False

    def run(self) -> None:
        """Do all stages that are not finished yet.

        Raises:
            Interrupted: the stop flag was set; what was done is saved.
            TrainingError: a loss, a gradient, a weight or a teacher's answer is not finite.
            DataError: an image or a mask has vanished or changed since it was read first.
        """
        for stage in self._stages:
            if stage.name in self._folder.progress.finished:
                self._num_done += getattr(stage, "num_images", 0)
                continue
            faults.reached("stage begins")
            names: tuple[str, ...] = (stage.name,)
            try:
                if isinstance(stage, TrainStage):
                    members = [each for each in self._trained if each.name in stage.together]
                    members = members or [stage]
                    names = tuple(each.name for each in members)
                    if not self._repeat(stage):
                        self._train(members)
                else:
                    assert isinstance(stage, LabelStage)
                    self._label(stage)
            except NotFiniteError as error:
                sentence = error.told(where(stage, names), lambda id: shown(self._paths[id]))
                raise TrainingError(sentence) from error
            faults.reached("stage done")
            self._folder.finish(*names)
            faults.reached("stage finished")
            self._runtime.barrier()  # no rank looks for a checkpoint while one removes it
            self._stop.agree(self._runtime)
            self._stop.check(f"`{self._go_on}` goes on after {stage.name}")
        self._folder.settle()

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

    def _begun(self, stage: TrainStage) -> nn.Module:
        """A stage's network as its training begins, on this rank among the others."""
        network: nn.Module = self.network(stage, is_trained=False)
        if self._has_sync_norm:
            group = self._crew.runtime.group
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network, group)
        return network

    def _whole(self, stage: TrainStage, net: nn.Module) -> nn.Module:
        """A trained network, put together where it lay in parts."""
        if not self._is_sharded:
            return net
        network = self.network(stage, is_trained=False)
        network.load_state_dict(whole(net.state_dict()))
        return network

    def _repeat(self, stage: TrainStage) -> bool:
        """Whether this stage is trained elsewhere; its network and its record are ours then."""
        if self._shared is None:
            return False
        path = self._folder.weights(stage.name)
        self._folder.make(path.parent)
        lines = self._shared.take(stage, path)
        if lines is None:
            return False
        self._num_done += stage.num_images
        if lines:  # else another rank has recorded them
            self._folder.settle()  # what this run had of the stage itself is dropped
            self._runtime.barrier()
            self._load_state(stage.name)
        for line in lines:
            self._emit(**line)
        return True

    def _train(self, members: Sequence[TrainStage]) -> None:
        """Train one stage, or several in the same steps; batches and loss are the first one's."""
        stage = members[0]
        crew = self._crew
        state = self._load_state(stage.name)
        method = crew.make_method(stage)
        of_learner = dict(zip(method.learners, members, strict=True))
        mesh = crew.runtime.mesh() if self._is_sharded else None
        learners = {
            name: Learner(self._begun(each), each.fit, mesh) for name, each in of_learner.items()
        }
        tally, scaler = Tally(), crew.runtime.grad_scaler()
        first_step = 0
        if state is None:
            for each in members:
                self._emit("started", each.name, num_steps=each.fit.num_steps)
        else:
            first_step = int(state["step"])
            try:
                for name, learner in learners.items():
                    learner.load_state_dict(state["learners"][name])
                method.load_state_dict(state["method"])
                scaler.load_state_dict(state["scaler"])
                tally.take_up(state["tally"], crew.runtime)
            except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
                raise self._folder.damaged_state(type(error).__name__) from error
            if first_step >= stage.fit.num_steps:
                raise self._folder.damaged_state("it is of a longer training")
        faults.reached("stage began")
        began, saved = time.perf_counter(), time.perf_counter()
        began -= 0.0 if state is None else state["stage_seconds"]
        rate = ClockedRate()

        def save_state(next_step: int) -> None:
            sums = tally.of_all(crew.runtime)
            refuse_unless_finite(
                [net for each in learners.values() for net in (each.net, each.outcome)],
                next_step,
                stage.fit.num_steps,
                crew.runtime,
                sums.get("loss"),
            )
            self._folder.save_state(
                {
                    "stage": stage.name,
                    "step": next_step,
                    "learners": {name: each.state_dict() for name, each in learners.items()},
                    "method": method.state_dict(),
                    "scaler": scaler.state_dict(),
                    "tally": sums,
                    "stage_seconds": time.perf_counter() - began,
                }
            )

        def after_step(position: Position, sums: Mapping[str, Tensor] | None) -> None:
            nonlocal saved
            faults.reached("step taken")
            next_step = position.step + 1
            rate.add(stage.fit.batch_size)
            num_done = self._num_done + next_step * stage.fit.batch_size * len(members)
            done = num_done / max(1, self._num_images)
            self._listener.on_step(stage, next_step, position.num_steps, done)
            if sums is not None:
                speed, seconds = rate.read(), time.perf_counter() - began
                for name, each in of_learner.items():
                    self._emit("step", each.name, **step_fields(each, name, next_step, sums),
                               gamma=method.gamma(position), images_per_second=speed,
                               seconds=seconds)  # fmt: skip
            faults.reached("step recorded")
            is_due = time.perf_counter() - saved > self._checkpoint_every
            is_due = self._stop.agree(crew.runtime, is_due=is_due)
            if next_step < position.num_steps:
                if self._stop.signal is not None:
                    save_state(next_step)
                    # A launcher ends the other ranks as soon as it sees the first one gone.
                    crew.runtime.barrier()
                    self._stop.check(f"`{self._go_on}` goes on from step "
                                     f"{next_step} of {stage.name}")  # fmt: skip
                elif is_due:
                    save_state(next_step)
                    saved = time.perf_counter()

        labels = None if stage.pseudo is None else self._folder.pseudo_labels(stage.pseudo)
        with closing(crew.task.batches(stage, labels, first_step)) as batches:
            fit(learners, method, batches, crew.runtime,
                tally=tally, scaler=scaler, after_step=after_step)  # fmt: skip
        self._num_done += stage.num_images
        trained = [learner.outcome for learner in learners.values()]
        refuse_unless_finite(trained, stage.fit.num_steps, stage.fit.num_steps, crew.runtime)
        for each, net in zip(members, trained, strict=True):
            self._keep(each, self._whole(each, net))
        for each in members:  # to each its share, so that they add up
            seconds = (time.perf_counter() - began) / len(members)
            self._emit("finished", each.name, seconds=seconds)
        if self._shared is not None:
            events = read_metrics(self._folder.path / METRICS)
            self._shared.put(stage, self._folder.weights(stage.name), events)

    def _keep(self, stage: TrainStage, net: nn.Module) -> None:
        faults.reached("validation begins")
        score = self._crew.task.validate(stage, net)
        faults.reached("validation done")
        if score is not None:
            self._emit(
                "evaluate",
                stage.name,
                round=stage.round,
                peer=stage.peer,
                split="val",
                metric=self._task.metric,
                **score._asdict(),
            )
        if self._crew.runtime.is_writer:
            assert isinstance(net, Network)
            path = self._folder.weights(stage.name)
            self._folder.make(path.parent)
            save(net, path, {"stage": stage.name})
        self._crew.runtime.barrier()

    def _label(self, stage: LabelStage) -> None:
        self._load_state(stage.name)  # cuts the record back to what is finished
        began = time.perf_counter()
        self._emit("started", stage.name, num_images=self._task.num_forward(stage))
        teacher, folder = self._network_of(stage.teacher), self._folder.pseudo_labels(stage.name)
        faults.reached("labeling begins")
        labeling = self._task.label(stage, teacher, folder, self._twin(stage))
        faults.reached("labeling done")
        likeness = labeling.likeness
        self._emit(
            "label", stage.name, round=stage.round, teacher=stage.peer, student=stage.student,
            label_fraction=stage.fraction, unit=labeling.unit, pool=labeling.num_pool,
            selected=labeling.num_selected,
            threshold=labeling.threshold, pseudo_label_accuracy=labeling.pseudo_label_accuracy,
            pool_accuracy=labeling.pool_accuracy,
            peer_agreement=likeness and likeness.agreement,
            peer_correlation=likeness and likeness.correlation,
            classes=[each.model_dump() for each in labeling.classes],
        )  # fmt: skip
        if self._task.num_checked(stage):
            other = None if stage.other is None else self._network_of(stage.other)
            found = self._task.detect_errors(stage, teacher, other, folder)
            self._emit("error_detection", stage.name, round=stage.round, teacher=stage.peer,
                       student=stage.student, other=stage.other, unit=labeling.unit,
                       **found.model_dump())  # fmt: skip
        self._emit("finished", stage.name, seconds=time.perf_counter() - began)

    def _network_of(self, name: str) -> Network:
        """The network that a stage trained."""
        return self.network(next(each for each in self._trained if each.name == name))

    def _twin(self, stage: LabelStage) -> Path | None:
        """Where the other peer's labels of this round are, if it labeled before."""
        before = self._stages[: self._stages.index(stage)]
        labeled = [each for each in before if isinstance(each, LabelStage)]
        same = [e.name for e in labeled if (e.fold, e.round) == (stage.fold, stage.round)]
        return self._folder.pseudo_labels(same[0]) if same else None

    def _load_state(self, stage: str) -> dict[str, Any] | None:
        """What is kept of a stage; the alarms learn what the record holds when it is cut back.

        Raises:
            RunError: a checkpoint is damaged, or a line of the record.
        """
        state = self._folder.load_state(stage)
        if not self._is_caught_up and self._folder.is_writer:
            path = self._folder.path / METRICS
            try:
                self._health.catch_up(read_metrics(path))
            except (KeyError, TypeError, ValueError) as error:
                raise RunError(
                    f"{path} holds a line that dmt did not write ({type(error).__name__}); put it "
                    "back as it was, or start a new run"
                ) from error
        self._is_caught_up = True
        return state

    def _emit(self, event: str, stage: str, **fields: Any) -> None:
        line = self._folder.record(event, stage, **fields)
        self._listener.on_event(line)
        if self._folder.is_writer:  # the only one that looked at what was said before
            for alarm in self._health.see(line):
                tell(self._folder, self._listener, alarm)
