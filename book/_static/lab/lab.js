/* The lab: loads what it needs when the reader asks for it, and leads from the controls to the attack to the views. */

import { better, iterates, judge, recovery, sum } from "./attack.js";
import { Controls } from "./controls.js";
import { Cropper, readPhoto } from "./crop.js";
import { download, downloadBlob, downloadJson, megabytes } from "./download.js";
import { Engine, EngineFault } from "./engine.js";
import { writeExperiments } from "./experiments.js";
import { Fault, sentence } from "./faults.js";
import { fromFile, noisy, rounded, toPng } from "./picture.js";
import { report, save } from "./save.js";
import { Views } from "./views.js";

const DATA = new URL("./data/", import.meta.url);
const VENDOR = new URL("../vendor/", import.meta.url);
const WASM = "onnxruntime/ort-wasm-simd-threaded.wasm";
// The graphs that every experiment needs. Two wait until they are asked for: the detector's autoencoder, by far the
// largest, and the step of an attacker who knows the detector, which reads its weights in the files of the others.
const GRAPHS = ["attack", "face", "scores"];
const DETECTOR_GRAPH = "reform";
const KNOWING_GRAPH = "knowing";
const ASK_EVERY = 5; // steps
const OWN = "own";

const $ = (id) => document.getElementById(`lab-${id}`);
const say = (words) => ($("status").textContent = words);

let info;
let runtime; // names and sizes of the files that the lab runs on
let engine;
let controls;
let cropper;
let views;
let heads = null; // where the browser draws no 3D it stays so
let later = new Map(); // the promises of the graphs that were asked for later, by name
let detecting = false;
let running = false;
let stopped = false;
let ownFace;

/*
 * What the views show.
 * original, target: { value, picture, code, title }; the original has the detector's scores as well.
 * before: the original, judged. iterates: those of the last attack, of so many steps with such settings.
 * best: the one of them that the attacker keeps. saved: the same as a file keeps it, judged.
 * now: what the encoder reads, judged, with a title, similarity, recovered and scores.
 */
const state = { iterates: [], steps: 1, factor: 10 };

/* Faults. */

/** @param again what a second try is, if there is one. A lost worker is replaced first. */
function showFault(error, again) {
  if (error instanceof EngineFault && !$("room").hidden) again = restart;
  $("fault").hidden = false;
  $("fault").querySelector("p").textContent = sentence(error);
  $("again").hidden = !again;
  $("again").onclick = () => {
    hideFault();
    again();
  };
}

function hideFault() {
  $("fault").hidden = true;
}

// One thing after the other: the answer to an early click must not overtake that to a late one.
let last = Promise.resolve();
function inTurn(job) {
  $("room").setAttribute("aria-busy", true);
  const mine = last
    .then(job)
    .catch((error) => showFault(error, () => inTurn(job)))
    .then(() => $("room").setAttribute("aria-busy", last !== mine));
  last = mine;
}

/* Loading. */

const sizeOf = (graph) => info.files[`${graph}.onnx`];
const engineSize = () => runtime[WASM] + sum(GRAPHS.map(sizeOf));
const firstSize = () => sum(Object.values(runtime)) + sum(GRAPHS.map(sizeOf));

/** Shows a bar while a job loads so many bytes. The job gets a function to call with each further number of them. */
async function withProgress(size, job) {
  let loaded = 0;
  const add = (bytes) => {
    loaded += bytes;
    $("progress").value = loaded / size;
    $("loaded").textContent = `${megabytes(loaded)} of ${megabytes(size)} MB`;
  };
  add(0);
  $("loading").hidden = false;
  try {
    await job(add);
  } finally {
    $("loading").hidden = true;
  }
}

async function openGraph(graph, add) {
  const model = await download(new URL(`${graph}.onnx`, DATA), sizeOf(graph), add);
  await engine.open(graph, model);
}

async function startEngine(add) {
  engine?.close();
  engine = new Engine((fault) => showFault(fault, restart));
  later = new Map();
  await engine.start(await download(new URL(WASM, VENDOR), runtime[WASM], add));
  for (const graph of GRAPHS) await openGraph(graph, add);
}

