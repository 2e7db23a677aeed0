"""Every setting, its meaning and default. Reading them from recipes and words is `config`'s.

Seen by `config` alone; who needs `Settings` asks there.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_default=True, allow_inf_nan=False)


class Training(_Group):
    """How one network is trained."""

    epochs: float | None = Field(
        None,
        gt=0,
        description="passes over the selected images (round 0: over the labeled ones), "
        "instead of a share of `steps`",
    )
    lr: float = Field(0.05, gt=0, description="learning rate at the start of a stage")
    lr_schedule: Literal["cosine", "poly", "constant"] = "cosine"
    warmup: int = Field(0, ge=0, description="steps over which the learning rate rises to lr")
    optimizer: Literal["sgd", "adamw"] = "sgd"
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(5e-4, ge=0)
    ema_decay: float = Field(
        0.999, ge=0, lt=1, description="share of history kept in the averaged weights; 0 = none"
    )
    mixup: float = Field(0.75, ge=0, description="Beta's parameter; 0 = no mixup")
    keep_max: bool = Field(True, description="λ ← max(λ, 1 − λ)")


class Initial(Training):
    """Round 0, on the given labels; also the baseline and the oracle."""

    share: float | None = Field(
        None, gt=0, lt=1, description="of `steps`, for round 0; null: as much as a later round"
    )


class Student(Training):
    """The rounds, on given and pseudo labels."""

    start: Literal["fresh", "continue"] = Field(
        "continue",
        description="begin a round from new weights or the peer's own (chain: fresh)",
    )
    lr_span: Literal["stage", "run"] = Field(
        "stage",
        description="whether the schedule restarts with every round, or peers follow one over "
        "round 0 and all rounds (student.lr_span; needs student.start=continue)",
    )
    labeled_share: float = Field(
        0.125, gt=0, le=1, description="share of labeled images in a batch of the rounds"
    )


def _parse_side(value: Any) -> Any:
    """A side, or height and width as a list or as words such as 256x512 and 256,512."""
    if isinstance(value, str) and (match := re.fullmatch(r"(\d+)\s*[x,×]\s*(\d+)", value.strip())):
        return int(match[1]), int(match[2])
    if isinstance(value, str):
        raise ValueError("give a side, or height and width such as 256x512")
    return (value, value) if isinstance(value, int) else value


def _parse_list(value: Any) -> Any:
    """One value, several behind commas, or a list."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return [value] if isinstance(value, int | float) else value


def _parse_range(value: Any) -> Any:
    """Lowest and highest, as a list or behind commas."""
    value = _parse_list(value)
    if isinstance(value, list) and len(value) != 2:
        raise ValueError("give two numbers, lowest and highest, such as 1,2")
    return value


def _parse_names(value: Any) -> Any:
    """As `_parse_list`; a name that reads as a number is a name all the same."""
    value = _parse_list(value)
    return [str(each) for each in value] if isinstance(value, list) else value


_Pixels = Annotated[int, Field(ge=16)]
Side = Annotated[tuple[_Pixels, _Pixels] | None, BeforeValidator(_parse_side)]
Names = Annotated[list[str], BeforeValidator(_parse_names)]
Dilations = Annotated[
    list[Annotated[int, Field(ge=1)]] | None, Field(min_length=1), BeforeValidator(_parse_list)
]


