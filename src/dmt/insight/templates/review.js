// What review.html does: show rows, take decisions, keep them in the browser, save corrections.csv.
"use strict";
(() => {
  const facts = JSON.parse(document.getElementById("facts").textContent);
  const $ = (id) => document.getElementById(id);
  const rows = facts.rows.map(([path, section, rank, given, a, sureA, b, sureB, score, pictures, networks]) =>
    ({ path, section, rank, given, a, sureA, b, sureB, score, pictures, networks, text: path.toLowerCase() }));
  const main = $("main");
  main.classList.toggle("dense", facts.isDense);
  $("review").hidden = false;
  const store = `dmt-review-${facts.key}`;
  const ACTIONS = { keep: "kept as it is", unusable: "unusable", none: "none of these", annotate: "for the labeling tool", skip: "skipped" };
  // what turns the direction of reading or cannot be seen is written out
  const plain = (text) => text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (letter) => `\\u${letter.codePointAt(0).toString(16).padStart(4, "0")}`);
  const count = (num) => String(num).replace(/\B(?=(\d{3})+$)/g, "\u202f");
  const percent = (share) => `${Math.round(100 * share)} %`;
  const make = (tag, props = {}, ...children) => {
    const node = Object.assign(document.createElement(tag), props);
    node.append(...children);
    return node;
  };

  // Decisions: by path [action, label], and what each change replaced, so that it can be undone.
  let decisions = new Map();
  let history = [];
  const known = new Set(rows.map((row) => row.path));
  try {
    const kept = JSON.parse(localStorage.getItem(store) ?? "null");
    if (kept) {
      decisions = new Map(kept.decisions.filter(([path]) => known.has(path)));
      history = kept.history.filter(([path]) => known.has(path));
    }
  } catch {} // no storage, or somebody else's content: a fresh start
  const keep = () => {
    try { localStorage.setItem(store, JSON.stringify({ decisions: [...decisions], history })); } catch {}
  };

  let section = rows.some((row) => row.section === "label-next") || !rows.length ? "label-next" : "mislabeled";
  let found = [];
  let current = 0;
  const list = $("list");
  const drawn = new Map(); // the rows that are in the page, by their place in `found`
  let height = 0;

  // labels are judged by pairs, whatever the run itself trained
  const peersOf = (row) => row.section === "mislabeled" ? ["Peer a", "Peer b"] : facts.peers;
  const labelsOf = (row) => [...new Set([row.a, row.b].filter(Boolean))];
  const actionsOf = (row) => facts.isDense
    ? [...(row.section === "mislabeled" ? [["keep", "", "Keep mask", "k"]] : []),
       ...row.networks.map((name, place) => ["accept", name, `Mask of ${peersOf(row)[place].toLowerCase()}`, "ab"[place]]),
       ["annotate", "", "To a tool", "t"], ["unusable", "", "Unusable", "u"], ["skip", "", "Skip", "s"]]
    : [...(row.given ? [["keep", row.given, `Keep ${row.given}`, "k"]] : []),
       ...labelsOf(row).filter((label) => label !== row.given).map((label) => ["label", label, label, label === row.a ? "a" : "b"]),
       ["none", "", "None of these", "n"], ["unusable", "", "Unusable", "u"], ["skip", "", "Skip", "s"]];
  const said = ([action, label], row) => action === "label" ? `→ ${label}`
    : action === "accept" ? `→ mask of ${peersOf(row)[row.networks.indexOf(label)]?.toLowerCase() ?? label}` : ACTIONS[action] ?? "";

  const line = (name, label, sure) => make("p", {}, make("i", { textContent: `${name}: ` }), label ? `${plain(label)}, ${percent(sure)}` : `${percent(sure)} sure`);
  const draw = (place) => {
    const row = found[place];
    const pictures = row.pictures.map(([name, uri]) => {
      const image = make("img", { src: uri, alt: facts.isDense ? name : `Image ${plain(row.path)}`, decoding: "async" });
      image.addEventListener("load", () => image.classList.toggle("small", image.naturalWidth <= 48));
      return facts.isDense ? make("figure", {}, image, make("figcaption", { textContent: name })) : image;
    });
    if (!pictures.length) pictures.push(make("div", { className: "none" }));
    const what = make("div", { className: "what" }, make("b", { textContent: plain(row.path), title: plain(row.path) }));
    if (row.given) what.append(make("p", {}, make("i", { textContent: "Given: " }), plain(row.given)));
    what.append(line(peersOf(row)[0], row.a, row.sureA));
    if (row.sureB !== null) what.append(line(peersOf(row)[1], row.b, row.sureB));
    what.append(make("p", {}, make("i", { textContent: `${row.section === "mislabeled" ? (facts.isDense ? "Contradicted" : "Improbable") : "Different answers"}: ` }), `${percent(row.score)}, rank ${count(row.rank)}`));
    const acts = make("div", { className: "acts" });
    for (const [action, label, text] of actionsOf(row)) {
      const button = make("button", { type: "button", textContent: plain(text) });
      button.dataset.action = action;
      button.dataset.label = label;
      acts.append(button);
    }
    if (!facts.isDense) {
      const select = make("select", { ariaLabel: "Another class" }, make("option", { value: "", textContent: "Another class…" }),
        ...facts.classes.map((name) => make("option", { value: name, textContent: plain(name) })));
      acts.append(select);
    }
    acts.append(make("output"));
    const node = make("div", { className: "row", role: "listitem" }, make("div", { className: "pics" }, ...pictures), what, acts);
    node.ariaSetSize = found.length;
    node.ariaPosInSet = place + 1;
    node.dataset.place = place;
    node.style.top = `${place * height}px`;
    list.append(node);
    drawn.set(place, node);
    mark(place);
  };
  const mark = (place) => {
    const node = drawn.get(place);
    if (!node) return;
    const decision = decisions.get(found[place].path);
    node.classList.toggle("current", place === current);
    node.classList.toggle("decided", !!decision);
    node.querySelector("output").textContent = decision ? plain(said(decision, found[place])) : "";
    for (const button of node.querySelectorAll(".acts button")) {
      button.setAttribute("aria-pressed", !!decision && decision[0] === button.dataset.action && (!["label", "accept"].includes(decision[0]) || decision[1] === button.dataset.label));
    }
    const select = node.querySelector("select");
    if (select) select.value = decision?.[0] === "label" ? decision[1] : "";
  };

  // Only rows in or near the window are in the page, so ten thousand cost what thirty do.
  const show = () => {
    const top = -list.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(top / height) - 6);
    const last = Math.min(found.length, Math.ceil((top + innerHeight) / height) + 6);
    for (const [place, node] of drawn) {
      if ((place < first || place >= last) && !node.contains(document.activeElement)) { node.remove(); drawn.delete(place); }
    }
    for (let place = first; place < last; place++) if (!drawn.has(place)) draw(place);
  };
  let waiting = 0;
  const soon = () => { waiting ||= requestAnimationFrame(() => { waiting = 0; show(); }); };

  const tell = () => {
    const all = rows.filter((row) => row.section === section);
    const done = all.filter((row) => decisions.has(row.path)).length;
    $("progress").max = Math.max(1, all.length);
    $("progress").value = done;
    $("done").textContent = `${count(done)} of ${count(all.length)} decided`;
    $("undo").disabled = !history.length;
    $("save").disabled = ![...decisions.values()].some(([action]) => action !== "skip");
  };
  const filter = () => {
    const query = $("query").value.toLowerCase();
    const label = $("class")?.value ?? "";
    const state = $("state").value;
    found = rows.filter((row) => row.section === section && row.text.includes(query)
      && (!label || [row.given, row.a, row.b].includes(label))
      && (!state || (state === "done") === decisions.has(row.path)));
    current = Math.min(current, Math.max(0, found.length - 1));
    list.replaceChildren();
    drawn.clear();
    height = parseFloat(getComputedStyle(main).getPropertyValue("--row"));
    list.style.height = found.length ? `${found.length * height}px` : "";
    if (!found.length) list.append(make("p", { className: "empty", textContent: "No image" }));
    const num = rows.reduce((sum, row) => sum + (row.section === section), 0);
    $("count").textContent = found.length === num ? `${count(num)} images` : `${count(found.length)} of ${count(num)} images`;
    tell();
    if (found.length) show();
  };
  const go = (place) => {
    const before = current;
    current = Math.max(0, Math.min(found.length - 1, place));
    const bar = document.querySelector(".bar").offsetHeight;
    const box = list.getBoundingClientRect();
    const [top, bottom] = [box.top + current * height, box.top + (current + 1) * height];
    if (top < bar) scrollBy(0, top - bar - 4);
    else if (bottom > innerHeight) scrollBy(0, bottom - innerHeight + 4);
    show();
    mark(before);
    mark(current);
  };
  const put = (path, decision) => (decision ? decisions.set(path, decision) : decisions.delete(path));
  const decide = (place, action, label) => {
    const row = found[place];
    if (!row) return;
    history.push([row.path, decisions.get(row.path) ?? null]);
    history = history.slice(-1000);
    decisions.set(row.path, [action, ["label", "keep", "accept"].includes(action) ? label : ""]);
    keep();
    if ($("state").value) { current = place; filter(); return; }
    mark(place);
    tell();
    go(place + 1);
  };
  const undo = () => {
    const last = history.pop();
    if (!last) return;
    put(...last);
    keep();
    const row = rows.find((each) => each.path === last[0]);
    if (row.section !== section) choose(row.section);
    else if ($("state").value) filter();
    tell();
    const place = found.findIndex((each) => each.path === last[0]);
    if (place >= 0) { go(place); mark(place); }
  };
  const choose = (name) => {
    section = name;
    current = 0;
    for (const tab of document.querySelectorAll("[data-section]")) tab.setAttribute("aria-pressed", tab.dataset.section === name);
    for (const about of document.querySelectorAll("[data-about]")) about.hidden = about.dataset.about !== name;
    filter();
  };

  const quoted = (field) => (/[",\r\n]|^\s|\s$/.test(field) ? `"${field.replaceAll('"', '""')}"` : field);
  const save = () => {
    const lines = rows.filter((row) => decisions.has(row.path) && decisions.get(row.path)[0] !== "skip").map((row) => {
      const [action, label] = decisions.get(row.path);
      // a name that a spreadsheet would reckon out is led by ./
      return [/^[=+\-@\t\r]/.test(row.path) ? `./${row.path}` : row.path, label, action].map(quoted).join(",");
    });
    const url = URL.createObjectURL(new Blob([["path,label,action", ...lines, ""].join("\n")], { type: "text/csv" }));
    make("a", { href: url, download: "corrections.csv" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1e4);
  };

  list.addEventListener("click", (event) => {
    const node = event.target.closest(".row");
    if (!node) return;
    const place = +node.dataset.place;
    const button = event.target.closest("button");
    if (button) decide(place, button.dataset.action, button.dataset.label);
    else if (!event.target.closest("select")) go(place);
  });
  list.addEventListener("change", (event) => {
    if (event.target.value) decide(+event.target.closest(".row").dataset.place, "label", event.target.value);
  });
  list.addEventListener("focusin", (event) => {
    const node = event.target.closest(".row");
    if (node && +node.dataset.place !== current) { const before = current; current = +node.dataset.place; mark(before); mark(current); }
  });
  for (const tab of document.querySelectorAll("[data-section]")) tab.addEventListener("click", () => choose(tab.dataset.section));
  for (const id of ["query", "class", "state"]) $(id)?.addEventListener("input", filter);
  $("undo").addEventListener("click", undo);
  $("save").addEventListener("click", save);
  addEventListener("scroll", soon, { passive: true });
  addEventListener("resize", () => {
    if (parseFloat(getComputedStyle(main).getPropertyValue("--row")) !== height) filter();
    else soon();
  });
  addEventListener("keydown", (event) => {
    const isTyping = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping) return;
    const row = found[current];
    const byKey = row && actionsOf(row).find(([, , , key]) => key === event.key);
    const digit = /^\d$/.test(event.key) && !facts.isDense && facts.classes.length <= 10
      ? (facts.classes.includes(event.key) ? event.key : facts.classes[+event.key - 1]) : undefined;
    if (event.key === "ArrowDown") go(current + 1);
    else if (event.key === "ArrowUp") go(current - 1);
    else if (event.key === "z") undo();
    else if (event.key === "/") $("query").focus();
    else if (event.key === "b" && row && row.b && row.b === row.a && row.a !== row.given) decide(current, "label", row.b);
    else if (byKey) decide(current, byKey[0], byKey[1]);
    else if (digit && row) decide(current, "label", digit);
    else return;
    event.preventDefault();
  });
  const keys = [["↓ ↑", "next, previous"], ["k", "keep"], ...(facts.isDense ? [["a", "mask of the first model"], ["b", "mask of the second"], ["t", "to a labeling tool"]] : [["a", "as the first model says"], ["b", "as the second says"], ["n", "none of these"]]),
    ...(facts.isDense || facts.classes.length > 10 ? [] : [["1 … 9", "a class by its name or place"]]), ["u", "unusable"], ["s", "skip"], ["z", "undo"], ["/", "search"]];
  $("keys").append(...keys.map(([key, text]) => make("div", {}, make("dt", {}, make("kbd", { textContent: key })), make("dd", { textContent: text }))));
  choose(section);
})();
