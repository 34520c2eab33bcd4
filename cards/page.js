// The page of a run: filters, the list of problems, a problem's traces side by side, tables and plots.
// All that comes from a run is put in as text, or as MathML whose elements and attributes are listed below.
"use strict";

const ROW = 58;
const SVG = "http://www.w3.org/2000/svg";
const MATHML = "http://www.w3.org/1998/Math/MathML";
const ELEMENTS = new Set(("math mrow mi mn mo mtext mspace msup msub msubsup mfrac msqrt mroot mover munder munderover " +
  "mtable mtr mtd menclose mpadded mphantom").split(" "));
const ATTRIBUTES = new Set(("display stretchy lspace rspace width height notation displaystyle scriptlevel accent " +
  "accentunder form mathvariant linethickness minsize maxsize").split(" "));
const STYLES = new Set(("text-align justify-items width padding-left padding-right padding-top border-right border-top " +
  "margin-left color font-size").split(" "));
const KINDS = { correct: ["good", "✓"], incorrect: ["bad", "✗"] };
const kindOf = (status) => KINDS[status] || ["odd", "○"];

const byId = (id) => document.getElementById(id);
const number = (value, digits = 0) => value.toLocaleString("en", { maximumFractionDigits: digits });
const percent = (value) => value === null || value === undefined ? "–" : `${(100 * value).toFixed(value > 0 && value < 0.1 ? 1 : 0)}%`;
const counted = (n, name) => `${number(n)} ${name}${n === 1 ? "" : "s"}`;

/** An element with attributes, and text or elements in it; never markup. */
function make(name, attributes = {}, ...content) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "class") element.className = value;
    else element.setAttribute(key, value);
  }
  element.append(...content.filter((part) => part !== null && part !== undefined));
  return element;
}

async function unpack(element) {
  const bytes = Uint8Array.from(atob(element.textContent), (sign) => sign.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

const chunkElements = [...document.querySelectorAll("script.chunk")];
const chunks = chunkElements.map(() => null);
const readChunk = (place) => (chunks[place] ??= unpack(chunkElements[place]));

// ---- texts and formulas ----

/** MathML built anew, element by element, from what an inert parser made of the text; null if something is not allowed. */
function formula(mathml) {
  const parsed = new DOMParser().parseFromString(mathml, "text/html").body.firstElementChild;
  return parsed && parsed.localName === "math" ? rebuilt(parsed) : null;
}

function rebuilt(source) {
  if (source.namespaceURI !== MATHML || !ELEMENTS.has(source.localName)) return null;
  const isBox = source.localName === "menclose" && source.getAttribute("notation") === "box";  // not in every browser
  const element = document.createElementNS(MATHML, isBox ? "mrow" : source.localName);
  if (isBox) element.setAttribute("class", "box");
  for (const { name, value } of source.attributes) {
    if (ATTRIBUTES.has(name)) element.setAttribute(name, value);
  }
  for (const part of (source.getAttribute("data-style") || "").split(";")) {
    const [name, value] = part.split(":").map((side) => side.trim());
    if (value && STYLES.has(name)) element.style.setProperty(name, value);
  }
  for (const child of source.childNodes) {
    if (child.nodeType === Node.TEXT_NODE) element.append(child.data);
    else if (child.nodeType === Node.ELEMENT_NODE) {
      const copy = rebuilt(child);
      if (copy === null) return null;
      element.append(copy);
    }
  }
  return element;
}

/** Pieces as nodes: strings are text, numbers are formulas of the chunk. */
function written(pieces, formulas) {
  const nodes = [];
  pieces.forEach((piece, place) => {
    if (typeof piece === "string") {
      // A formula on a line of its own brings its line breaks with it.
      if (isBlock(pieces[place - 1], formulas)) piece = piece.replace(/^[ \t]*\n/, "");
      if (isBlock(pieces[place + 1], formulas)) piece = piece.replace(/\n[ \t]*$/, "");
      nodes.push(...withCode(piece));
      return;
    }
    const [raw, mathml] = formulas[piece];
    const drawn = mathml === null ? null : formula(mathml);
    nodes.push(drawn === null ? make("code", { class: "raw" }, raw) : make("span", { class: "formula", title: raw }, drawn));
  });
  return nodes;
}

/** Plain text as nodes; fenced code in a box of its own. */
function withCode(text) {
  return text.split(/^([ \t]*```[^\n]*\n[^]*?(?:^[ \t]*```[ \t]*\n?|$(?![^])))/m)
    .map((part, place) => place % 2 ? make("pre", { class: "code" }, part.trimEnd()) : part).filter((part) => part !== "");
}

const isBlock = (piece, formulas) => typeof piece === "number" && formulas[piece][2] === 1 && formulas[piece][1] !== null;
const plain = (pieces, formulas) => pieces.map((piece) => typeof piece === "string" ? piece : formulas[piece][0]).join("");

// ---- the run in numbers ----

function table(title, columns, rows) {
  const cell = (name, words, text) => make(name, words ? { class: "words" } : {}, text);
  return make("div", { class: "table" }, make("h3", {}, title), make("table", {},
    make("thead", {}, make("tr", {}, ...columns.map(([name, words]) => cell("th", words, name)))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map((text, place) => cell("td", columns[place][1], text)))))));
}