async function load() {
  $("load").disabled = true;
  say("Loading.");
  try {
    await withProgress(firstSize(), async (add) => {
      // Modules are fetched by the browser itself, which tells neither how far it is nor what went wrong.
      for (const [name, size] of Object.entries(runtime)) {
        if (name !== WASM) await download(new URL(name, VENDOR), size, add);
      }
      await startEngine(add);
    });
    if (!controls) {
      await makeHeads();
      build();
    }
    await takeFaces({ original: "0", target: "1" });
    $("door").hidden = true;
    $("room").hidden = false;
    say("The lab is loaded. Choose two faces, and press start.");
  } catch (error) {
    engine?.close();
    $("load").disabled = false;
    say("");
    showFault(error, load);
  }
}

/** After a crash: a new worker; everything else stays. */
function restart() {
  inTurn(async () => {
    say("Starting the worker again.");
    await withProgress(engineSize(), startEngine);
    if (detecting) await need(DETECTOR_GRAPH);
    await look();
    say("The worker runs again.");
  });
}

/** Loads a graph that waits until it is asked for, once. */
function need(graph) {
  if (!later.has(graph)) {
    const loading = withProgress(sizeOf(graph), (add) => openGraph(graph, add)).catch((error) => {
      later.delete(graph);
      throw error;
    });
    later.set(graph, loading);
  }
  return later.get(graph);
}

async function needKnowing() {
  await need(DETECTOR_GRAPH);
  await need(KNOWING_GRAPH);
}

async function makeHeads() {
  const faces = await downloadBlob(new URL("faces.bin", DATA));
  const { Heads } = await import("./head.js");
  const boxes = Object.fromEntries([...document.querySelectorAll("[data-head]")].map((box) => [box.dataset.head, box]));
  try {
    heads = new Heads($("heads"), boxes, new Uint16Array(await faces.arrayBuffer()));
  } catch (error) {
    $("flat").querySelector("p").textContent = sentence(error);
    $("flat").hidden = false;
    $("solid").hidden = true;
    document.querySelector("[data-save=glb]").disabled = true;
  }
}

/* What the graphs compute. */

const encode = async (picture) =>
  (await judge(engine, picture, new Float32Array(info.length), info.groups.map(() => 0))).code;

const reform = async (picture) => (await engine.run(DETECTOR_GRAPH, { image: picture })).drawn;

async function scoresOf({ picture, code }) {
  const drawn = await reform(picture);
  const found = await engine.run("scores", { image: picture, drawn, before: code, after: await encode(drawn) });
  return Object.fromEntries(Object.keys(info.thresholds).map((name) => [name, found[name][0]]));
}

async function similarity(a, b) {
  const none = new Float32Array(3 * info.size ** 2);
  return 1 - (await engine.run("scores", { image: none, drawn: none, before: a, after: b })).cosine[0];
}

async function showHead(name, code) {
  if (!heads) return;
  const { vertices, colours } = await engine.run("face", { code });
  heads.show(name, vertices, colours);
}

/**
 * Shows what the encoder reads.
 *
 * @param reading a judged picture with a title.
 * @param asked whether the identity classifier and the detector are asked about it too; else their last words stay.
 */
async function read(reading, asked) {
  const { original, target } = state;
  await showHead("now", reading.code);
  if (asked) {
    reading.similarity = [await similarity(reading.code, original.code), await similarity(reading.code, target.code)];
    if (detecting) {
      original.scores ??= await scoresOf(original);
      reading.scores ??= await scoresOf(reading);
    }
  }
  state.now = { ...state.now, recovered: null, ...reading };
  views.show(state);
}

/* What the reader does. */

async function takeFaces(values) {
  try {
    for (const [role, value] of Object.entries(values)) {
      const face = value === OWN ? ownFace : await galleryFace(value);
      state[role] = { ...face, value, code: await encode(face.picture) };
      await showHead(role, state[role].code);
    }
  } finally {
    for (const role of Object.keys(values)) controls.choose(role, state[role]?.value);
  }
  await begin();
}

async function galleryFace(value) {
  const { file, alt } = info.gallery[value];
  return { picture: await fromFile(await downloadBlob(new URL(file, DATA)), info.size, alt), title: alt };
}

