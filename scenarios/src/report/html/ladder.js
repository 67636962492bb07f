
"use strict";

// The lines of `now` against those of `before`, both without their line ends: [sign, line] where
// the sign is "-" for what was taken out, "+" for what was put in, " " for what is in both. Header
// lines are compared by name, so that one that moved is none that changed.
function compare(before, now) {
  const name = (line) => line.split(":", 1)[0].trim().toLowerCase();
  const left = new Map();
  for (const line of before) left.set(line, (left.get(line) || 0) + 1);
  const fresh = now.map((line) => {
    const many = left.get(line) || 0;
    if (many > 0) left.set(line, many - 1);
    return many === 0;
  });
  const gone = new Map();
  for (const line of before) {
    const many = left.get(line) || 0;
    if (many === 0) continue;
    left.set(line, many - 1);
    if (!gone.has(name(line))) gone.set(name(line), []);
    gone.get(name(line)).push(line);
  }
  const out = [];
  const last = new Map(now.map((line, index) => [name(line), index]));
  now.forEach((line, index) => {
    const of = gone.get(name(line));
    // A changed line stands under what it was.
    if (of && (fresh[index] || last.get(name(line)) === index)) {
      const many = fresh[index] && last.get(name(line)) !== index ? 1 : of.length;
      for (const was of of.splice(0, many)) out.push(["-", was]);
    }
    out.push([fresh[index] ? "+" : " ", line]);
  });
  for (const of of gone.values()) for (const was of of) out.push(["-", was]);
  return out;
}

// Whether a row is shown under the filters.
function isShown(row, filters, trace) {
  if (filters.party !== "" && !(row.parties || []).includes(Number(filters.party))) return false;
  if (filters.method !== "" && row.method !== Number(filters.method)) return false;
  if (filters.call !== "" && row.call !== Number(filters.call)) return false;
  if (filters.text === "") return true;
  const wanted = filters.text.toLowerCase();
  const has = (text) => text !== undefined && text.toLowerCase().includes(wanted);
  return has(row.label) || has(row.told) ||
    (row.head || []).some((line) => has(trace.lines[line])) ||
    (row.body || []).some((line) => has(trace.lines[line])) ||
    (row.notes || []).some((note) => has(note.clause) || has(note.text));
}

// Nodes of the document are made of text only: what a peer has sent never becomes markup.
function make(kind, name, text) {
  const node = document.createElement(kind);
  if (name) node.className = name;
  if (text !== undefined) node.textContent = text;
  return node;
}