const shares = (byName) => Object.entries(byName || {}).map(([name, share]) => `${name} ${percent(share)}`).join(", ") || "–";

function fillSummary(index) {
  const { stats, mixes } = index;
  byId("title").textContent = index.name;
  const traces = index.problems.reduce((sum, problem) => sum + problem[6].length, 0);
  byId("about").textContent = `${counted(index.problems.length, "problem")}, ${counted(traces, "trace")}, ${number(mixes.length)} ${mixes.length === 1 ? "mix" : "mixes"}`;
  for (const { what, command } of index.missing) {
    byId("missing").hidden = false;
    byId("missing").append(make("p", {}, `${what}: run `, make("code", {}, command), "."));
  }
  if (stats) {
    const unit = stats.lengths.unit, length = (one, part) => typeof one[unit]?.[part] === "number" ? number(one[unit][part]) : "–";
    byId("tables").append(table("Teachers; pass rate with its 95% Wilson interval",
      [["teacher"], ["style", 1], ["traces"], ["pass rate"], ["interval"], [`${unit} p50`], ["p90"], ["cut"], ["loops"]],
      stats.teachers.map((one) => [one.teacher, one.style + (one.size ? `, ${one.size}` : ""), number(one.traces), percent(one.pass_rate),
        one.pass_rate === null ? "–" : `${percent(one.pass_rate_low)} to ${percent(one.pass_rate_high)}`,
        length(one, "p50"), length(one, "p90"),
        percent(one.truncated_rate), percent(one.looping_rate)])));
    for (const column of [[lengthPlot(stats)], [difficultyPlot(stats), passRatePlot(stats)]]) {
      if (column.some(Boolean)) byId("plots").append(make("div", {}, ...column));
    }
  }
  if (mixes.length) {
    byId("tables").append(table("Mixes", [["mix"], ["rows"], ["problems"], ["shares of rows", 1], ["shares of tokens", 1]],
      mixes.map((mix) => [mix.mix, number(mix.rows), number(mix.problems), shares(mix.shares), shares(mix.shares_of_tokens)])));
  }
  byId("summary").hidden = !stats && !mixes.length;
}

