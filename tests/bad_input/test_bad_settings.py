"""Settings that cannot be used: the sentence names the key, the value and what would do instead."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from spoiling import named, refused_untouched

from commands import call, refused
from tiny_scenes import WORDS, words_with

_FIXED = ("steps=4", "rounds=1", "model=wrn_10_1", "batch_size=16")

# Words beside DATA, with one blank between two of them, and what the sentence then holds.
DIGITS = (
    ("methd=dmt", "unknown setting 'methd'; did you mean method?"),
    ("student.lrr=1", "unknown setting 'student.lrr'; did you mean student.lr?"),
    ("METHOD=dmt", "unknown setting 'METHOD'"),
    ("student..lr=1", "unknown setting 'student..lr'"),
    (".lr=1", "unknown setting '.lr'"),
    ("method=dtm", "method=dtm does not work: input should be"),
    ("schedule=pear", "schedule=pear does not work"),
    ("seed=-1", "seed=-1 does not work"),
    ("seed=x", "seed=x does not work"),
    ("seed=1.5", "seed=1.5 does not work"),
    ("seed=2024-01-01", "seed=2024-01-01 does not work"),
    ("seed=2024-99-99", "seed='2024-99-99' does not work"),
    ("seed=[1,2]", "seed=[1, 2] does not work"),
    ("seed={a:1}", "seed"),
    ("seed=!!python/object/apply:os.getcwd[]", "seed="),
    ("seed=&a[*a]", "seed="),
    ("steps=0", "steps=0 does not work"),
    ("steps=1e400", "steps=1e400 does not work"),
    ("batch_size=1", "batch_size=1 does not work"),
    ("workers=-1", "workers=-1 does not work"),
    ("oracle=perhaps", "oracle=perhaps does not work"),
    ("checkpoint_every=0", "checkpoint_every=0 does not work"),
    ("checkpoint_every=.nan", "checkpoint_every=.nan does not work"),
    ("student.lr=.inf", "student.lr=.inf does not work"),
    ("student.lr=-1", "student.lr=-1 does not work"),
    ("budget=soon", "budget=soon does not work: give a time such as 90s, 30m or 2h"),
    ("budget=-3m", "budget=-3m does not work"),
    ("selection.fractions=[]", "selection.fractions=[] does not work"),
    ("selection.fractions=[2]", "selection.fractions"),
    ("selection.fractions=[0.5,1]", "for rounds=1"),
    ("student=3", "'student' is a group of settings"),
    ("student.lr.x=3", "unknown setting 'student.lr.x'"),
    ("foo", "'foo' is not a setting; write key=value"),
    ("=3", "'=3' is not a setting; write key=value"),
    ("recipe=digitz", "there is no recipe or file 'digitz'; did you mean digits?"),
    ("recipe=qqqq", "`dmt recipes` lists them"),
    ("recipe=/dev/null", "there is no recipe or file '/dev/null'"),
    ("weights=nonsense", "weights=nonsense is no file; give none, pretrained, auto"),
    ("weights=pretrained", "there are no pre-trained weights of wrn_10_1"),
    ("weights=.", "weights=. is no file"),
    ("peers.b.weights=nonsense", "peers.b.weights=nonsense is no file; give none"),
    ("init_from=runs/x", "init_from=runs/x does not work: runs/x is no run"),
    ("parallel_peers=true method=cps", "parallel_peers=true is for two peers in rounds that begin"),
    ("track.to=wandbb", "did you mean wandb?"),
    ("device=gpu", "device=gpu is no device; use auto, cpu, cuda"),
    ("device=meta", "device=meta is not supported"),
    ("device=cuda:x", "device=cuda:x"),
    ("device=", "device=null does not work"),
    ("precision=fp16 device=cpu", "precision=fp16 is not for the CPU"),
    ("precision=fp8", "precision=fp8 does not work"),
    ("labels_per_class=5000", "labels_per_class=5000 wants 5000 labels of class '0'"),
    ("labels=50000", "labels=50000 must lie between 10"),
    ("labels=20.5", "labels=20.5 must be a share up to 1 or a whole number"),
    ("labels=100 labels_per_class=3", "exclude each other: give one"),
    ("data.val_per_class=500", "500 more are wanted by val_per_class"),
    ("folds=1", "folds=1 must lie between 2 and the 40 labeled images"),
    ("folds=41", "folds=41 must lie between 2 and the 40 labeled images"),
    ("folds=2 labels_per_class=1", "folds=2 needs two labeled images of every class"),
    ("data.scale=[2,1]", "scale"),
    ("data.image_size=4", "data.image_size=4 does not work"),
    ("data.crop=64", "data.crop is for segmentation"),
    ("model=wrn_11_1", "take wrn_10_1 or wrn_16_1"),
    ("peers.b.model=wrn_11_1", "take wrn_10_1 or wrn_16_1"),
    ("model=nowhere_at_all:build", "model=nowhere_at_all:build cannot be imported"),
    ("model=math:pi", "names no function but a float"),
    ("model=builtins:dict", "must return a torch.nn.Module, not dict"),
    ("model=", "model"),
    ("model=:", "no model is called ':'"),
    ("budget=1s", "budget=1s is too short"),
    ("peers.b.model=wrn_10_1 method=supervised", "peers.b is set, but method=supervised"),
    ("student.lr_span=run student.start=fresh", "student.lr_span=run needs"),
    ("oracle=true folds=2", "oracle=true is not judged with folds"),
    ("method=fixmach", "did you mean fixmatch?"),
    ("method=dmt_online", "did you mean dmt-online?"),
    ("method=cps schedule=chain", "and method=cps labels at every step; leave it out"),
    ("method=cps peers.labeled_subset=dms", "method=cps shows both peers the same batches"),
    ("method=fixmatch baseline=round0", "method=fixmatch labels at every step; set baseline=equal"),
    ("method=fixmatch baseline=pair", "baseline=pair is for a pair of peers"),
    ("method=mean-teacher student.ema_decay=0", "set student.ema_decay above 0"),
    ("method=dmt-online weighting.ramp=true", "set online.gamma_ramp"),
    ("method=mutual schedule=chain", "is self-training under another name"),
    ("method=dst schedule=chain", "is dmt under another name"),
    ("steps=1:30", "steps='1:30' does not work"),
    ("method=fixmatch online.mixup=0.5", "online.mixup means nothing to method=fixmatch"),
    ("method=cps online.threshold=0.9", "online.threshold means nothing to method=cps"),
    ("method=cps online.gamma_ramp=true", "online.gamma_ramp means nothing to method=cps"),
    ("method=online online.cutout=0", "online.cutout means nothing to method=online"),
    (
        "method=dmt-online online.teacher=peer-average student.ema_decay=0",
        "online.teacher=peer-average is of averaged weights; set student.ema_decay above 0",
    ),
    ("method=dmt-online student.start=fresh", "student.start=fresh is for rounds that begin"),
    ("method=cps online.teacher=peer", "online.teacher means nothing to method=cps"),
    ("method=cps selection.kind=global", "selection.kind means nothing to method=cps"),
    ("online.threshold=0.9", "methods that label at every step (online, mean-teacher, fixmatch"),
    ("method=fixmatch online.threshold=2", "online.threshold=2 does not work"),
    ("method=fixmatch online.cutmix=1", "online.cutmix is for segmentation"),
)


@pytest.mark.parametrize(("words", "part"), DIGITS)
def test_a_setting_is_refused(words: str, part: str, here: Path) -> None:
    fixed = () if "budget" in words else _FIXED
    refused_untouched("train", ["digits", *fixed, *words.split(" "), "out=run"], part)


SCENES = (
    ("labels_per_class=3", "labels_per_class is for images with one label each"),
    ("method=mixmatch", "is a segmentation; there are supervised, self-training"),
    ("online.randaugment=1", "online.randaugment is for images with one label each"),
    ("data.randaugment=1", "data.randaugment is for images with one label each"),
    ("data.crop=axb", "data.crop=axb does not work: give a side, or height and width"),
    ("data.crop=0", "data.crop"),
    ("data.crop=[32,32,32]", "data.crop"),
    ("data.window=8", "data.window"),
    ("data.overlap=0.5", "data.overlap is of windows; set data.window="),
    ("data.group=(", "data.group"),
    ("data.group=zzz", "data.group"),
    ("data.test_group=zzz", "data.test_group"),
    ("data.labeled_list=absent.txt", "absent.txt"),
    ("data.val_images=3", "val_images"),
    ("labels=0", "labels=0 does not work"),
    ("labels=99", "labels=99"),
    ("model=deeplab_v2:nothing", "deeplab_v2:nothing"),
    ("model=wrn_10_1", "wrn_10_1"),
    ("model=deeplab_v2:wrn_10_1:6-x", "deeplab_v2:wrn_10_1:6-x"),
    ("model=unet:wrn_10_1", "unet:wrn_10_1"),
    ("aspp_dilations=6,12", "aspp_dilations is for model=deeplab_v2:BACKBONE without"),
)


@pytest.mark.parametrize(("word", "part"), SCENES)
def test_a_setting_of_scenes_is_refused(word: str, part: str, scenes: Path, here: Path) -> None:
    words = [scenes, *words_with(word), "out=run"]
    refused_untouched("train", words, part, beside=scenes)


# Values that must not reach the terminal as they are, or fill it.
AWKWARD = (
    "seed=a\nb",
    "seed=\x1b[31mred",
    "seed=a\tb\r",
    "seed='quoted' and \"quoted\"",
    "seed=" + "long words " * 200,
    "seed=" + "9" * 5000,
    "seed=" + "[" * 5000,
    "seed=" + "{a: " * 300,
    "a\nb=3",
    "\x1b[2J=3",
    "k" * 5000 + "=3",
    "no equals sign\n here",
    "budget=" + "9" * 400 + "d",
    'data.scale=["\\e[31m", 1]',
    "recipe=a\nb",
    "weights=a\nb",
    "model=a\nb",
    "model=a\nb:c",
    "device=\x1b[31m",
    "peers.a.weights=\x1b[31m",
    "method=\u202eabc",
    "seed=\ud800",
)


@pytest.mark.parametrize("word", AWKWARD, ids=lambda word: ascii(word)[1:40])
def test_a_sentence_stays_one_short_line(word: str, here: Path) -> None:
    sentence = refused_untouched("train", ["digits", *_FIXED, word, "out=run"])
    assert len(sentence) < 700


OTHER_COMMANDS = (
    ("nonsense", (), "No such command 'nonsense'"),
    ("train", (), "Missing argument"),
    ("train", ("digits", "--epochs", "3"), "No such option"),
    ("check", ("digits", "digits"), "'digits' is no setting"),
    ("demo", ("letters",), "there is no demo 'letters'; there are digits and shapes"),
    ("recipes", ("digitz",), "did you mean digits?"),
    ("resume", ("x", "seed=1"), "unknown setting 'seed'"),
    ("resume", ("x", "trust_code=yes"), "trust_code=yes does not work; trust_code takes true"),
    ("evaluate", ("x", "digits", "devic=cpu"), "did you mean device?"),
    ("resume", ("x", "trust_code"), "trust_code takes true or false"),
    ("evaluate", ("x", "digits", "3"), "'3' is no setting; there is device, trust_code"),
)


@pytest.mark.parametrize(("command", "words", "part"), OTHER_COMMANDS)
def test_words_of_other_commands(
    command: str, words: tuple[str, ...], part: str, here: Path
) -> None:
    refused_untouched(command, words, part)


class Recipe(NamedTuple):
    """What a recipe file holds, and what the sentence then holds."""

    name: str
    content: bytes
    part: str


RECIPES = (
    Recipe("not text", b"\xff\xfe", "cannot be read as UTF-8 text"),
    Recipe("not YAML", b"a: [", "is not YAML"),
    Recipe("a list", b"- a\n", "must be a mapping of settings"),
    Recipe("a word", b"digits\n", "must be a mapping of settings"),
    Recipe("nothing", b"", "must be a mapping of settings"),
    Recipe("two documents", b"seed: 1\n---\nseed: 2\n", "is not YAML"),
    Recipe("an unknown key", b"methd: dmt\n", "mine.yaml; did you mean method?"),
    Recipe("keys that are numbers", b"1: 2\n", "unknown setting '1'"),
    Recipe("keys that are lists", b"? [1, 2]\n: 3\n", "is not YAML"),
    Recipe("code", b"seed: !!python/object/apply:os.getcwd []\n", "is not YAML"),
    Recipe("a type without a value", b"seed: !!timestamp x\n", "line 1: a type is named"),
    Recipe("a file with a zero byte", b'weights: "a\\0b"\n', "weights='a\\x00b' holds a zero byte"),
    Recipe("a file that is not UTF-8", b'weights: "\\ud800"\n', "is not valid UTF-8"),
    Recipe("an impossible date", b"seed: 2024-99-99\n", "mine.yaml"),
    Recipe("a number without end", b"seed: " + b"9" * 5000, "mine.yaml"),
    Recipe("brackets without end", b"seed: " + b"[" * 5000, "mine.yaml"),
    Recipe("groups without end", b"{student: " * 2000, "mine.yaml"),
    Recipe("a ring", b"student: &a\n  x: *a\n", "line 2: *a refers to another value"),
    Recipe("a ring of lists", b"seed: &a [*a]\n", "line 1: *a refers to another value"),
    Recipe(
        "ten thousand million settings",
        b"a0: &a0 {x: 1}\n"
        + b"".join(b"a%d: &a%d {p: *a%d, q: *a%d, r: *a%d}\n" % (i, i, i - 1, i - 1, i - 1)
                   for i in range(1, 22)),
        "line 2: *a0 refers to another value",
    ),
    Recipe("a value that does not fit", b"student: {lr: much}\n", "mine.yaml does not work"),
    Recipe("a group that is a number", b"student: 3\n", "mine.yaml is a group of settings"),
    Recipe("a zero byte", b"seed: 1\0\n", "is not YAML"),
    Recipe("a recipe of a recipe", b"recipe: digits\nseed: x\n", "mine.yaml does not work"),
)  # fmt: skip


@pytest.mark.parametrize("case", RECIPES, ids=named)
def test_a_recipe_file_is_refused(case: Recipe, tmp_path: Path, here: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_bytes(case.content)
    words = ["digits", *_FIXED, f"recipe={recipe}", "out=run"]
    sentence = refused_untouched("train", words, case.part)
    assert (
        "mine.yaml" in sentence
        or "setting" in sentence
        or "weights=" in sentence
        or ("does not work" in sentence)
    )
    assert len(sentence) < 700
    assert recipe.read_bytes() == case.content


def test_device_that_is_not_there(here: Path) -> None:
    absent = f"cuda:{torch.cuda.device_count() if torch.cuda.is_available() else 0}"
    refused_untouched("train", ["digits", f"device={absent}", "out=x"], f"device={absent} is not")


def test_own_word_displaces_the_recipes() -> None:
    """The default recipe of digits has labels_per_class and steps; the person named others."""
    assert call("train", "digits", "labels=100", "--print-config").code == 0
    printed = call("train", "digits", "budget=5m", "--print-config").out
    assert "steps: null" in printed


OUTS = (
    ("file/run", "cannot make the folder file/run"),
    ("file", "give another with out="),
    ("x" * 300, "cannot make the folder"),
    ("a\0b", "holds a zero byte"),
    ("\udcff", "is not valid UTF-8"),
    ("/proc/run", "cannot make the folder /proc/run"),
)


@pytest.mark.parametrize(("out", "part"), OUTS, ids=lambda value: ascii(value)[1:20])
def test_a_folder_that_cannot_be_made(out: str, part: str, here: Path) -> None:
    (here / "file").write_text("mine")
    refused("train", ["digits", *_FIXED, f"out={out}"], part)
    assert os.listdir(here) == ["file"]
    assert (here / "file").read_text() == "mine"


def test_traceback_only_with_debug() -> None:
    outcome = call("check", "nowhere", "--debug")
    assert outcome.code == 2
    assert "Traceback" in outcome.err
    assert outcome.sentence.startswith("dmt: there is no nowhere")


def test_words_of_scenes_are_as_they_should_be(scenes: Path, here: Path) -> None:
    """The words that the cases above add theirs to are refused for nothing else."""
    assert call("train", scenes, *WORDS, "--print-config").code == 0
