"""Ways to learn from a batch; which of them a stage uses is plain data in the stage."""

from functools import partial

from dmt.engine.runner import MakeMethod
from dmt.engine.runtime import Runtime
from dmt.engine.stage import TrainStage
from dmt.engine.step import Method, View, Views
from dmt.engine.task import Task
from dmt.methods.mixmatch import MixMatch
from dmt.methods.mutual import WeightedPseudoLabels
from dmt.methods.online import OnlinePseudoLabels

__all__ = ["make_method", "methods_of"]


def methods_of(task: Task, runtime: Runtime) -> MakeMethod:
    """What makes the method of each stage of a run.

    Args:
        task: whose views and classes.
        runtime: for what a method sums over ranks.
    """
    return partial(
        make_method,
        view=task.view,
        views=task.views,
        num_classes=len(task.classes),
        runtime=runtime,
    )


def make_method(
    stage: TrainStage, view: View, views: Views, num_classes: int, runtime: Runtime
) -> Method:
    """The method that trains a stage.

    Args:
        stage: its rule of weights and its mixup, or how it labels for itself.
        view: the augmented copy of a batch that a student trains on.
        views: a weak and a strong copy of unlabeled samples.
        num_classes: K.
        runtime: for what a method sums over ranks, and how many share a batch.
    """
    online, spec = stage.online, stage.fit
    if online is None:
        return WeightedPseudoLabels(
            view,
            num_classes,
            rule=stage.weighting.rule,
            agreement_gamma=stage.weighting.agreement_gamma,
            disagreement_gamma=stage.weighting.disagreement_gamma,
            has_ramp=stage.weighting.has_ramp,
            mixup=spec.mixup,
            keep_max=spec.keep_max,
            num_blocks=spec.num_blocks,
            num_ranks=runtime.world_size,
        )
    if online.kind == "mixmatch":
        assert online.views is not None
        assert online.temperature is not None
        assert online.mixup is not None
        return MixMatch(
            view,
            views,
            num_classes,
            num_views=online.views,
            temperature=online.temperature,
            unlabeled_weight=online.unlabeled_weight or 0.0,
            ramp_share=online.ramp or 0.0,
            mixup=online.mixup,
            num_blocks=spec.num_blocks,
            num_ranks=runtime.world_size,
        )
    return OnlinePseudoLabels(
        view, views, num_classes, online, stage.weighting, runtime, len(stage.together)
    )