function shape(name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

function plot(title, height, draw) {
  const svg = shape("svg", { viewBox: `0 0 480 ${height}`, role: "img", "aria-label": title });
  draw((name, attributes, text) => svg.append(shape(name, attributes, text)));
  return make("div", {}, make("h3", {}, title), svg);
}

const shortName = (name, most = 15) => name.length > most ? `${name.slice(0, most - 1)}…` : name;

/** The least of 1, 2, 5, 10, 20, ... that is not below a number. */
function roundStep(least) {
  const ten = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map((factor) => factor * ten).find((step) => step >= least);
}

function lengthPlot({ lengths }) {
  const styles = Object.entries(lengths.styles).filter(([, bins]) => bins.some(Boolean));
  if (!styles.length) return null;
  const left = 44, right = 462, top = 26, bottom = 170, bins = Math.max(...styles.map(([, all]) => all.length));
  const parts = styles.map(([style, all]) => [style, all, all.reduce((sum, n) => sum + n, 0)]);
  const most = Math.max(...parts.flatMap(([, all, n]) => all.map((count) => count / n)));
  const x = (bin) => left + (right - left) * bin / bins, y = (share) => bottom - (bottom - top) * share / most;
  const unit = lengths.unit === "chars" ? "characters" : "tokens";
  return plot(`Lengths by style, in ${unit} (last bin: all longer)`, 200, (add) => {
    for (const share of [0, most / 2, most]) {
      add("line", { class: "axis", x1: left, x2: right, y1: y(share), y2: y(share) });
      add("text", { class: "dim", x: left - 6, y: y(share) + 5, "text-anchor": "end" }, percent(share));
    }
    parts.forEach(([style, all, n], place) => {
      const path = all.map((count, bin) => `V${y(count / n).toFixed(1)}H${x(bin + 1).toFixed(1)}`).join("");
      add("path", { class: `area ${style}`, d: `M${left},${bottom}${path}V${bottom}Z` });
      add("rect", { class: style, x: left + 6 + 170 * place, y: 4, width: 11, height: 11, rx: 2 });
      add("text", { x: left + 22 + 170 * place, y: 14 }, `${style} (n = ${number(n)})`);
    });
    const longest = bins * lengths.bin_width, step = roundStep(longest / 5);
    for (let tick = 0; tick <= longest; tick += step) {
      add("text", { class: "dim", x: x(tick / lengths.bin_width), y: bottom + 18, "text-anchor": tick ? "middle" : "start" }, number(tick));
    }
  });
}

function difficultyPlot({ difficulty }) {
  const rows = Object.entries(difficulty).map(([name, bins]) => [name, bins, bins.reduce((sum, n) => sum + n, 0)]).filter(([, , n]) => n);
  if (!rows.length) return null;
  const left = 130, right = 474, row = 34, wide = (right - left) / rows[0][1].length;
  return plot("Difficulty: share of problems by pass rate", rows.length * row + 30, (add) => {
    rows.forEach(([name, bins, n], place) => {
      add("text", { x: left - 8, y: place * row + 15, "text-anchor": "end" }, shortName(name));
      add("text", { class: "dim", x: left - 8, y: place * row + 30, "text-anchor": "end" }, `n = ${number(n)}`);
      bins.forEach((count, bin) => {
        const share = count / n;
        add("rect", { class: "cell", x: left + bin * wide + 1, y: place * row + 2, width: wide - 2, height: row - 4, rx: 3, "fill-opacity": (0.06 + 0.94 * share).toFixed(3) });
        if (count) add("text", { class: share > 0.5 ? "on-cell" : "", x: left + (bin + 0.5) * wide, y: place * row + 22, "text-anchor": "middle" }, share < 0.005 ? "<1%" : `${Math.round(100 * share)}%`);
      });
    });
    ["0%", "50%", "100%"].forEach((text, place) => add("text", { class: "dim", x: left + (right - left) * place / 2, y: rows.length * row + 18, "text-anchor": ["start", "middle", "end"][place] }, text));
  });
}

function passRatePlot({ teachers }) {
  const rows = teachers.filter((one) => one.pass_rate !== null);
  if (!rows.length) return null;
  const left = 130, right = 460, row = 34, x = (rate) => left + (right - left) * rate;
  return plot("Pass rate by teacher, 95% Wilson interval", rows.length * row + 30, (add) => {
    for (const rate of [0, 0.25, 0.5, 0.75, 1]) {
      add("line", { class: "axis", x1: x(rate), x2: x(rate), y1: 2, y2: rows.length * row });
      add("text", { class: "dim", x: x(rate), y: rows.length * row + 18, "text-anchor": "middle" }, percent(rate));
    }
    rows.forEach((one, place) => {
      const y = place * row + 22;
      add("text", { x: left - 12, y: place * row + 15, "text-anchor": "end" }, shortName(one.teacher));
      add("text", { class: "dim", x: left - 12, y: place * row + 30, "text-anchor": "end" }, `n = ${number(one.judged)}`);
      add("line", { class: one.style, x1: x(one.pass_rate_low), x2: x(one.pass_rate_high), y1: y, y2: y, "stroke-width": 3, "stroke-linecap": "round" });
      add("circle", { class: one.style, cx: x(one.pass_rate), cy: y, r: 5 });
      add("text", { x: x(one.pass_rate), y: y - 9, "text-anchor": "middle" }, percent(one.pass_rate));
    });
  });
}

// ---- filters and the list ----

const page = { index: null, shown: [], place: -1, unfolded: false, all: false, found: null, filters: {}, asked: 0 };
const FILTERS = [["teacher", "teachers"], ["style", "styles"], ["status", "statuses"], ["level", "levels"], ["subject", "subjects"]];
const OUTCOMES = ["all right", "some right, some not", "none right"];

function fillFilters(index) {
  for (const [name, kind] of FILTERS) {
    const values = index[kind];
    if (values.length < 2 && name !== "status") continue;
    byId("filters").append(choice(name, values.map((value, place) => [place, value]).sort((a, b) => a[1].localeCompare(b[1], "en", { numeric: true }))));
  }
  byId("filters").append(choice("problem", OUTCOMES.map((value, place) => [place, value])));
  const search = make("input", { type: "search", id: "search", placeholder: "words in problems and traces", autocomplete: "off" });
  let waiting = 0;
  search.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(searchTexts, 250); });
  byId("filters").append(make("label", { class: "search" }, "text", search));
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
}