class Data(_Group):
    """What images become before a network sees them, and which are held out."""

    image_size: int | None = Field(None, ge=8, description="side in pixels; chosen if null")
    flip: bool = True
    shift: float = Field(0.125, ge=0, le=0.5, description="share of the side")
    scale: Annotated[tuple[float, float], BeforeValidator(_parse_range)] = Field(
        (1.0, 1.0), description="zoom range of a training view"
    )
    rotate: float = Field(0.0, ge=0, le=180, description="degrees, ±")
    fill: int | Literal["edge"] = Field("edge", description="what comes in from outside: 0–255")
    randaugment: int = Field(1, ge=0, description="operations a training view undergoes")
    magnitude: Annotated[tuple[int, int], BeforeValidator(_parse_range)] = Field(
        (1, 10), description="of 10, drawn for every image"
    )
    cutout: float = Field(0.0, ge=0, le=1, description="an extra cutout, share of the side")
    val_per_class: int = Field(0, ge=0, description="kept for validation when labels are hidden")
    hold_out: float = Field(
        0.2, gt=0, lt=1, description="share of the labels held out if there is no test/ or val/"
    )
    memory_limit: float = Field(
        4.0, ge=0, description="GB up to which the images are kept in memory on the device"
    )
    unlabeled: str | None = Field(
        None, description="more unlabeled images: a folder, a list, shards (docs/pools.md)"
    )
    large_pool: int = Field(
        1_000_000, ge=1, description="from so many images of `unlabeled` on their names stay on "
        "the disk, a sample is looked at before training, and the record tells them by shard",
    )  # fmt: skip
    shuffle_block: int | None = Field(
        None, ge=1, description="a pass takes blocks of so many neighbouring unlabeled images in "
        "turn, eight shuffled together, as slow disks like it; null: all are shuffled",
    )  # fmt: skip
    follow_links: bool = Field(
        False,
        description="follow links that leave the data folder; counts on the command line alone",
    )
    max_side: int | None = Field(
        None, ge=16, description="segmentation: larger images are brought down to this long side"
    )
    crop: Side = Field(
        None, description="segmentation: side, or height,width, of a training view; chosen if null"
    )
    photometric: float = Field(
        0.0, ge=0, le=1, description="segmentation: strength of brightness, contrast, saturation"
    )
    window: Side = Field(
        None, description="segmentation: label and judge by windows of this size; null: at once"
    )
    overlap: float = Field(0.5, ge=0, lt=1, description="share of a window that the next repeats")
    group: str | None = Field(
        None, description="segmentation: regular expression for the part of a path that names its "
        "film or place; images of one group belong together",
    )  # fmt: skip
    block: int | None = Field(
        None, ge=1, description="segmentation: so many consecutive images (of a group) are drawn, "
        "held out and judged together",
    )  # fmt: skip
    test_group: Names = Field([], description="segmentation: groups held out for the verdict")
    labeled_list: str | None = Field(
        None, description="segmentation: a text file; images it does not name lose their masks"
    )
    val_images: int = Field(
        0, ge=0, description="segmentation: kept for validation when masks are hidden"
    )


class Selection(_Group):
    """Which pseudo labels a round trains on."""

    kind: Literal["global", "class-balanced"] | None = Field(
        None, description="of all, or the same share of every predicted class; null: by class in "
        "a segmentation and in dmt-online, else of all",
    )  # fmt: skip
    fractions: Annotated[
        list[Annotated[float, Field(gt=0, le=1)]] | None,
        Field(min_length=1),
        BeforeValidator(_parse_list),
    ] = Field(None, description="label fraction of every round; null: 1/R, 2/R … 1")


class Weighting(_Group):
    """The exponents of the dynamic weights."""

    agreement_gamma: float = Field(4.0, ge=0)
    disagreement_gamma: float = Field(4.0, ge=0)
    ramp: bool = Field(True, description="γ · exp(−5 (1 − t/T)²) over a stage")


Unit = Annotated[float, Field(ge=0, le=1)]


class Online(_Group):
    """The methods that label at every step; null: the method's own (docs/methods.md)."""

    threshold: Unit | None = Field(
        None, description="confidence from which a label counts (online 0.9, fixmatch 0.95)"
    )
    unlabeled_weight: Annotated[float, Field(ge=0)] | None = Field(
        None, description="of the mean over unlabeled images beside the mean over labeled ones"
    )
    ramp: Unit | None = Field(
        None, description="share of the steps over which that weight rises, exp(−5 (1 − t)²)"
    )
    momentum: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        None, description="share of history kept in freematch's thresholds"
    )
    fairness: Annotated[float, Field(ge=0)] | None = Field(
        None, description="weight of freematch's fairness"
    )
    temperature: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="of mixmatch's sharpening"
    )
    views: Annotated[int, Field(ge=1)] | None = Field(
        None, description="of an image, over which mixmatch's guess is taken"
    )
    mixup: Annotated[float, Field(ge=0)] | None = Field(
        None, description="Beta's parameter of mixmatch's mixing; 0: none"
    )
    teacher: Literal["peer", "peer-average"] | None = Field(
        None, description="dmt-online: who labels; null: in a segmentation the peer's averaged "
        "weights, else the peer itself",
    )  # fmt: skip
    gamma_ramp: bool = Field(
        False, description="dmt-online: γ rises after round 0 as with weighting.ramp, which is "
        "for rounds that begin with a labeling",
    )  # fmt: skip
    randaugment: int = Field(2, ge=0, description="operations of the strong view")
    cutout: float = Field(0.5, ge=0, le=1, description="of the strong view, share of the side")
    photometric: float = Field(
        0.5, ge=0, le=1, description="segmentation: as data.photometric, of the strong view"
    )
    cutmix: float = Field(
        0.5, ge=0, le=1, description="segmentation: share of the strong views that get a box of "
        "another one",
    )  # fmt: skip


Positive = Annotated[float, Field(gt=0, le=1)]


class Peer(_Group):
    """What one peer has of its own; null: as its twin."""

    model: str | None = None
    weights: str | None = None
    mean: tuple[Unit, Unit, Unit] | None = Field(
        None, description="per channel in 0–1, in the network's order of channels; null: its own"
    )
    std: tuple[Positive, Positive, Positive] | None = None
    channel_order: Literal["rgb", "bgr"] = "rgb"