async function begin() {
  forget();
  state.weights = controls.weights;
  state.before = await judge(engine, state.original.picture, state.target.code, state.weights);
  await look();
}

/** Forgets the last attack. */
function forget() {
  Object.assign(state, { iterates: [], best: null, saved: null });
  views.writeCourse([]);
  $("reading").form.elements.treatment.value = "plain";
  offerAttacked(false);
}

function offerAttacked(there) {
  const { base } = $("reading").form.elements;
  [...base].find(({ value }) => value === "attacked").disabled = !there;
  base.value = there ? "attacked" : "original";
  for (const kind of ["png", "json"]) document.querySelector(`[data-save=${kind}]`).disabled = !there;
}

/** Lets the encoder read what the reader chose. */
async function look() {
  const { base, treatment } = $("reading").form.elements;
  const attacked = base.value === "attacked";
  const picture = await treat((attacked ? state.best : state.original).picture, treatment.value);
  const reading = await judge(engine, picture, state.target.code, state.weights);
  const words = { plain: "", rounded: ", 8 bits", noisy: ", with noise", reformed: ", reformed" };
  reading.title = (attacked ? `attacked, step ${state.best.step}` : "original") + words[treatment.value];
  if (attacked && treatment.value !== "plain") {
    reading.recovered = recovery(info.groups, state.original.code, state.best.code, reading.code);
  }
  await read(reading, true);
}

async function treat(picture, treatment) {
  if (treatment === "rounded") return rounded(picture);
  if (treatment === "noisy") return noisy(picture, $("alpha").valueAsNumber);
  if (treatment === "plain") return picture;
  await need(DETECTOR_GRAPH);
  return reform(picture);
}

async function attack(settings) {
  setRunning(true);
  forget();
  Object.assign(state, { settings, weights: settings.weights, steps: settings.steps });
  say(`The attack runs: ${settings.steps} steps.`);
  const { original, target } = state;
  const knows = settings.c !== null;
  const task = { ...settings, image: original.picture, target: target.code, thresholds: info.thresholds };
  try {
    if (knows) await needKnowing();
    const began = performance.now();
    for await (const iterate of iterates(engine, task)) {
      const { step, distance, terms } = iterate;
      if (step === 0) state.before = iterate;
      const entry = { step, distance, terms, scores: iterate.scores };
      state.iterates.push(entry);
      if (!state.best || better(iterate, state.best)) state.best = { ...iterate };
      $("step").textContent = `step ${step} of ${settings.steps}, Δ ${distance.toFixed(3)}`;
      const reading = { ...iterate, title: `step ${step}` };
      await read(reading, step % ASK_EVERY === 0);
      entry.scores = reading.scores;
      if (stopped) break;
    }
    const took = performance.now() - began;
    const steps = state.iterates.length - 1;
    state.steps = Math.max(1, steps);
    state.saved = await judge(engine, rounded(state.best.picture), target.code, settings.weights);
    views.writeCourse(state.iterates);
    offerAttacked(true);
    await look();
    say(
      `${stopped ? "Stopped" : "Done"} after ${steps} steps, ${Math.round(took / (steps + 1))} ms each. ` +
        `Δ fell from ${state.before.distance.toFixed(3)} to ${state.best.distance.toFixed(3)} (step ${state.best.step}).` +
        (knows && (state.best.excess > 0 || state.best.step === 0)
          ? " No step came nearer with every score low enough: a larger c may help."
          : ""),
    );
  } finally {
    setRunning(false);
  }
}

function setRunning(now) {
  running = now;
  stopped = false;
  for (const part of ["setup", "knowledge", "reading", "start"]) $(part).disabled = now;
  $("stop").disabled = !now;
  if (now) $("step").textContent = "";
}

async function takePhoto(file) {
  const picture = await cropper.ask(await readPhoto(file, info.size));
  if (!picture) return;
  ownFace = { picture, title: "your photo" };
  controls.removeFace("original", OWN);
  controls.addFace("original", OWN, URL.createObjectURL(await toPng(picture, info.size)), "Yours", "your photo");
  inTurn(() => takeFaces({ original: OWN }));
}

