/* The loss curve, as a picture of stacked groups and as a table, and bars with a mark. */

const SVG = "http://www.w3.org/2000/svg";
const MARGIN = { top: 12, right: 12, bottom: 36, left: 52 };
const HEIGHT = 220;

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

export class LossCurve {
  #svg;
  #groups;
  #iterates = [];
  #steps = 1;

  constructor(svg, groups) {
    this.#svg = svg;
    this.#groups = groups;
    new ResizeObserver(() => this.#draw()).observe(svg);
  }

  /** @param iterates each with its terms and its distance. @param steps how many there will be. */
  show(iterates, steps) {
    this.#iterates = iterates;
    this.#steps = Math.max(1, steps);
    this.#draw();
  }

  #draw() {
    const width = this.#svg.clientWidth;
    if (!width) return;
    const iterates = this.#iterates;
    const most = Math.max(1e-6, ...iterates.map(({ distance }) => distance));
    const right = width - MARGIN.right;
    const bottom = HEIGHT - MARGIN.bottom;
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
    nodes.push(element("text", { x: (MARGIN.left + right) / 2, y: HEIGHT - 4, "text-anchor": "middle" }, "step"));
    const turned = `rotate(-90) translate(${-(MARGIN.top + bottom) / 2} 12)`;
    nodes.push(element("text", { transform: turned, "text-anchor": "middle" }, "Δ to the target"));

    const floor = iterates.map(() => 0);
    this.#groups.forEach(({ name }, group) => {
      const lower = iterates.map((_, i) => `${x(i)},${y(floor[i])}`).reverse();
      iterates.forEach(({ terms }, i) => (floor[i] += terms[group]));
      const upper = iterates.map((_, i) => `${x(i)},${y(floor[i])}`);
      nodes.push(element("polygon", { class: "lab-area", "data-group": name, points: [...upper, ...lower].join(" ") }));
    });
    const line = iterates.map(({ distance }, i) => `${x(i)},${y(distance)}`).join(" ");
    nodes.push(element("polyline", { class: "lab-line", points: line }));
    if (iterates.length) {
      const last = iterates.length - 1;
      nodes.push(element("circle", { class: "lab-dot", cx: x(last), cy: y(iterates[last].distance), r: 3.5 }));
    }

    this.#svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    this.#svg.setAttribute("height", HEIGHT);
    this.#svg.setAttribute("aria-label", this.#inWords());
    this.#svg.replaceChildren(...nodes);
  }

  #inWords() {
    const iterates = this.#iterates;
    if (iterates.length < 2) return "The course of Δ: empty until an attack runs.";
    const first = iterates[0].distance.toFixed(3);
    const lowest = Math.min(...iterates.map(({ distance }) => distance)).toFixed(3);
    return `The course of Δ over ${iterates.length - 1} of ${this.#steps} steps: from ${first} down to ${lowest}.`;
  }
}

/** The same course as rows of a table. */
export function courseRows(iterates) {
  return iterates.map(({ step, distance, terms }) => {
    const row = document.createElement("tr");
    row.append(...[step, distance.toFixed(4), ...terms.map((term) => term.toFixed(4))].map((text) => cell(text)));
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
