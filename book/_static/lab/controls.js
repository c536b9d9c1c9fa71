/* The form: which faces, which attack. */

export class Controls {
  #form;
  #groups;
  #steps;

  /** @param info what lab.json says of the exported attack and its faces. @param data where the faces lie. */
  constructor(form, info, data) {
    this.#form = form;
    this.#groups = info.groups;
    this.#steps = info.steps;
    for (const role of ["original", "target"]) {
      info.gallery.forEach(({ file, name, alt }, i) => this.addFace(role, i, new URL(file, data), name, alt));
    }
    for (const { name, symbol } of info.groups) {
      const label = document.createElement("label");
      label.className = "lab-field lab-inline";
      label.innerHTML = `<span><i class="lab-swatch" data-group="${name}"></i> ${symbol}, ${name}</span>
        <input type="number" name="weight-${name}" min="0" step="any" required>`;
      form.querySelector("#lab-weights").append(label);
    }
    form.elements.epsilon.addEventListener("input", () => this.#sayEpsilon());
    form.elements.c.addEventListener("input", () => this.#sayC());
    this.set({ epsilon: info.epsilon, rate: info.rate, clipInside: false });
    this.c = info.c;
  }

  /** Adds a face to choose. */
  addFace(role, value, source, name, alt) {
    const label = document.createElement("label");
    label.title = name;
    label.innerHTML = `<input type="radio" name="${role}" class="lab-unseen"><img width="44" height="44">`;
    label.querySelector("input").value = value;
    Object.assign(label.querySelector("img"), { src: source, alt });
    this.#gallery(role).append(label);
  }

  removeFace(role, value) {
    this.#gallery(role).querySelector(`[value="${value}"]`)?.closest("label").remove();
  }

  choose(role, value) {
    this.#form.elements[role].value = value;
  }

  /** λ by group; a field that holds no number counts as 0. */
  get weights() {
    return this.#groups.map(({ name }) => this.#form.elements[`weight-${name}`].valueAsNumber || 0);
  }

  /** The attack as the form has it; null if a field is out of range, and then the browser says which. */
  get settings() {
    const { epsilon, steps, rate, clipInside, knows } = this.#form.elements;
    const fields = this.#groups.map(({ name }) => this.#form.elements[`weight-${name}`]);
    const weighed = this.weights.some((weight) => weight > 0);
    fields[0].setCustomValidity(weighed ? "" : "One weight at least must be more than 0.");
    // A browser cannot point at a field inside a closed block.
    if (!this.#form.checkValidity()) fields[0].closest("details").open = true;
    if (!this.#form.reportValidity()) return null;
    return {
      epsilon: epsilon.valueAsNumber,
      steps: steps.valueAsNumber,
      rate: rate.valueAsNumber,
      clipInside: clipInside.checked,
      weights: this.weights,
      c: knows.checked ? this.c : null,
    };
  }

  /** The weight of the detector's scores for an attacker who knows them. The slider has its logarithm. */
  get c() {
    return Number((10 ** this.#form.elements.c.valueAsNumber).toPrecision(2));
  }

  set c(c) {
    this.#form.elements.c.value = Math.log10(c);
    this.#sayC();
  }

  /** Sets an attack up, with the paper's weights and as many steps as the book's. Without c it knows no detector. */
  set({ epsilon, rate, clipInside, c = null }) {
    const fields = this.#form.elements;
    fields.knows.checked = c !== null;
    if (c !== null) this.c = c;
    fields.epsilon.value = epsilon;
    fields.rate.value = rate;
    fields.clipInside.checked = clipInside;
    fields.steps.value = this.#steps;
    fields.epsilon.closest("fieldset").querySelector("details").open = clipInside;
    this.#sayEpsilon();
    this.setPaperWeights();
  }

  setPaperWeights() {
    for (const { name, weight } of this.#groups) this.#form.elements[`weight-${name}`].value = weight;
  }

  #gallery(role) {
    return this.#form.querySelector(`[data-role="${role}"] > div`);
  }

  #sayC() {
    this.#form.querySelector("#lab-c-words").textContent = this.c;
    this.#form.elements.c.setAttribute("aria-valuetext", this.c);
  }

  #sayEpsilon() {
    const { epsilon } = this.#form.elements;
    const levels = `${(255 * epsilon.valueAsNumber).toFixed(1)}/255`;
    this.#form.querySelector("#lab-epsilon-words").textContent = `${epsilon.valueAsNumber.toFixed(4)} = ${levels}`;
    epsilon.setAttribute("aria-valuetext", `${epsilon.valueAsNumber.toFixed(4)}, ${levels}`);
  }
}
