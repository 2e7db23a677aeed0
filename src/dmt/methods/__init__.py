"""Ways to learn from a batch; which of them a stage uses is plain data in the stage."""

from dmt.engine.stage import TrainStage
from dmt.engine.step import Method, View
from dmt.methods.mutual import WeightedPseudoLabels

__all__ = ["make_method"]


def make_method(stage: TrainStage, view: View, num_classes: int) -> Method:
    """The method that trains a stage.

    Args:
        stage: its rule of weights and its mixup.
        view: the augmented copy of a batch that a student trains on.
        num_classes: K.
    """
    return WeightedPseudoLabels(
        view,
        num_classes,
        rule=stage.weighting.rule,
        agreement_gamma=stage.weighting.agreement_gamma,
        disagreement_gamma=stage.weighting.disagreement_gamma,
        has_ramp=stage.weighting.has_ramp,
        mixup=stage.fit.mixup,
        keep_max=stage.fit.keep_max,
        num_blocks=stage.fit.num_blocks,
    )
