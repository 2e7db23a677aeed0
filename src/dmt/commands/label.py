"""`dmt label`: words in, sentences out. The work: `labeling`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from dmt.commands.options import FOLLOW_LINKS, Debug, Json, RunPath, Words, read_options
from dmt.commands.printing import print_json, say
from dmt.errors import SettingError

app = typer.Typer()


@app.command()
def label(
    run: RunPath,
    pool: Annotated[
        str,
        typer.Argument(
            help="A folder of images, a list of them (.txt, .csv), tar shards or Parquet: a file, "
            "a folder, a pattern such as pool-{000..099}.tar, or an address such as s3://…"
        ),
    ],
    settings: Words = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Label a pool of any size with a run's model, into Parquet; the same command goes on.

    out=FOLDER (default: labels) gets part-000000.parquet … with key, label, class, confidence,
    each peer's label and confidence and their disagreement; of a segmentation the mask's file.
    Under a launcher (torchrun, srun, or RANK and WORLD_SIZE), process i of N labels every N-th
    shard; they need not talk to each other.
    Settings: bad_images=skip, device=, workers=, shard_size=10000 (images of a part, where the
    pool has no shards), image= and key= (columns of Parquet), trust_code=true,
    data.follow_links=true.
    """
    from dmt.data.pools.parquet_shards import Columns
    from dmt.inference.labeling import label_pool, ranks_here

    known: dict[str, Any] = {"out": "labels", "device": "auto", "bad_images": "stop"}
    known |= {"shard_size": "10000", "workers": None, "image": None, "key": None}
    options = read_options(settings or [], {**known, "trust_code": False, FOLLOW_LINKS: False})
    ranks = ranks_here()
    prefix = "dmt: " if ranks.num == 1 else f"dmt, rank {ranks.rank}: "
    workers = options["workers"]
    found = label_pool(
        run,
        pool,
        out=options["out"],
        device=options["device"],
        bad_images=options["bad_images"],
        shard_size=_number("shard_size", options["shard_size"]),
        columns=Columns(options["image"], options["key"]),
        workers=None if workers is None else _number("workers", workers),
        trust_code=options["trust_code"],
        follow_links=options[FOLLOW_LINKS],
        say=lambda text: say(prefix + text),
    )
    if as_json:
        return print_json({"run": str(run), "out": options["out"], **found._asdict()})
    left_out = f", {found.num_left_out:,} left out" if found.num_left_out else ""
    say(
        f"{prefix}{found.num_images:,} images labeled{left_out}; {found.num_done:,} of "
        f"{found.num_shards:,} shards are in {options['out']}"
    )
    return None


def _number(key: str, text: str) -> int:
    if not text.isdecimal():
        raise SettingError(f"{key}={text} does not work; give a whole number")
    return int(text)
