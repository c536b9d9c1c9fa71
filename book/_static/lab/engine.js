/* The page's side of the worker: asks it to open and to run graphs, and notices when it is gone. */

import { Fault } from "./faults.js";

/** The worker is lost, or its memory is in an unknown state: only a new one helps. */
export class EngineFault extends Fault {}

// A step takes a fraction of a second. A worker that the system ended for lack of memory never answers.
const PATIENCE = 120_000;

export class Engine {
  #worker;
  #waiting = new Map();
  #asked = 0;
  #onCrash;

  /** @param onCrash called with the fault when the worker is lost, also while nobody waits for an answer. */
  constructor(onCrash) {
    this.#onCrash = onCrash;
    this.#worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    this.#worker.onmessage = ({ data: { id, result, error } }) => {
      const { resolve, reject, timer } = this.#waiting.get(id);
      clearTimeout(timer);
      this.#waiting.delete(id);
      if (error === undefined) resolve(result);
      else reject(new EngineFault(`The computation failed: ${error}`));
    };
    this.#worker.onerror = (event) => this.#crash(event.message);
    this.#worker.onmessageerror = () => this.#crash("an answer could not be read");
  }

  start(wasm) {
    return this.#ask({ task: "start", wasm }, [wasm]);
  }

  open(graph, model) {
    return this.#ask({ task: "open", graph, model }, [model]);
  }

  /** Runs a graph. Inputs and outputs are Float32Arrays by name. */
  run(graph, inputs) {
    return this.#ask({ task: "run", graph, inputs });
  }

  /** Ends the worker. Whoever still waits for an answer gets the fault. */
  close(fault = new EngineFault("The worker was replaced.")) {
    this.#worker.terminate();
    this.#worker.onmessage = null;
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { reject, timer } of waiting) {
      clearTimeout(timer);
      reject(fault);
    }
  }

  #ask(content, transfer = []) {
    const id = this.#asked++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#crash("it does not answer any more"), PATIENCE);
      this.#waiting.set(id, { resolve, reject, timer });
      this.#worker.postMessage({ id, ...content }, transfer);
    });
  }

  #crash(reason) {
    const fault = new EngineFault(`The worker that computes has stopped${reason ? ` (${reason})` : ""}.`);
    this.close(fault);
    this.#onCrash(fault);
  }
}