async function switchDetector() {
  const wanted = $("detector").checked;
  try {
    if (wanted) await need(DETECTOR_GRAPH);
  } catch (error) {
    $("detector").checked = false;
    showFault(error, () => $("detector").click());
    return;
  }
  detecting = wanted;
  $("scores").hidden = !wanted;
  $("alarms").hidden = !wanted;
  if (!running) inTurn(look);
}

/** An attacker who knows the detector. Whoever wants to see one wants to see the scores. */
async function switchKnowing() {
  const wanted = $("knows").checked;
  $("known").hidden = !wanted;
  if (!wanted) return;
  if (!$("detector").checked) $("detector").click();
  try {
    await needKnowing();
  } catch (error) {
    $("knows").checked = false;
    $("known").hidden = true;
    showFault(error, () => $("knows").click());
  }
}

async function saveAs(kind) {
  if (kind === "png") save(await toPng(state.saved.picture, info.size), "adversarial.png");
  if (kind === "glb") save(await heads.toGlb("now"), "head.glb");
  if (kind === "json") {
    const scores = detecting ? await scoresOf(state.saved) : null;
    save(await report(info, { ...state, scores }), "run.json");
  }
}

function setUp(settings, title) {
  if (running) {
    say("Stop the attack first.");
    return;
  }
  controls.set(settings);
  if (settings.detector && !$("detector").checked) $("detector").click();
  switchKnowing();
  inTurn(begin);
  say(`The lab is set up for “${title}”. Press start.`);
  $("start").focus();
}

/* Wiring. */

function build() {
  controls = new Controls($("controls"), info, DATA);
  cropper = new Cropper($("crop"), info.size);
  views = new Views(info);
  writeExperiments($("experiments"), setUp);
  $("detector-size").textContent = `(loads ${megabytes(sizeOf(DETECTOR_GRAPH))} MB once)`;

  $("controls").addEventListener("submit", (event) => {
    event.preventDefault();
    const { settings } = controls;
    if (!settings || running) return;
    setRunning(true);
    inTurn(() => attack(settings));
  });
  $("stop").addEventListener("click", () => (stopped = true));
  $("setup").addEventListener("change", ({ target: { name, value } }) => {
    if (name === "original" || name === "target") inTurn(() => takeFaces({ [name]: value }));
  });
  const weigh = () => state.best || inTurn(begin);
  $("weights").addEventListener("change", weigh);
  $("paper").addEventListener("click", () => {
    controls.setPaperWeights();
    weigh();
  });
  $("photo").addEventListener("change", async ({ target: input }) => {
    const [file] = input.files;
    input.value = ""; // so that the same file can be chosen again
    if (file) takePhoto(file).catch((error) => showFault(error));
  });
  $("detector").addEventListener("change", switchDetector);
  $("knows").addEventListener("change", switchKnowing);
  $("reading").addEventListener("change", () => inTurn(look));
  $("alpha").addEventListener("input", sayAlpha);
  $("factor").addEventListener("input", () => {
    state.factor = $("factor").valueAsNumber;
    views.show(state);
  });
  $("turns").addEventListener("click", ({ target: { dataset } }) => {
    if (dataset.turn === "0") heads.face();
    else if (dataset.turn) heads.turn(Number(dataset.turn), 0);
  });
  for (const button of document.querySelectorAll("[data-save]")) {
    button.addEventListener("click", () => inTurn(() => saveAs(button.dataset.save)));
  }
  sayAlpha();
}

function sayAlpha() {
  $("alpha-words").textContent = $("alpha").valueAsNumber.toFixed(2);
}

async function open() {
  $("notice").hidden = true;
  $("dismiss").onclick = hideFault;
  try {
    if (typeof WebAssembly !== "object") {
      throw new Fault("This browser runs no WebAssembly, so the lab cannot start. The picture shows what happens in it.");
    }
    [info, runtime] = await Promise.all([
      downloadJson(new URL("lab.json", DATA)),
      downloadJson(new URL("lab_runtime.json", VENDOR)),
    ]);
    $("load").textContent = `Load the lab (${megabytes(firstSize())} MB)`;
    $("load").disabled = false;
    $("load").onclick = load;
  } catch (error) {
    showFault(error, open);
  }
}

open();
