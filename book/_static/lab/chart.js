/* The curves of loss and scores as pictures, their course as a table, and bars with a mark. */

const SVG = "http://www.w3.org/2000/svg";
const MARGIN = { top: 12, right: 12, bottom: 36, left: 52 };

function element(name, attributes, text) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

/** A round number a little above a fifth to a half of this one: the distance of ticks. */
function tick(most) {
  const power = 10 ** Math.floor(Math.log10(most));
  const lead = most / power;
  return power * (lead > 5 ? 2 : lead > 2 ? 1 : 0.5);
}

/** Something of an attack, drawn over its steps. */
class Curve {
  #svg;
  #height;
  #title;
  #iterates = [];
  #steps = 1;

  constructor(svg, height, title) {
    this.#svg = svg;
    this.#height = height;
    this.#title = title;
    new ResizeObserver(() => this.#draw()).observe(svg);
  }

  /** @param iterates each with its terms, its distance, and its scores if they are known. @param steps how many there will be. */
  show(iterates, steps) {
    this.#iterates = iterates;
    this.#steps = Math.max(1, steps);
    this.#draw();
  }

  #draw() {
    const width = this.#svg.clientWidth;
    if (!width) return;
    const iterates = this.#iterates;
    const most = this.most(iterates);
    const right = width - MARGIN.right;
    const bottom = this.#height - MARGIN.bottom;
    const x = (step) => MARGIN.left + ((right - MARGIN.left) * step) / this.#steps;
    const y = (value) => bottom - ((bottom - MARGIN.top) * value) / (1.05 * most);
    const nodes = [];

    const distance = tick(most);
    for (let value = 0; value <= 1.05 * most; value += distance) {
      nodes.push(element("line", { class: "lab-grid", x1: MARGIN.left, x2: right, y1: y(value), y2: y(value) }));
      const label = Number(value.toPrecision(3)).toString();
      nodes.push(element("text", { x: MARGIN.left - 8, y: y(value) + 4, "text-anchor": "end" }, label));
    }
    for (const step of new Set([0, Math.round(this.#steps / 2), this.#steps])) {
      nodes.push(element("text", { x: x(step), y: bottom + 16, "text-anchor": "middle" }, step));
    }
    nodes.push(element("text", { x: (MARGIN.left + right) / 2, y: this.#height - 4, "text-anchor": "middle" }, "step"));
    const turned = `rotate(-90) translate(${-(MARGIN.top + bottom) / 2} 12)`;
    nodes.push(element("text", { transform: turned, "text-anchor": "middle" }, this.#title));
    nodes.push(...this.marks(iterates, x, y, right));

    this.#svg.setAttribute("viewBox", `0 0 ${width} ${this.#height}`);
    this.#svg.setAttribute("height", this.#height);
    this.#svg.setAttribute("aria-label", this.inWords(iterates, this.#steps));
    this.#svg.replaceChildren(...nodes);
  }
}

/** A line through points, with a dot at the last one. */
function line(points) {
  const nodes = [element("polyline", { class: "lab-line", points: points.join(" ") })];
  if (points.length) {
    const [cx, cy] = points.at(-1);
    nodes.push(element("circle", { class: "lab-dot", cx, cy, r: 3.5 }));
  }
  return nodes;
}

/** Δ, as stacked groups. */
export class LossCurve extends Curve {
  #groups;

  constructor(svg, groups) {
    super(svg, 220, "Δ to the target");
    this.#groups = groups;
  }

  most(iterates) {
    return Math.max(1e-6, ...iterates.map(({ distance }) => distance));
  }

  marks(iterates, x, y) {
    const nodes = [];
    const floor = iterates.map(() => 0);
    this.#groups.forEach(({ name }, group) => {
      const lower = iterates.map((_, i) => `${x(i)},${y(floor[i])}`).reverse();
      iterates.forEach(({ terms }, i) => (floor[i] += terms[group]));
      const upper = iterates.map((_, i) => `${x(i)},${y(floor[i])}`);
      nodes.push(element("polygon", { class: "lab-area", "data-group": name, points: [...upper, ...lower].join(" ") }));
    });
    return [...nodes, ...line(iterates.map(({ distance }, i) => [x(i), y(distance)]))];
  }

  inWords(iterates, steps) {
    if (iterates.length < 2) return "The course of Δ: empty until an attack runs.";
    const first = iterates[0].distance.toFixed(3);
    const lowest = Math.min(...iterates.map(({ distance }) => distance)).toFixed(3);
    return `The course of Δ over ${iterates.length - 1} of ${steps} steps: from ${first} down to ${lowest}.`;
  }
}

/** The highest of the detector's scores, as a multiple of its threshold, in the steps where they are known. */
export class AlarmCurve extends Curve {
  #thresholds;

  constructor(svg, thresholds) {
    super(svg, 150, "highest score");
    this.#thresholds = thresholds;
  }

  most(iterates) {
    return Math.max(1.2, ...this.#courseOf(iterates).map(([, times]) => times));
  }

  marks(iterates, x, y, right) {
    return [
      element("line", { class: "lab-limit", x1: MARGIN.left, x2: right, y1: y(1), y2: y(1) }),
      ...line(this.#courseOf(iterates).map(([step, times]) => [x(step), y(times)])),
      element("text", { class: "lab-on-line", x: right, y: y(1) - 5, "text-anchor": "end" }, "threshold"),
    ];
  }

  inWords(iterates) {
    const course = this.#courseOf(iterates).map(([, times]) => times);
    if (course.length < 2) return "The course of the detector's highest score: empty until an attack runs.";
    const [first, last, most] = [course[0], course.at(-1), Math.max(...course)].map((times) => times.toFixed(2));
    return `The detector's highest score, as a multiple of its threshold: ${first} at first, ${last} in the end, at most ${most}.`;
  }

  #courseOf(iterates) {
    return iterates
      .filter(({ scores }) => scores)
      .map(({ step, scores }) => [step, highest(scores, this.#thresholds)]);
  }
}

/** The largest multiple of its threshold among scores by name. */
function highest(scores, thresholds) {
  return Math.max(...Object.entries(thresholds).map(([name, threshold]) => scores[name] / threshold));
}

/** The same courses as rows of a table. */
export function courseRows(iterates, thresholds) {
  return iterates.map(({ step, distance, terms, scores }) => {
    const row = document.createElement("tr");
    const alarm = scores ? `${highest(scores, thresholds).toFixed(2)} ×` : "–";
    row.append(...[step, distance.toFixed(4), ...terms.map((term) => term.toFixed(4)), alarm].map((text) => cell(text)));
    return row;
  });
}

function cell(text) {
  const node = document.createElement("td");
  node.textContent = text;
  return node;
}

/**
 * Fills a bar: its width, where it began, and its words. Shares are of the bar's whole length.
 *
 * @param bar an element with the class lab-bar.
 */
export function fill(bar, { share, mark, words, alarm = false }) {
  const percent = (value) => `${100 * Math.min(1, Math.max(0, value))}%`;
  bar.style.setProperty("--share", percent(share));
  bar.style.setProperty("--mark", percent(mark));
  bar.classList.toggle("lab-alarm", alarm);
  bar.nextElementSibling.textContent = words;
}