function choice(name, options) {
  const select = make("select", { id: `filter-${name}` }, make("option", { value: "" }, "all"), ...options.map(([value, text]) => make("option", { value }, text)));
  select.addEventListener("change", () => {
    if (select.value === "") delete page.filters[name];
    else page.filters[name] = Number(select.value);
    page.all = false;
    filter();
  });
  return make("label", {}, name, select);
}

/** Looks through all texts, unpacking each chunk; what was found is kept as problem:trace. */
async function searchTexts() {
  const words = byId("search").value.trim().toLowerCase(), asked = ++page.asked;
  if (!words) { page.found = null; filter(); return; }
  const found = new Map();
  for (let place = 0; place < chunkElements.length; place += 1) {
    byId("count").textContent = `searching: ${number(place)} of ${number(chunkElements.length)} parts`;
    const { problems, formulas } = await readChunk(place);
    if (asked !== page.asked) return;
    const has = (pieces) => pieces !== undefined && plain(pieces, formulas).toLowerCase().includes(words);
    problems.forEach((problem, at) => {
      const inProblem = has(problem.problem) || has(problem.reference);
      const hits = (problem.traces || []).map((trace) => inProblem || has(trace.reasoning) || has(trace.response) || has(trace.answer));
      if (inProblem || hits.some(Boolean)) found.set(`${place}:${at}`, hits);
    });
  }
  page.found = found;
  filter();
}

/** Whether a trace of a problem passes the filters that are about traces. */
function passes(problem, place) {
  const [teacher, style, status] = problem[6][place], { filters } = page;
  if ("teacher" in filters && filters.teacher !== teacher) return false;
  if ("style" in filters && filters.style !== style) return false;
  if ("status" in filters && filters.status !== status) return false;
  return page.found === null || Boolean(page.found.get(`${problem[4]}:${problem[5]}`)?.[place]);
}

function outcome(problem, right) {
  const n = problem[6].filter((trace) => trace[2] === right).length;
  if (!problem[6].length) return null;
  return n === problem[6].length ? 0 : n ? 1 : 2;
}

function filter() {
  const { index, filters } = page, right = index.statuses.indexOf("correct");
  const ofTraces = ["teacher", "style", "status"].some((name) => name in filters);
  const current = page.shown[page.place]?.problem[0] ?? decodeURIComponent(location.hash.slice(1));
  page.shown = [];
  let n = 0;
  for (const problem of index.problems) {
    if ("level" in filters && filters.level !== problem[2]) continue;
    if ("subject" in filters && filters.subject !== problem[3]) continue;
    if ("problem" in filters && filters.problem !== outcome(problem, right)) continue;
    const traces = problem[6].map((_, place) => place).filter((place) => passes(problem, place));
    const itself = !ofTraces && (page.found === null || page.found.has(`${problem[4]}:${problem[5]}`));
    if (!traces.length && !itself) continue;
    page.shown.push({ problem, traces });
    n += traces.length;
  }
  byId("count").textContent = `${counted(page.shown.length, "problem")}, ${counted(n, "trace")} shown`;
  byId("rows").style.setProperty("height", `${page.shown.length * ROW}px`);
  const same = page.shown.findIndex(({ problem }) => current && problem[0].startsWith(current));
  go(same >= 0 ? same : 0, same >= 0);
}

