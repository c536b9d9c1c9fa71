/* Algorithm 1, one exported step at a time. */

export const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);

/**
 * The iterates of the attack, from the untouched picture (number 0) to the one after the last step. Each has the
 * picture, its code, and the terms of Eq. 1 whose sum is its distance Δ to the target.
 *
 * @param task image (planes in [0, 1]), target (its code), epsilon, rate, weights (λ by group), clipInside, steps.
 */
export async function* iterates(engine, { image, target, epsilon, rate, weights, clipInside, steps }) {
  const fixed = {
    image,
    target,
    bound: Float32Array.of(epsilon),
    rate: Float32Array.of(rate),
    weights: Float32Array.from(weights),
    clip_inside: Float32Array.of(clipInside ? 1 : 0),
  };
  let u = new Float32Array(image.length);
  let moment1 = u;
  let moment2 = u;
  for (let step = 0; step <= steps; step++) {
    const found = await engine.run("attack", { ...fixed, u, moment1, moment2, step: Float32Array.of(step) });
    yield { step, picture: found.attacked, code: found.code, terms: [...found.terms], distance: sum(found.terms) };
    ({ next_u: u, next_moment1: moment1, next_moment2: moment2 } = found);
  }
}

/** What the encoder makes of a picture, and how far from the target that is: an attack's iterate number 0. */
export async function judge(engine, image, target, weights) {
  const task = { image, target, weights, epsilon: 0, rate: 0.1, clipInside: false, steps: 0 };
  return (await iterates(engine, task).next()).value;
}

/** The recovery of chapter 9, by group: the share of the way that a defended code went back to the clean one. */
export function recovery(groups, clean, attacked, defended) {
  return groups.map(({ start, end }) => {
    const moved = (code) => sum([...code.slice(start, end)].map((value, i) => Math.abs(value - clean[start + i])));
    return 1 - moved(defended) / moved(attacked);
  });
}
