// One head in a frame: a base plus what each slider adds to it, drawn by k3d. It needs no kernel and no server.
"use strict";

const find = (selector) => document.querySelector(selector);
const data = JSON.parse(find("#data").textContent);
const form = find("form");
const frame = window.frameElement; // null where the page around may not be seen

// Arrays travel as 16-bit integers in base64, with the size of one unit.
function integers(text, Type) {
  return new Type(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
}

function unpack(packed) {
  return Float32Array.from(integers(packed.data, Int16Array), (value) => value * packed.unit);
}

function script(address) {
  return new Promise((resolve, reject) => {
    const element = document.createElement("script");
    Object.assign(element, { src: address, onload: resolve, onerror: () => reject(new Error(address)) });
    document.head.append(element);
  });
}

// The viewer's library: from this site, else from its public address.
async function library() {
  if (!document.createElement("canvas").getContext("webgl2")) throw new Error("There is no WebGL.");
  let made;
  window.k3dCompressed = ""; // else k3d reads its own script once more, for an export that we do not offer
  window.define = (name, needs, factory) => { made = factory(); };
  for (const address of data.scripts) {
    if (!made) await script(address).catch(() => {});
  }
  if (!made) throw new Error("The viewer's script could not be loaded.");
  return made;
}

// A slider with one direction multiplies it; one with several goes from each to the next, as between key frames.
function weight(value, index, count) {
  return count === 1 ? value : Math.max(0, 1 - Math.abs(value - 1 - index));
}

// A slider of the page: what it adds to vertices and colours, and how it writes its value.
function row(slider) {
  const label = find("template").content.firstElementChild.cloneNode(true);
  const [left, input, right] = label.children;
  const { name, ends, low, high, step, unit } = slider;
  Object.assign(input, { min: Math.round(low / step), max: Math.round(high / step), defaultValue: 0 }); // counts steps
  input.setAttribute("aria-label", name);
  left.textContent = ends[0];
  find("#rows").append(label);
  const value = () => step * input.value;
  return {
    value,
    directions: [slider.vertices.map(unpack), slider.colours.map(unpack)],
    write() {
      const sign = value() > 0 ? "+" : value() < 0 ? "−" : "";
      const text = unit ? `${sign}${Math.abs(value()).toFixed(1)} ${unit}` : `${Math.round((100 * value()) / high)} %`;
      input.setAttribute("aria-valuetext", text);
      right.value = unit ? text : ends[1];
    },
  };
}

async function start() {
  const k3d = await library();
  const { centre, distance, yaw, fov, lighting, exposure } = data.view;
  const stage = find("#stage");
  const target = document.createElement("div");
  stage.prepend(target);
  const viewer = new k3d.K3D(k3d.ThreeJsProvider, target, {
    clearColor: -1, lighting, gridVisible: false, axesHelper: 0, menuVisibility: false, cameraFov: fov,
    cameraMode: "orbit", cameraAutoFit: false, cameraNoZoom: true, cameraNoPan: true,
  });
  window.K3DInstance = viewer; // as in k3d's own pages, for the console
  target.style.backgroundColor = "transparent";

  const base = [unpack(data.vertices), unpack(data.colours)];
  const count = base[0].length / 3;
  await viewer.load({ objects: [{
    id: 1, type: "Mesh", visible: true, flat_shading: false, side: "front", roughness: 1,
    vertices: { data: base[0].slice(), shape: [count, 3] },
    indices: { data: Uint32Array.from(integers(data.faces, Uint16Array)) },
    colors: { data: new Uint32Array(count) },
    model_matrix: { data: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1] },
  }] });
  const { controls, ObjectsById } = viewer.getWorld();
  const { geometry } = ObjectsById[1];
  const { position, color } = geometry.attributes;
  const rows = data.sliders.map(row);

  function total(kind) {
    const sum = base[kind].slice();
    for (const { value, directions } of rows) {
      directions[kind].forEach((direction, index, all) => {
        const w = weight(value(), index, all.length);
        if (w) for (let i = 0; i < sum.length; i++) sum[i] += w * direction[i];
      });
    }
    return sum;
  }

  function draw() {
    position.array.set(total(0));
    color.array.set(total(1).map((value) => exposure * Math.min(Math.max(value, 0), 1)));
    position.needsUpdate = color.needsUpdate = true;
    geometry.computeVertexNormals();
    rows.forEach((each) => each.write());
    viewer.render();
  }

  // The camera stands so far away that the head fills the frame, turned (radians) to its right and upwards.
  function stand(right, up) {
    const away = distance / Math.min(1, stage.clientWidth / stage.clientHeight);
    const along = [Math.sin(right) * Math.cos(up), Math.sin(up), Math.cos(right) * Math.cos(up)];
    viewer.setCamera([...centre.map((c, axis) => c + away * along[axis]), ...centre, 0, 1, 0]);
  }

  function turn(right, up) {
    const [x, y, z] = controls.getCameraArray().map((c, axis) => c - centre[axis]);
    stand(Math.atan2(x, z) + right, Math.atan2(y, Math.hypot(x, z)) + up);
  }

  // A face has no back to look at.
  Object.assign(controls, { minAzimuthAngle: -1.8, maxAzimuthAngle: 1.8, minPolarAngle: 0.6, maxPolarAngle: 2.5 });
  const canvas = target.querySelector("canvas");
  const hint = `${document.title}. Drag it, or use the arrow keys, to turn it.`;
  Object.assign(canvas, { tabIndex: 0, role: "img", ariaLabel: hint });
  canvas.onkeydown = (event) => {
    const keys = { ArrowLeft: [0.1, 0], ArrowRight: [-0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] };
    if (!keys[event.key]) return;
    event.preventDefault();
    turn(...keys[event.key]);
  };

  let asked = 0; // at most one drawing a frame, however fast the slider moves
  form.oninput = () => { cancelAnimationFrame(asked); asked = requestAnimationFrame(draw); };
  form.onsubmit = () => false;
  form.onreset = () => setTimeout(() => { stand(yaw, 0); draw(); });

  form.hidden = false;
  find("#still").hidden = true;
  draw();
  stand(yaw, 0);
  new ResizeObserver(() => turn(0, 0)).observe(stage);
}

// Dark or light is what lies behind the frame: the nearest background that one can see, else the text's opposite.
function adopt() {
  const numbers = (colour) => colour.match(/[\d.]+/g).map(Number);
  const bright = ([r, g, b]) => 0.3 * r + 0.6 * g + 0.1 * b > 128;
  let dark = bright(numbers(getComputedStyle(frame.parentElement).color));
  for (let element = frame; element; element = element.parentElement) {
    const colour = numbers(getComputedStyle(element).backgroundColor);
    if (colour[3] !== 0) { dark = !bright(colour); break; }
  }
  document.documentElement.dataset.theme = dark ? "dark" : "light";
}

if (frame) {
  const page = frame.ownerDocument;
  adopt();
  const themes = new MutationObserver(adopt);
  for (const element of [page.documentElement, page.body]) themes.observe(element, { attributes: true });
  new ResizeObserver(() => { frame.style.height = `${document.body.offsetHeight}px`; }).observe(document.body);
}
find("#sorry").hidden = true;
start().catch((error) => { console.warn(error); find("#sorry").hidden = false; });
