/* Runs exported graphs with onnxruntime, beside the page. It knows their names and shapes, and nothing of attacks. */

const RUNTIME = new URL("../vendor/onnxruntime/", import.meta.url);
const sessions = new Map();
const files = []; // of the graphs that are open: a later one may keep no weights of its own, and read them there
let ort;

const tasks = {
  async start({ wasm }) {
    ort = await import(new URL("ort.wasm.min.mjs", RUNTIME));
    ort.env.wasm.wasmPaths = RUNTIME.href;
    ort.env.wasm.wasmBinary = wasm;
    // Threads need headers (COOP, COEP) that a static host does not send.
    ort.env.wasm.numThreads = 1;
  },

  async open({ graph, model }) {
    const data = new Uint8Array(model);
    sessions.set(graph, await ort.InferenceSession.create(data, { externalData: files }));
    files.push({ path: `${graph}.onnx`, data });
  },

  async run({ graph, inputs }) {
    const session = sessions.get(graph);
    const feeds = {};
    for (const { name, shape } of session.inputMetadata) feeds[name] = new ort.Tensor("float32", inputs[name], shape);
    const outputs = await session.run(feeds);
    // Copies: a tensor may be a view of the runtime's own memory, which cannot be handed over.
    return Object.fromEntries(Object.entries(outputs).map(([name, tensor]) => [name, tensor.data.slice()]));
  },
};

async function answer({ id, task, ...content }) {
  try {
    const result = await tasks[task](content);
    postMessage({ id, result }, { transfer: Object.values(result ?? {}).map((data) => data.buffer) });
  } catch (error) {
    postMessage({ id, error: error.message ?? String(error) });
  }
}

// One at a time: the runtime has one thread and one memory.
let last = Promise.resolve();
onmessage = ({ data }) => {
  last = last.then(() => answer(data));
};
