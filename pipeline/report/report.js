// Draws the charts with Observable Plot, and sorts tables. A chart's data is in its
// figure's data-chart attribute; the same numbers are in the table below it.
(() => {
  "use strict";
  const color = (index) => `var(--c${(index % 5) + 1})`;
  const series = (chart) => Object.entries(chart.series);

  const axes = (chart) => ({
    x: { label: chart.x, domain: chart.x_range ?? undefined },
    y: { label: chart.y, domain: chart.y_range ?? undefined, grid: true },
  });

  const lines = (chart, width) => {
    const options = { ...axes(chart), marks: [] };
    if (chart.x_labels.length) {
      options.x.ticks = chart.x_labels.map((_, i) => i);
      options.x.tickFormat = (i) => (i % Math.ceil(chart.x_labels.length / 3) ? "" : chart.x_labels[i]);
      options.x.label = null;
      options.x.inset = 12;
      options.marginRight = 50;
      options.marginLeft = 50;
    }
    if (chart.diagonal) options.marks.push(Plot.link([0], { x1: 0, y1: 0, x2: 1, y2: 1, stroke: "currentColor", strokeOpacity: 0.4, strokeDasharray: "4 4" }));
    if (chart.mark_x !== null) options.marks.push(Plot.ruleX([chart.mark_x], { stroke: "currentColor", strokeOpacity: 0.5, strokeDasharray: "4 4" }));
    series(chart).forEach(([name, points], i) => {
      options.marks.push(Plot.line(points, { x: "0", y: "1", stroke: color(i), strokeWidth: 2, strokeDasharray: i === 1 ? "7 3" : undefined }));
      if (points.length <= 30) options.marks.push(Plot.dot(points, { x: "0", y: "1", fill: color(i), r: 3 }));
      options.marks.push(Plot.tip(points, Plot.pointer({ x: "0", y: "1", title: (p) => `${name}\n${chart.x} ${chart.x_labels[p[0]] ?? p[0]}\n${chart.y} ${Number(p[1].toPrecision(4))}`, fill: "var(--card)", stroke: "var(--line)" })));
    });
    return options;
  };

  const bars = (chart, width) => {
    const all = series(chart);
    const rows = all.flatMap(([name, points], i) => points.map(([category, value]) => ({ category, value, name, i })));
    const categories = all[0][1].map((p) => p[0]);
    return {
      marginBottom: 40,
      height: 60 + categories.length * (10 + 9 * all.length),
      marginLeft: Math.min(150, 14 + 6.5 * Math.max(...categories.map((c) => c.length))),
      x: { label: chart.x, grid: true, ticks: Math.max(2, Math.floor(width / 110)) },
      y: { axis: null, domain: all.map((s) => s[0]) },
      fy: { label: null, domain: categories, padding: 0.25, axis: "left", tickFormat: (c) => (c.length > 21 ? `${c.slice(0, 20)}…` : c) },
      marks: [
        Plot.barX(rows, { x: "value", y: "name", fy: "category", fill: (r) => r.i, title: (r) => `${r.name}\n${r.category}: ${Number(r.value.toPrecision(4))}`, tip: { fill: "var(--card)", stroke: "var(--line)" } }),
        Plot.ruleX([0]),
      ],
      color: { type: "ordinal", domain: all.map((_, i) => i), range: all.map((_, i) => color(i)) },
    };
  };

  const histogram = (chart, width) => {
    const all = series(chart);
    const percent = (share) => `${Number((100 * share).toPrecision(3))} %`;
    const marks = all.map(([name, points], i) => {
      if (i === 0) return Plot.rectY(points, { x1: "0", x2: "1", y: "2", fill: color(0), fillOpacity: 0.35 });
      const steps = points.flatMap(([low, high, share]) => [[low, share], [high, share]]);
      return Plot.line(steps, { x: "0", y: "1", stroke: color(i), strokeWidth: 1.75, strokeDasharray: i === 1 ? "5 2" : undefined });
    });
    const first = all[0][1];
    const said = (p, i) => [`${Number(p[0].toPrecision(4))} to ${Number(p[1].toPrecision(4))}`, ...all.map(([name, points]) => `${name} ${points[i] ? percent(points[i][2]) : "none"}`)].join("\n");
    marks.push(Plot.tip(first, Plot.pointerX({ x: (p) => (p[0] + p[1]) / 2, y: "2", title: first.map(said), fill: "var(--card)", stroke: "var(--line)" })));
    return {
      height: 150,
      x: { label: null, ticks: Math.max(2, Math.floor(width / (Math.abs(first[0][0]) > 1e5 ? 170 : 80))) },
      y: { label: null, ticks: 3, tickFormat: percent, grid: true },
      marks: [...marks, Plot.ruleY([0])],
    };
  };

  const heat = (chart, width) => {
    const [[name, cells], ...others] = series(chart);
    const crossed = others.flatMap(([, points]) => points);
    const most = Math.log1p(Math.max(1, ...cells.map((p) => p[2])));
    const place = (p) => `${chart.x} ${chart.x_labels[p[0]]}, ${chart.y} ${chart.y_labels[p[1]]}`;
    const tip = { fill: "var(--card)", stroke: "var(--line)" };
    const longest = Math.max(...chart.y_labels.map((label) => label.length));
    const every = Math.ceil((chart.x_labels.length * 26) / (width - 60));
    return {
      height: 80 + 14 * chart.y_labels.length,
      marginTop: 26,
      marginBottom: 44,
      marginLeft: Math.min(150, 20 + 7 * longest),
      x: { label: chart.x, labelArrow: "none", domain: chart.x_labels.map((_, i) => i), tickFormat: (i) => (i % every ? "" : chart.x_labels[i]) },
      y: { label: chart.y, labelAnchor: "top", labelArrow: "none", domain: chart.y_labels.map((_, i) => i), tickFormat: (i) => chart.y_labels[i] },
      marks: [
        Plot.cell(cells, { x: "0", y: "1", inset: 0.5, fill: color(0), fillOpacity: (p) => 0.12 + (0.88 * Math.log1p(p[2])) / most, title: (p) => `${place(p)}\n${name} ${p[2]}`, tip }),
        Plot.text(crossed, { x: "0", y: "1", text: () => "×", fill: color(1), fontWeight: "bold", title: (p) => `${place(p)}\n${others[0][0]} ${p[2]}`, tip }),
      ],
      opacity: { type: "identity" },
    };
  };

  const kinds = { lines, bars, histogram, heat };
  const draw = (figure) => {
    const chart = JSON.parse(figure.dataset.chart);
    const place = figure.querySelector(".plot");
    const width = Math.max(Math.floor(place.clientWidth), 200);
    if (place.dataset.width === String(width)) return;
    place.dataset.width = String(width);
    const options = kinds[chart.kind](chart, width);
    place.replaceChildren(Plot.plot({ width, height: 260, marginLeft: 46, style: { background: "transparent", fontSize: "12px" }, ...options }));
  };

  const figures = [...document.querySelectorAll("figure.chart")];
  // In the next frame: a drawing changes its figure's height, and an observer that does is an error.
  const redraw = (entries) => entries.forEach((e) => e.target.clientWidth && draw(e.target));
  const seen = new ResizeObserver((entries) => requestAnimationFrame(() => redraw(entries)));
  figures.forEach((figure) => seen.observe(figure));
  // Charts in closed <details> have no size and are not drawn, but belong on paper too.
  addEventListener("beforeprint", () => {
    document.querySelectorAll("details:has(figure)").forEach((d) => { d.open = true; });
    figures.forEach(draw);
  });

  const compare = (a, b) => {
    const [x, y] = [a, b].map((text) => (text === "" ? NaN : Number(text)));
    if (!Number.isNaN(x) && !Number.isNaN(y)) return x - y;
    return a.localeCompare(b, undefined, { numeric: true });
  };
  const sort = (table, column) => {
    const heads = [...table.tHead.rows[0].cells];
    const numeric = [...table.tBodies[0].rows].some((r) => r.cells[column].classList.contains("number"));
    const now = heads[column].getAttribute("aria-sort");
    // Numbers sort in descending order first: readers look for the largest.
    const falling = now ? now === "ascending" : numeric;
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[column].setAttribute("aria-sort", falling ? "descending" : "ascending");
    const rows = [...table.tBodies[0].rows];
    const key = (row) => row.cells[column].dataset.key;
    rows.sort((a, b) => (key(a) === "") - (key(b) === "") || (falling ? -1 : 1) * compare(key(a), key(b)));
    table.tBodies[0].append(...rows);
  };
  document.querySelectorAll("table.sortable").forEach((table) => {
    [...table.tHead.rows[0].cells].forEach((head, column) => head.querySelector("button").addEventListener("click", () => sort(table, column)));
  });
})();