function drawRows() {
  const list = byId("list"), first = Math.max(0, Math.floor(list.scrollTop / ROW) - 5);
  const rows = page.shown.slice(first, first + Math.ceil(list.clientHeight / ROW) + 10).map(({ problem, traces }, offset) => {
    const place = first + offset, chosen = new Set(traces);
    const marks = problem[6].map((trace, at) => {
      const [kind, mark] = kindOf(page.index.statuses[trace[2]]);
      return make("b", { class: chosen.has(at) ? kind : "dim" }, mark);
    });
    const row = make("a", { href: `#${problem[0]}` }, make("span", {}, problem[1]), make("span", { class: "marks" }, ...marks));
    if (place === page.place) row.setAttribute("aria-current", "true");
    row.style.setProperty("top", `${place * ROW}px`);
    row.addEventListener("click", (event) => { event.preventDefault(); go(place, true); });
    return row;
  });
  byId("rows").replaceChildren(...rows);
}

// ---- a problem ----

/** Goes to a problem of those shown; `linked` also puts it into the address. */
function go(place, linked) {
  page.place = Math.min(Math.max(place, 0), page.shown.length - 1);
  if (linked && page.place >= 0) history.replaceState(null, "", `#${page.shown[page.place].problem[0]}`);
  const list = byId("list"), top = page.place * ROW;
  if (top < list.scrollTop) list.scrollTop = top;
  else if (top + ROW > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW - list.clientHeight;
  drawRows();
  drawProblem();
}

function turn(steps) {
  page.all = false;
  go(page.place + steps, true);
  const article = byId("problem").getBoundingClientRect();
  const bar = getComputedStyle(byId("filters")).position === "sticky" ? byId("filters").offsetHeight : 0;
  if (article.top < 0) scrollTo({ top: scrollY + article.top - bar - 12 });
}

async function drawProblem() {
  const at = page.shown[page.place];
  if (!at) { byId("problem").replaceChildren(make("p", { class: "dim" }, "No problem passes these filters.")); return; }
  const { problem, traces } = at, chunk = await readChunk(problem[4]);
  if (at !== page.shown[page.place]) return;
  const shown = chunk.problems[problem[5]], { formulas } = chunk, all = shown.traces || [];
  const chosen = page.all ? all.map((_, place) => place) : traces;
  const button = (text, title, act) => { const made = make("button", { type: "button", title }, text); made.addEventListener("click", act); return made; };
  const facts = [page.index.subjects[problem[3]], problem[2] === null ? null : `level ${page.index.levels[problem[2]]}`, shown.source, shown.license, shown.answer_type];
  const parts = [make("section", { class: "question" },
    make("div", { class: "head" }, make("h2", {}, `Problem ${number(page.place + 1)} of ${number(page.shown.length)}`), make("span", { class: "mono" }, problem[0]),
      make("span", { class: "turn" }, button("←", "the one before (k)", () => turn(-1)), button("→", "next problem (j)", () => turn(1)))),
    make("div", { class: "text" }, ...written(shown.problem || [], formulas)),
    make("div", {}, make("b", {}, "Reference: "), ...written(shown.reference || [], formulas)),
    shown.solution ? make("details", { class: "reasoning" }, make("summary", {}, "Solution of the source"), make("div", { class: "text" }, ...written(shown.solution, formulas))) : null,
    make("p", { class: "measures" }, facts.filter(Boolean).join(" · ")))];
  parts.push(make("div", { class: "traces" }, ...chosen.map((place) => drawTrace(problem[6][place], all[place], formulas))));
  if (chosen.length < all.length) {
    parts.push(make("p", {}, button(`Show the ${counted(all.length - chosen.length, "trace")} that the filters leave out`, "", () => { page.all = true; drawProblem(); })));
  }
  if (!all.length) parts.push(make("p", { class: "dim" }, "No trace of this problem yet."));
  byId("problem").replaceChildren(...parts);
  markFound();
}

/** Marks the words that are searched for, and opens what is folded over them. Formulas are marked nowhere. */
function markFound() {
  if (!("highlights" in CSS)) return;
  CSS.highlights.clear();
  const words = byId("search").value.trim().toLowerCase();
  if (!words || page.found === null) return;
  const ranges = [], texts = document.createTreeWalker(byId("problem"), NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const { currentNode: node } = texts, text = node.data.toLowerCase();
    if (text.length !== node.data.length || !node.parentElement.closest(".text")) continue;
    for (let place = text.indexOf(words); place >= 0; place = text.indexOf(words, place + words.length)) {
      const range = new Range();
      range.setStart(node, place);
      range.setEnd(node, place + words.length);
      ranges.push(range);
      node.parentElement.closest("details")?.setAttribute("open", "");
    }
  }
  CSS.highlights.set("found", new Highlight(...ranges));
}

function drawTrace([teacher, style, status], trace, formulas) {
  const { index } = page, said = index.statuses[status], [kind, mark] = kindOf(said), lines = [];
  const line = (name, ...content) => lines.push(make("p", {}, make("b", {}, `${name}: `), ...content));
  if (trace.answer) line("answer", ...written(trace.answer, formulas));
  if (trace.rule) line("found by", trace.rule);
  if (trace.method) line("compared as", trace.method);
  if (trace.reason) line("why", trace.reason);
  if (trace.judge_status) line("judge", `${trace.judge_status}${trace.judge_reason ? `: ${trace.judge_reason}` : ""}`);
  if (said === "failed") lines.push(make("p", {}, "The request failed. ", make("code", {}, "mixdistill show"), " tells why."));
  const chars = plain(trace.reasoning || [], formulas).length + plain(trace.response || [], formulas).length;
  const measures = [trace.tokens === undefined ? null : counted(trace.tokens, "token"), counted(chars, "character"),
    trace.finish_reason ? `finish reason ${trace.finish_reason}` : null,
    trace.repetition === undefined ? null : `repetition ${percent(trace.repetition)}`,
    trace.seconds === undefined ? null : `${number(trace.seconds, 1)} s`];
  const reasoning = trace.reasoning ? make("details", { class: "reasoning fold" },
    make("summary", {}, `Reasoning, ${counted(plain(trace.reasoning, formulas).length, "character")}`), make("div", { class: "text" }, ...written(trace.reasoning, formulas))) : null;
  if (reasoning) reasoning.open = page.unfolded;
  return make("section", { class: "card", "data-trace": trace.id },
    make("div", { class: "head" }, make("h2", {}, `${index.teachers[teacher]} #${trace.sample}`), make("span", { class: `badge ${index.styles[style]}` }, index.styles[style] + (trace.size ? `, ${trace.size}` : "")),
      make("span", { class: `badge status ${kind}` }, `${mark} ${said.replace("_", " ")}`)),
    lines.length ? make("div", { class: `verdict ${kind}` }, ...lines) : null,
    reasoning, make("div", { class: "text response" }, ...written(trace.response || [], formulas)),
    make("p", { class: "measures" }, measures.filter(Boolean).join(" · ")));
}

// ---- keys ----

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const acts = { j: () => turn(1), ArrowRight: () => turn(1), k: () => turn(-1), ArrowLeft: () => turn(-1),
    r: () => { page.unfolded = !page.unfolded; document.querySelectorAll("details.fold").forEach((fold) => { fold.open = page.unfolded; }); },
    "/": () => byId("search").focus() };
  if (event.target === byId("list")) Object.assign(acts, { ArrowDown: acts.j, ArrowUp: acts.k });
  if (!Object.hasOwn(acts, event.key)) return;
  event.preventDefault();
  acts[event.key]();
}

async function open() {
  page.index = await unpack(byId("index"));
  fillSummary(page.index);
  fillFilters(page.index);
  byId("list").addEventListener("scroll", drawRows, { passive: true });
  addEventListener("resize", drawRows);
  addEventListener("keydown", onKey);
  addEventListener("hashchange", () => { page.place = -1; filter(); });
  const linked = location.hash.length > 1;
  filter();
  if (linked) document.querySelector("main").scrollIntoView();
}

open().catch((error) => {
  byId("about").textContent = `This page cannot be shown: ${error.message}. It needs a browser of 2023 or later.`;
  console.error(error);
});
