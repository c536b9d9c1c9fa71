/* Algorithm 1, one exported step at a time. */

export const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);

/**
 * The iterates of the attack, from the untouched picture (number 0) to the one after the last step. Each has the
 * picture, its code, the terms of Eq. 1 whose sum is its distance Δ to the target, and its excess: how far the detector's
 * scores are too high for the attacker, 0 for one who does not know them. One who does gives each iterate its scores.
 *
 * @param task image (planes in [0, 1]), target (its code), epsilon, rate, weights (λ by group), clipInside, steps; c, the
 * weight of the excess, null for the attack of chapter 7; thresholds of the scores by name.
 */
export async function* iterates(engine, task) {
  const { image, target, epsilon, rate, weights, clipInside, steps, c = null, thresholds = {} } = task;
  const knows = c !== null;
  const fixed = {
    image,
    target,
    bound: Float32Array.of(epsilon),
    rate: Float32Array.of(rate),
    weights: Float32Array.from(weights),
    clip_inside: Float32Array.of(clipInside ? 1 : 0),
    ...(knows && { c: Float32Array.of(c), thresholds: Float32Array.from(Object.values(thresholds)) }),
  };
  let u = new Float32Array(image.length);
  let moment1 = u;
  let moment2 = u;
  for (let step = 0; step <= steps; step++) {
    const inputs = { ...fixed, u, moment1, moment2, step: Float32Array.of(step) };
    const found = await engine.run(knows ? "knowing" : "attack", inputs);
    const iterate = { step, picture: found.attacked, code: found.code, terms: [...found.terms], excess: 0 };
    iterate.distance = sum(found.terms);
    if (knows) {
      iterate.excess = found.excess[0];
      iterate.scores = Object.fromEntries(Object.keys(thresholds).map((name, i) => [name, found.scores[i]]));
    }
    yield iterate;
    ({ next_u: u, next_moment1: moment1, next_moment2: moment2 } = found);
  }
}

/** What the encoder makes of a picture, and how far from the target that is: an attack's iterate number 0. */
export async function judge(engine, image, target, weights) {
  const task = { image, target, weights, epsilon: 0, rate: 0.1, clipInside: false, steps: 0 };
  return (await iterates(engine, task).next()).value;
}

/** Whether an attacker keeps the first of two iterates: the less its scores are too high, then the nearer, the better. */
export const better = (one, other) => (one.excess - other.excess || one.distance - other.distance) < 0;

/** The recovery of chapter 9, by group: the share of the way that a defended code went back to the clean one. */
export function recovery(groups, clean, attacked, defended) {
  return groups.map(({ start, end }) => {
    const moved = (code) => sum([...code.slice(start, end)].map((value, i) => Math.abs(value - clean[start + i])));
    return 1 - moved(defended) / moved(attacked);
  });
}