class Peers(_Group):
    """The two lasting models."""

    a: Peer = Peer()
    b: Peer = Peer()
    labeled_subset: Literal["all", "dms"] = Field(
        "all", description="dms: difference-maximised sampling of the labels for round 0"
    )


class Track(_Group):
    """Where figures go besides the run's folder."""

    to: Literal["none", "tensorboard", "mlflow", "wandb"] = Field(
        "none", description="each needs its extra, such as dmt[mlflow] (docs/tracking.md)"
    )


def _parse_budget(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|h|d)?", value.strip())
    if not match:
        raise ValueError("give a time such as 90s, 30m or 2h")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400, None: 1}[match[2]]


class Settings(_Group):
    """All settings of a run; `config.yaml` is this, resolved."""

    dataset: str | None = Field(None, description="DATA, as given on the command line")
    recipe: str | None = None
    method: Literal[
        "supervised", "self-training", "dst", "mutual", "naive", "flip", "dmt",
        "online", "mean-teacher", "fixmatch", "freematch", "cps", "mixmatch", "dmt-online",
    ] = "dmt"  # fmt: skip
    seed: int = Field(0, ge=0)
    out: str | None = Field(None, description="the run's folder; null: runs/<name>")
    budget: Annotated[float | None, BeforeValidator(_parse_budget)] = Field(
        None, gt=0, description="time for everything, such as 30m; chooses steps, size and model"
    )
    steps: int | None = Field(
        None, gt=0, description="optimizer steps of one peer in the whole run, round 0 included"
    )
    labels: Annotated[float, Field(gt=0)] | None = Field(
        None, description="hide all but this share (≤ 1) or number of labels, for experiments"
    )
    labels_per_class: int | None = Field(None, gt=0, description="hide all but this many a class")
    rounds: int = Field(5, ge=1)
    schedule: Literal["pair", "chain"] = "pair"
    model: str = Field(
        "auto", description="wrn_D_W, any timm classifier, package.module:factory; for a "
        "segmentation deeplab_v2:BACKBONE, ARCHITECTURE:ENCODER (unet:resnet34) or a factory",
    )  # fmt: skip
    aspp_dilations: Dilations = Field(
        None, description="of deeplab_v2; null: 6,12,18,24 (the authors' code in effect: 6,12)"
    )
    peers: Peers = Peers()
    weights: str = Field(
        "none", description="none, pretrained, auto (pretrained where it can be had), or a file"
    )
    init_from: str | None = Field(
        None, description="a finished run whose peers round 0 begins from; same classes and models"
    )
    baseline: Literal["equal", "pair", "round0", "none"] = Field(
        "equal", description="what is trained on the labels alone, to compare with"
    )
    oracle: bool = Field(False, description="also train on all labels, hidden ones included")
    folds: int = Field(0, ge=0, description="judge on all labels by this many runs; 0 = off")
    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    workers: int | None = Field(
        None, ge=0, description="threads that decode; null: as many as cores"
    )
    batch_size: int = Field(128, ge=2)
    batch_blocks: int = Field(
        8, ge=1, description="equal blocks of a batch that mixup stays in; ranks take whole ones, "
        "so there may be as many ranks",
    )  # fmt: skip
    sync_batch_norm: bool = Field(
        False, description="BatchNorm over the batch of all ranks instead of each rank's; CUDA"
    )
    shard: bool = Field(
        False,
        description="ranks: weights, gradients, optimizer and average of a network in training lie "
        "in parts on them (FSDP2), for networks that one GPU cannot train",
    )
    rank_timeout: float = Field(
        600.0, gt=0, description="seconds that a rank waits for another before it gives up"
    )
    go_on: bool = Field(
        False, description="with out=: go on with the run there if it began by the same command, "
        "for launchers that start a command again",
    )  # fmt: skip
    parallel_peers: bool = Field(
        False,
        description="train both peers of a round side by side, each by half of the ranks; without "
        "ranks in two processes with half the threads each, or on two GPUs",
    )
    checkpoint_every: float = Field(300.0, gt=0, description="seconds")
    bad_images: Literal["stop", "skip"] = "stop"
    allow_unlabeled_classes: bool = Field(
        False, description="segmentation: go on though a class occurs in no labeled mask"
    )
    trust_code: bool = Field(
        False,
        description="run a factory that only a file names; counts on the command line alone",
    )
    initial: Initial = Initial()
    student: Student = Student()
    data: Data = Data()
    selection: Selection = Selection()
    weighting: Weighting = Weighting()
    online: Online = Online()
    track: Track = Track()
