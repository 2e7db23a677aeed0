"""What the pages of a board show: its entries sorted into leaderboards, methods and papers.

No HTML and no files.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dmt.insight.board.entries import Entry
from dmt.insight.board.store import Contents
from dmt.insight.board.values import is_lower_better, text, web_address, year


@dataclass(frozen=True)
class Link:
    """A name and an address outside, which is of http or https."""

    title: str
    url: str


@dataclass
class Paper:
    """A paper and the results that name it. `facts` is what dmt knows of it, often nothing."""

    slug: str
    title: str
    url: str | None
    date: str
    facts: Mapping[str, Any]
    results: list[Result] = field(default_factory=list)

    @property
    def code(self) -> list[Link]:
        """Links to code in its results, each once."""
        found = (link for result in self.results for link in result.code)
        return list({link.url: link for link in found}.values())


@dataclass(frozen=True)
class Result:
    """One value of one entry on its leaderboard."""

    entry: Entry
    metric: str
    shown: str
    value: float
    rank: int
    board: Leaderboard
    paper: Paper | None

    @property
    def kind(self) -> str:
        """`measured` by a run that this board has checked, or `claimed`."""
        return "measured" if self.entry.is_measured else "claimed"

    @property
    def date(self) -> str:
        """Of the run, or of the paper that the row names; empty if neither is known."""
        run = self.entry.row.get("run")
        if self.entry.is_measured and isinstance(run, dict):
            return text(run.get("date"))
        return text(self.entry.row.get("paper_date"))

    @property
    def year(self) -> float | None:
        """The date in years."""
        return year(self.date)

    @property
    def run_id(self) -> str | None:
        """Names the page of the run behind a measured value."""
        return str(self.entry.row["run"]["id"]) if self.entry.is_measured else None

    @property
    def note(self) -> str:
        """What the row says of itself."""
        return text(self.entry.row.get("note"))

    @property
    def source(self) -> Link | None:
        """Where the figure was found, if not in the paper of the row."""
        source = self.entry.row.get("source")
        if not isinstance(source, dict) or not text(source.get("title")):
            return None
        return Link(text(source["title"]), web_address(source.get("url")) or "")

    @property
    def has_more_data(self) -> bool:
        """Whether other data than the data set's were trained on."""
        return self.entry.row.get("uses_additional_data") is True

    @property
    def code(self) -> list[Link]:
        """Links to code and models."""
        found = links(self.entry.row.get("code_links"), "code")
        return found + links(self.entry.row.get("model_links"), "model")


@dataclass
class Leaderboard:
    """All values of one metric on one data set of one task, the best first."""

    slug: str
    task: str
    dataset: str
    metric: str
    lower: bool
    results: list[Result] = field(default_factory=list)

    def best(self, kind: str) -> Result | None:
        """The best value that is claimed, or measured."""
        return next((each for each in self.results if each.kind == kind), None)


@dataclass
class Method:
    """A model's name and everything it reached."""

    name: str
    slug: str
    results: list[Result] = field(default_factory=list)


@dataclass
class Group:
    """A task or a data set with its leaderboards."""

    name: str
    slug: str
    description: str = ""
    links: list[Link] = field(default_factory=list)
    boards: list[Leaderboard] = field(default_factory=list)


@dataclass
class Site:
    """Everything that is shown, each list in the order of the pages."""

    boards: list[Leaderboard]
    tasks: list[Group]
    datasets: list[Group]
    methods: list[Method]
    papers: list[Paper]

    def boards_of(self, task: str, dataset: str) -> list[Leaderboard]:
        """The leaderboards of one data set of one task, by metric."""
        return self._by_dataset.get((task, dataset), [])

    def dataset(self, name: str) -> Group:
        """The data set of this name."""
        return self._datasets[name]

    def task(self, name: str) -> Group:
        """The task of this name."""
        return self._tasks[name]

    def count(self, kind: str) -> int:
        """How many values are claimed, or measured."""
        return sum(each.kind == kind for board in self.boards for each in board.results)

    def __post_init__(self) -> None:
        """Sort for looking up: there may be ten thousands of leaderboards."""
        self._tasks = {each.name: each for each in self.tasks}
        self._datasets = {each.name: each for each in self.datasets}
        self._by_dataset: dict[tuple[str, str], list[Leaderboard]] = defaultdict(list)
        for board in self.boards:
            self._by_dataset[board.task, board.dataset].append(board)