function start() {
  const trace = JSON.parse(document.getElementById("trace").textContent);
  const of = (id) => document.getElementById(id);
  // The lifelines share the left part of the window, with room for the time and some clauses.
  const room = document.documentElement.clientWidth * 0.58 - 260;
  const pitch = Math.max(96, Math.min(150, Math.floor(room / Math.max(1, trace.columns.length))));
  const nodes = [];
  let chosen = -1;
  let held = false;

  const middle = (column) => column * pitch + pitch / 2;
  const time = (row) => (row.at / 1e6).toFixed(4);

  function arrow(row) {
    const link = trace.links[row.link].toLowerCase();
    if (row.from === row.to) {
      const own = make("span", "own " + link, "\u21ba " + row.label);
      own.style.left = middle(row.from) + 4 + "px";
      return own;
    }
    const way = row.from < row.to ? "right" : "left";
    const kind = row.diameter ? " diameter" : "";
    const shaft = make("span", "arrow " + way + " " + link + kind);
    shaft.style.left = middle(Math.min(row.from, row.to)) + 1 + "px";
    shaft.style.width = Math.abs(row.to - row.from) * pitch - 1 + "px";
    shaft.append(make("span", "label" + (row.bad ? " bad" : ""), row.label));
    return shaft;
  }

  function said(row) {
    if (row.told !== undefined) return row.told;
    const ends = trace.columns[row.from] + " to " + trace.columns[row.to];
    return row.label + " from " + ends + " at " + time(row) + " s";
  }

  function draw(row, index) {
    const node = make("div", "row");
    node.id = "m" + index;
    node.setAttribute("role", "option");
    node.setAttribute("aria-label", said(row));
    node.append(make("span", "time", time(row)));
    const lane = make("span", "lane");
    lane.style.width = trace.columns.length * pitch + "px";
    lane.style.backgroundPositionX = pitch / 2 + "px";
    lane.style.backgroundSize = pitch + "px 100%";
    lane.style.backgroundImage = "linear-gradient(90deg, var(--line) 1px, transparent 1px)";
    lane.append(row.told === undefined ? arrow(row) :
      make("span", "told" + (row.bad ? " bad" : ""), row.told));
    node.append(lane);
    const clauses = [...new Set((row.notes || []).map((note) => note.clause))].join(", ");
    const refused = (row.notes || []).some((note) => note.refusal);
    node.append(make("span", "note" + (refused ? " refused" : ""), clauses));
    return node;
  }

  const text = (lines) => (lines || []).map((line) => trace.lines[line]);

  function lines(before, now) {
    const box = make("div");
    const names = { "-": "was", "+": "is", " ": "both" };
    const all = before === undefined ? now.map((line) => [" ", line]) : compare(before, now);
    for (const [sign, line] of all) {
      box.append(make("pre", before === undefined ? "" : names[sign], line));
    }
    return box;
  }

  function notes(row, panel) {
    if (!(row.notes || []).length) return;
    panel.append(make("h2", "", "Decisions"));
    const list = make("ul");
    for (const note of row.notes) {
      const item = make("li", note.refusal ? "refused" : "");
      item.append(make("b", "", note.clause), " " + note.text);
      for (const line of note.cause || []) item.append(make("pre", "", line));
      list.append(item);
    }
    panel.append(list);
  }

  function changes(row, panel) {
    const before = trace.rows[row.came];
    if (before === undefined) return;
    const differ = compare(text(before.head), text(row.head)).filter(([sign]) => sign !== " ");
    const by = trace.columns[row.from];
    panel.append(make("h2", "", "Changed by " + by + ", against what came at " + time(before)));
    const names = { "-": "was", "+": "is" };
    for (const [sign, line] of differ) panel.append(make("pre", names[sign], line));
    if (!differ.length) panel.append(make("p", "where", "nothing in the headers"));
  }

  function show(index) {
    const row = trace.rows[index];
    const panel = of("message");
    panel.replaceChildren();
    if (row === undefined) return;
    panel.append(make("h2", row.bad ? "bad" : "", said(row)));
    if (row.told === undefined) {
      panel.append(make("p", "where", trace.links[row.link] + ", " + row.way));
    }
    notes(row, panel);
    if (row.told !== undefined) return;
    changes(row, panel);
    panel.append(make("h2", "", "Message"));
    const before = trace.rows[row.came];
    panel.append(lines(before && text(before.head), text(row.head)));
    if ((row.body || []).length) {
      panel.append(make("h2", "", row.type === "application/sdp" ? "SDP" : "Body " + row.type));
      panel.append(lines(before && text(before.body), text(row.body)));
    }
    if (row.cut) panel.append(make("p", "where", "The rest is in trace.jsonl."));
  }

  function choose(index, hold) {
    if (trace.rows[index] === undefined) return;
    if (nodes[chosen]) {
      nodes[chosen].classList.remove("chosen");
      nodes[chosen].removeAttribute("aria-selected");
    }
    document.querySelectorAll(".same").forEach((node) => node.classList.remove("same"));
    chosen = index;
    held = hold;
    nodes[index].classList.add("chosen");
    nodes[index].setAttribute("aria-selected", "true");
    of("rows").setAttribute("aria-activedescendant", "m" + index);
    for (let at = trace.rows[index].came; at !== undefined; at = trace.rows[at].came) {
      nodes[at].classList.add("same");
    }
    if (hold) history.replaceState(null, "", "#m" + index);
    show(index);
  }

  function step(by, from = chosen) {
    let at = from + by;
    while (nodes[at] && nodes[at].hidden) at += by;
    if (!nodes[at]) return;
    choose(at, held);
    nodes[at].scrollIntoView({ block: "nearest" });
  }

  function follow(forth) {
    const next = forth ? trace.rows.findIndex((row) => row.came === chosen)
      : (trace.rows[chosen] || {}).came;
    if (next === undefined || next < 0) return;
    choose(next, held);
    nodes[next].scrollIntoView({ block: "nearest" });
  }

  function filter() {
    const filters = {};
    for (const id of ["party", "method", "call", "text"]) filters[id] = of(id).value;
    let shown = 0;
    trace.rows.forEach((row, index) => {
      nodes[index].hidden = !isShown(row, filters, trace);
      if (!nodes[index].hidden) shown += 1;
    });
    const more = trace.left ? "; " + trace.left + " more are in trace.jsonl" : "";
    of("count").textContent = shown + " of " + trace.rows.length + more;
  }

  function options(id, names) {
    names.forEach((name, index) => {
      const option = make("option", "", name);
      option.value = String(index);
      of(id).append(option);
    });
  }

  for (const name of trace.columns) {
    const node = make("span", "name", name);
    node.style.width = pitch + "px";
    of("names").append(node);
  }
  for (const name of trace.links) {
    of("links").append(make("span", "link " + name.toLowerCase(), name));
  }
  trace.rows.forEach((row, index) => nodes.push(draw(row, index)));
  of("rows").append(...nodes);
  options("party", trace.columns);
  options("method", trace.methods);
  options("call", trace.calls);
  filter();

  const indexOf = (event) => {
    const node = event.target.closest(".row");
    return node ? nodes.indexOf(node) : -1;
  };
  of("filters").addEventListener("input", filter);
  of("filters").addEventListener("submit", (event) => event.preventDefault());
  of("rows").addEventListener("mouseover", (event) => {
    const index = indexOf(event);
    if (!held && index >= 0 && index !== chosen) choose(index, false);
  });
  of("rows").addEventListener("click", (event) => {
    const index = indexOf(event);
    if (index >= 0) choose(index, true);
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (["INPUT", "SELECT"].includes(event.target.tagName)) {
      if (event.key === "Escape") of("rows").focus();
      return;
    }
    const keys = {
      ArrowDown: () => step(1), ArrowUp: () => step(-1),
      ArrowRight: () => follow(true), ArrowLeft: () => follow(false),
      Home: () => step(1, -1),
      End: () => step(-1, nodes.length),
      Enter: () => choose(chosen, true), Escape: () => { held = false; },
      "/": () => of("text").focus(),
    };
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
  of("rows").focus({ preventScroll: true });
  const asked = Number(location.hash.replace("#m", ""));
  if (location.hash.startsWith("#m") && trace.rows[asked]) {
    choose(asked, true);
    nodes[asked].scrollIntoView({ block: "center" });
  }
}

if (typeof document !== "undefined") start();
