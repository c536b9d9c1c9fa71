/* Hands results to the reader as files. */

import { toPng } from "./picture.js";

export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

async function base64(blob) {
  const reader = new FileReader();
  const read = new Promise((resolve) => (reader.onload = resolve));
  reader.readAsDataURL(blob);
  await read;
  return reader.result.split(",")[1];
}

/** A run as a JSON file, from which `mofa_lib.web.verify_run` computes the distances again. */
export async function report(info, run) {
  const { settings, original, target, best, saved, scores } = run;
  const names = info.groups.map(({ name }) => name);
  const byName = (numbers) => Object.fromEntries(names.map((name, i) => [name, numbers[i]]));
  const [originalPng, targetPng, adversarialPng] = await Promise.all(
    [original, target, saved].map(async ({ picture }) => base64(await toPng(picture, info.size))),
  );
  const content = {
    format: "mofa-lab-run-1",
    profile: info.profile,
    weights_digest: info.weights_digest,
    size: info.size,
    epsilon: settings.epsilon,
    steps: run.iterates.length - 1,
    rate: settings.rate,
    weights: byName(settings.weights),
    clip_inside: settings.clipInside,
    knows_detector: settings.c !== null,
    c: settings.c,
    original: originalPng,
    target: targetPng,
    adversarial: adversarialPng,
    course: run.iterates.map(({ distance }) => distance),
    best: { step: best.step, distance: best.distance, terms: byName(best.terms) },
    saved_distance: saved.distance,
    scores,
  };
  return new Blob([JSON.stringify(content, null, 1)], { type: "application/json" });
}
