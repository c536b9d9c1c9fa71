/* Shows what is known of the faces and the attack: pictures, curve, bars and the words beside them. */

import { AlarmCurve, LossCurve, courseRows, fill } from "./chart.js";
import { difference, draw, greyLevels } from "./picture.js";

const SCORES = { l1: "L1", l2: "L2", linf: "L∞", js: "JS", cosine: "cosine" };
// Where on its bar a term stood before the attack, and where a threshold lies: there is room beyond both.
const BEFORE = 0.75;
const THRESHOLD = 0.5;

const $ = (id) => document.getElementById(`lab-${id}`);
const minus = (text) => text.replace("-", "−");
const percent = (share) => (Number.isFinite(share) ? minus(`${Math.round(100 * share)} %`) : "–");

export class Views {
  #info;
  #curve;
  #alarms;
  #due = false;

  constructor(info) {
    this.#info = info;
    this.#curve = new LossCurve($("curve"), info.groups);
    this.#alarms = new AlarmCurve($("alarm-curve"), info.thresholds);
    $("terms").tBodies[0].append(
      ...info.groups.map(({ name, symbol }) => {
        return row(`<i class="lab-swatch" data-group="${name}"></i> ${symbol}, ${name}`, name);
      }),
    );
    $("scores").querySelector("tbody").append(...Object.entries(SCORES).map(([name, label]) => row(label, name)));
    const { n, false_positives: rate } = info.calibration;
    $("scores-words").textContent =
      `The line is the threshold, frozen on ${n} clean faces so that each score raises ${percent(rate)} false alarms.`;
    const { value, false_accept_rate: accepted } = info.similarity_threshold;
    $("similar-words").textContent =
      `Cosine similarity of identity features. Beyond the line (${value.toFixed(2)}) two faces count as one person; ` +
      `${percent(accepted)} of strangers get there.`;
    const head = ["step", "Δ", ...info.groups.map(({ symbol }) => symbol), "highest score"];
    $("course").tHead.innerHTML = `<tr>${head.map((text) => `<th scope="col">${text}</th>`).join("")}</tr>`;
  }

  /** Paints with the next frame, once, whatever happened since the last one. @param state see lab.js. */
  show(state) {
    if (this.#due) return;
    this.#due = true;
    requestAnimationFrame(() => {
      this.#due = false;
      this.#paint(state);
    });
  }

  /** The course as a table, which would be slow to write with each step. */
  writeCourse(iterates) {
    $("course").tBodies[0].replaceChildren(...courseRows(iterates, this.#info.thresholds));
  }

  #paint(state) {
    const { original, target, before, now } = state;
    const { size } = this.#info;
    const levels = greyLevels(original.picture, now.picture);
    draw($("original"), original.picture, size);
    draw($("target"), target.picture, size);
    draw($("now"), now.picture, size);
    draw($("change"), difference(original.picture, now.picture, state.factor), size);
    $("factor-words").textContent = state.factor;
    $("now-caption").textContent = now.title;
    $("original").setAttribute("aria-label", `The original: ${original.title}`);
    $("target").setAttribute("aria-label", `The target: ${target.title}`);
    $("now").setAttribute("aria-label", `What the encoder reads: ${now.title}`);
    $("change").setAttribute("aria-label", `The change of the original, magnified: at most ${levels} grey levels`);

    this.#curve.show(state.iterates.length ? state.iterates : [before], state.steps);
    this.#alarms.show(state.iterates, state.steps);
    this.#paintTerms(before, now);
    const kept = state.saved ? ` The attacked picture as a file with 8 bits: Δ ${state.saved.distance.toFixed(3)}.` : "";
    $("numbers").textContent =
      `Δ ${before.distance.toFixed(3)} before, ${now.distance.toFixed(3)} now ` +
      `(${percent(now.distance / before.distance)}). Largest change: ${levels}/255.${kept}`;
    this.#paintSimilarity(now.similarity);
    if (original.scores && now.scores) this.#paintScores(original.scores, now.scores);
  }

  #paintTerms(before, now) {
    [...$("terms").tBodies[0].rows].forEach((line, i) => {
      const share = now.terms[i] / before.terms[i]; // without a weight both are 0
      const words = `${percent(share)} · ${now.terms[i].toFixed(4)}`;
      fill(line.querySelector(".lab-bar"), { share: BEFORE * (share || 0), mark: BEFORE, words });
      line.cells[2].textContent = now.recovered ? percent(now.recovered[i]) : "–";
    });
  }

  #paintSimilarity(similarity) {
    const { value } = this.#info.similarity_threshold;
    [...$("similar").tBodies[0].rows].forEach((line, i) => {
      const likeness = similarity[i];
      const words = `${minus(likeness.toFixed(2))}, ${likeness > value ? "same person" : "another person"}`;
      fill(line.querySelector(".lab-bar"), { share: likeness, mark: value, words });
    });
  }

  #paintScores(clean, now) {
    for (const line of $("scores").querySelectorAll("tbody tr")) {
      const name = line.dataset.name;
      const threshold = this.#info.thresholds[name];
      const times = (scores) => `${(scores[name] / threshold).toFixed(2)} ×`;
      const alarm = now[name] > threshold;
      const words = times(now) + (alarm ? ", alarm" : "");
      const share = (THRESHOLD * now[name]) / threshold;
      fill(line.querySelector(".lab-bar"), { share, mark: THRESHOLD, words, alarm });
      line.cells[2].textContent = times(clean);
    }
  }
}

function row(label, name) {
  const line = document.createElement("tr");
  line.dataset.name = name;
  line.innerHTML = `<th scope="row">${label}</th>
    <td><div class="lab-bar" data-group="${name}"></div><span></span></td><td></td>`;
  return line;
}