_UNKNOWN: Mapping[str, Any] = {"title": None, "authors": [], "venue": None, "summary": None}


def links(value: Any, fallback: str) -> list[Link]:
    """The links in a list of {title, url}; addresses that are none are left out."""
    found = []
    for each in value if isinstance(value, list) else []:
        url = web_address(each.get("url")) if isinstance(each, dict) else None
        if url is not None:
            found.append(Link(text(each.get("title")) or fallback, url))
    return found


def slug_of(*names: str) -> str:
    """A file name for names: their letters, and a hash so that no two are the same."""
    words = re.sub(r"[^a-z0-9]+", "-", names[-1].lower()).strip("-")[:40].rstrip("-")
    digest = hashlib.sha256("\0".join(names).encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{words}-{digest}" if words else digest


def arrange(contents: Contents, known_papers: Sequence[Mapping[str, Any]]) -> Site:
    """Sort a board's entries.

    Args:
        contents: of the board.
        known_papers: title, url, date, authors, venue, summary and code of papers.
    """
    papers = _papers(contents.entries, known_papers)
    groups: dict[tuple[str, str, str], list[Entry]] = defaultdict(list)
    for entry in contents.entries:
        for metric in entry.values:
            groups[entry.task, entry.dataset, metric].append(entry)
    boards = [_board(key, entries, papers) for key, entries in groups.items()]
    methods: dict[str, Method] = {}
    tasks: dict[str, Group] = {name: _task(name, contents) for name in contents.tasks}
    datasets: dict[str, Group] = {}
    for (task, name), table in contents.datasets.items():
        group = datasets.setdefault(name, Group(name, slug_of("dataset", name)))
        group.description = group.description or text(table.get("description"))
        group.links = group.links or links(table.get("dataset_links"), name)
        tasks.setdefault(task, _task(task, contents))
    for board in boards:
        tasks[board.task].boards.append(board)
        datasets[board.dataset].boards.append(board)
        for result in board.results:
            name = result.entry.model
            method = methods.setdefault(name.casefold(), Method(name, slug_of("method", name)))
            method.results.append(result)
            if result.paper is not None:
                result.paper.results.append(result)
    return Site(
        boards=boards,
        tasks=[each for each in tasks.values() if each.boards],
        datasets=[each for each in datasets.values() if each.boards],
        methods=sorted(methods.values(), key=lambda method: method.name.casefold()),
        papers=sorted(papers.values(), key=lambda paper: (paper.date, paper.title), reverse=True),
    )


def _board(
    key: tuple[str, str, str], entries: Sequence[Entry], papers: Mapping[str, Paper]
) -> Leaderboard:
    task, dataset, metric = key
    board = Leaderboard(slug_of(task, metric, dataset), *key, lower=is_lower_better(metric))
    sign = 1 if board.lower else -1
    ordered = sorted(entries, key=lambda entry: sign * entry.values[metric][1])
    rank = 0
    for place, entry in enumerate(ordered, 1):
        shown, value = entry.values[metric]
        if place == 1 or value != board.results[-1].value:
            rank = place
        paper = papers.get(_paper_key(entry.row))
        board.results.append(Result(entry, metric, shown, value, rank, board, paper))
    return board


def _task(name: str, contents: Contents) -> Group:
    table = contents.tasks.get(name, {})
    return Group(name, slug_of("task", name), text(table.get("description")))


def _papers(
    entries: Sequence[Entry], known_papers: Sequence[Mapping[str, Any]]
) -> dict[str, Paper]:
    known = {_without_version(each["url"]): each for each in known_papers}
    papers: dict[str, Paper] = {}
    for entry in entries:
        key = _paper_key(entry.row)
        if not key or key in papers:
            continue
        url = web_address(entry.row.get("paper_url"))
        facts = {**_UNKNOWN, **known.get(key, {})}
        title = text(entry.row.get("paper_title")) or text(facts.get("title")) or key
        date = text(entry.row.get("paper_date"))
        papers[key] = Paper(slug_of("paper", key, title), title, url, date, facts)
    return papers


def _paper_key(row: Mapping[str, Any]) -> str:
    """What two rows of one paper share: its address without the version, else its title."""
    return _without_version(text(row.get("paper_url"))) or text(row.get("paper_title")).casefold()


def _without_version(url: str) -> str:
    return re.sub(r"^https?://(?:www\.)?|(?<=\d)v\d+$|/$", "", url)
