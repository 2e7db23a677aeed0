// What a board's pages do beyond standing there: search, filter, sort. The theme is report.js.
"use strict";
(() => {
  const words = (text) => text.toLowerCase().split(/\s+/).filter(Boolean);
  const count = (num) => String(num).replace(/\B(?=(\d{3})+$)/g, "\u202f");

  // Start page: every word must be in an entry; names that begin with the first word come first.
  const query = document.getElementById("query");
  if (query) {
    document.getElementById("search").hidden = false;
    const index = JSON.parse(document.getElementById("index").textContent)
      .map((entry) => [entry, entry.slice(0, 3).join(" ").toLowerCase()]);
    const list = document.getElementById("found");
    const hits = document.getElementById("hits");
    const show = () => {
      const asked = words(query.value);
      list.replaceChildren();
      hits.textContent = "";
      if (!asked.length) return;
      const found = index.filter(([, text]) => asked.every((word) => text.includes(word)));
      const starts = ([entry]) => entry[1].toLowerCase().startsWith(asked[0]);
      const ordered = [...found.filter(starts), ...found.filter((entry) => !starts(entry))];
      for (const [[kind, name, more, page]] of ordered.slice(0, 40)) {
        const item = document.createElement("li");
        const link = document.createElement("a");
        const [what, rest] = [document.createElement("span"), document.createElement("small")];
        what.textContent = kind;
        link.textContent = name;
        link.href = page;
        rest.textContent = more;
        item.append(what, link, rest);
        list.append(item);
      }
      hits.textContent = found.length > 40 ? `${count(found.length)} found, the first 40 shown` : `${count(found.length)} found`;
      if (!found.length) {
        const item = document.createElement("li");
        item.textContent = "Nothing found";
        list.append(item);
      }
    };
    query.addEventListener("input", show);
    show();
    addEventListener("keydown", (event) => {
      if (event.key === "/" && document.activeElement !== query) { event.preventDefault(); query.focus(); }
    });
  }

  // How tall a body of a hundred rows is about, for the scroll bar; without any it is not there.
  const measure = (body) => {
    let num = 0;
    for (const row of body.rows) num += !row.hidden;
    body.style.setProperty("--rows", num);
    body.hidden = !num;
  };

  const tools = document.querySelector(".tools");
  const items = [...document.querySelectorAll(".ranking tbody tr, .item")];
  if (tools && items.length) {
    tools.hidden = false;
    const input = tools.querySelector(".filter");
    const { noun } = tools.dataset;
    const status = tools.querySelector(".count");
    const kinds = [...tools.querySelectorAll("[data-kind]")];
    let texts = null; // read once it is needed: ten thousand rows take a moment
    let kind = "";
    let waiting = 0;
    const bodies = document.querySelectorAll(".ranking tbody");
    // of a row all but its rank, whose digits nobody looks for
    const textOf = (item) => (item.cells ? [...item.cells].slice(1).map((cell) => cell.textContent).join(" ") : item.textContent);
    const filter = () => {
      waiting = 0;
      texts ??= new Map(items.map((item) => [item, textOf(item).toLowerCase()]));
      const asked = words(input.value);
      let num = 0;
      for (const item of items) {
        const isShown = (!kind || item.classList.contains(kind)) && asked.every((word) => texts.get(item).includes(word));
        num += isShown;
        if (item.hidden === isShown) item.hidden = !isShown;
      }
      for (const body of bodies) measure(body);
      status.textContent = num === items.length ? `${count(num)} ${noun}` : `${count(num)} of ${count(items.length)} ${noun}`;
    };
    const soon = () => { waiting ||= requestAnimationFrame(filter); };
    input.addEventListener("input", soon);
    for (const button of kinds) {
      button.addEventListener("click", () => {
        kind = button.dataset.kind;
        kinds.forEach((each) => each.setAttribute("aria-pressed", each === button));
        soon();
      });
    }
    if (input.value) filter(); // a browser may bring back what was typed
    // a link to a row shows it, whatever is filtered
    addEventListener("hashchange", () => {
      const row = document.getElementById(decodeURIComponent(location.hash.slice(1)))?.closest("tr, .item");
      if (row?.hidden) { input.value = ""; kinds[0]?.click(); filter(); row.scrollIntoView(); }
    });
  }

  const table = document.querySelector(".ranking");
  if (table) {
    const bodies = [...table.tBodies];
    const keys = {
      rank: (row) => +row.dataset.rank,
      name: (row) => row.querySelector(".name").textContent,
      date: (row) => (row.dataset.date ? +row.dataset.date : null),
    };
    const compare = new Intl.Collator("en", { numeric: true }).compare;
    for (const head of table.querySelectorAll("th[data-sort]")) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const isUp = head.getAttribute("aria-sort") !== "ascending";
        table.querySelectorAll("[aria-sort]").forEach((each) => each.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", isUp ? "ascending" : "descending");
        const key = keys[head.dataset.sort];
        const sign = isUp ? 1 : -1;
        const rows = bodies.flatMap((body) => [...body.rows].map((row) => [key(row), row]));
        rows.sort(([a], [b]) => {
          if (a === null || b === null) return (a === null) - (b === null); // without a date: last
          return sign * (typeof a === "string" ? compare(a, b) : a - b);
        });
        bodies.forEach((body, i) => {
          body.replaceChildren(...rows.slice(100 * i, 100 * i + 100).map(([, row]) => row));
          measure(body);
        });
      });
    }
  }
})();
