/* Cuts a face out of a photograph by hand, in a dialog: drag, zoom and turn, with a mouse, fingers or keys. */

import { Fault } from "./faults.js";
import { toPlanes } from "./picture.js";

// Where the eyes, the tip of the nose and the corners of the mouth of every aligned picture lie, in parts of its side
// (mofa_lib.alignment.five_point_template).
const POINTS = [[0.37, 0.389], [0.621, 0.389], [0.495, 0.524], [0.387, 0.68], [0.605, 0.68]];
const OUTLINE = { x: 0.495, y: 0.5, width: 0.36, height: 0.48 };
const ZOOM_STEP = 1.05;
const FINEST = 16;

/** A photograph from the reader's disk. It is decoded here and goes nowhere. */
export async function readPhoto(file, size) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new Fault(`“${file.name}” is no picture that this browser can read. Try a JPEG or a PNG.`);
  }
  const { width, height } = bitmap;
  if (Math.min(width, height) < size) {
    throw new Fault(`“${file.name}” is too small: ${width} × ${height} pixels. The encoder reads ${size} × ${size}.`);
  }
  return bitmap;
}

export class Cropper {
  #dialog;
  #canvas;
  #zoom;
  #turn;
  #size;
  #photo;
  #view; // the middle of the cut and its side, in pixels of the photograph
  #fingers = new Map();

  /** @param dialog a <dialog> with a canvas, the ranges "zoom" and "turn", and buttons that close it. */
  constructor(dialog, size) {
    this.#dialog = dialog;
    this.#size = size;
    this.#canvas = dialog.querySelector("canvas");
    this.#zoom = dialog.querySelector("[name=zoom]");
    this.#turn = dialog.querySelector("[name=turn]");
    this.#zoom.addEventListener("input", () => this.#zoomTo(this.#widest * Math.exp(-this.#zoom.valueAsNumber)));
    this.#turn.addEventListener("input", () => this.#draw());
    this.#canvas.addEventListener("pointerdown", (event) => this.#onDown(event));
    this.#canvas.addEventListener("pointermove", (event) => this.#onMove(event));
    for (const end of ["pointerup", "pointercancel"]) {
      this.#canvas.addEventListener(end, ({ pointerId }) => this.#fingers.delete(pointerId));
    }
    this.#canvas.addEventListener("keydown", (event) => this.#onKey(event));
    this.#canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.#zoomTo(this.#view.side * (event.deltaY > 0 ? ZOOM_STEP : 1 / ZOOM_STEP));
    }, { passive: false });
  }

  /** Asks the reader for the cut. Its planes, or null if the dialog was left. */
  async ask(photo) {
    this.#photo = photo;
    this.#view = { x: photo.width / 2, y: photo.height / 2, side: Math.min(photo.width, photo.height) };
    this.#zoom.max = Math.log(this.#widest / this.#size);
    this.#turn.value = 0;
    this.#dialog.returnValue = "";
    this.#dialog.showModal();
    this.#canvas.focus();
    this.#zoomTo(this.#view.side);
    await new Promise((closed) => this.#dialog.addEventListener("close", closed, { once: true }));
    return this.#dialog.returnValue === "use" ? this.#cut() : null;
  }

  /** The side of the widest cut: room around a face that fills the photograph. */
  get #widest() {
    return 1.5 * Math.max(this.#photo.width, this.#photo.height);
  }

  #zoomTo(side) {
    this.#view.side = Math.min(this.#widest, Math.max(this.#size, side));
    this.#zoom.value = Math.log(this.#widest / this.#view.side);
    this.#draw();
  }

  /** Moves the photograph under the outline, by parts of the cut's side. */
  #move(right, down) {
    const { width, height } = this.#photo;
    const turn = -this.#radians;
    const { x, y, side } = this.#view;
    this.#view.x = Math.min(width, Math.max(0, x - side * (right * Math.cos(turn) - down * Math.sin(turn))));
    this.#view.y = Math.min(height, Math.max(0, y - side * (right * Math.sin(turn) + down * Math.cos(turn))));
    this.#draw();
  }

  get #radians() {
    return (this.#turn.valueAsNumber * Math.PI) / 180;
  }

  #onDown(event) {
    this.#canvas.setPointerCapture(event.pointerId);
    this.#fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  }

  #onMove(event) {
    const before = this.#fingers.get(event.pointerId);
    if (!before) return;
    const now = { x: event.clientX, y: event.clientY };
    this.#fingers.set(event.pointerId, now);
    const other = [...this.#fingers].find(([id]) => id !== event.pointerId)?.[1];
    if (other) {
      const apart = ({ x, y }) => Math.hypot(x - other.x, y - other.y);
      this.#zoomTo((this.#view.side * apart(before)) / Math.max(1, apart(now)));
    } else {
      const side = this.#canvas.clientWidth;
      this.#move((now.x - before.x) / side, (now.y - before.y) / side);
    }
  }

  #onKey(event) {
    const moves = { ArrowLeft: [-0.02, 0], ArrowRight: [0.02, 0], ArrowUp: [0, -0.02], ArrowDown: [0, 0.02] };
    if (event.key in moves) this.#move(...moves[event.key]);
    else if (event.key === "+" || event.key === "=") this.#zoomTo(this.#view.side / ZOOM_STEP);
    else if (event.key === "-") this.#zoomTo(this.#view.side * ZOOM_STEP);
    else return;
    event.preventDefault();
  }

  #paint(context, side) {
    const { x, y, side: cut } = this.#view;
    context.resetTransform();
    context.fillStyle = "#808080";
    context.fillRect(0, 0, side, side);
    context.translate(side / 2, side / 2);
    context.scale(side / cut, side / cut);
    context.rotate(this.#radians);
    context.imageSmoothingQuality = "high";
    context.drawImage(this.#photo, -x, -y);
    context.resetTransform();
  }

  #draw() {
    const side = this.#canvas.width;
    const context = this.#canvas.getContext("2d");
    this.#paint(context, side);
    const outline = new Path2D();
    outline.ellipse(OUTLINE.x * side, OUTLINE.y * side, OUTLINE.width * side, OUTLINE.height * side, 0, 0, 2 * Math.PI);
    for (const [x, y] of POINTS) {
      outline.moveTo((x + 0.025) * side, y * side);
      outline.arc(x * side, y * side, 0.025 * side, 0, 2 * Math.PI);
    }
    // White on black shows on every skin and every background.
    for (const [width, colour] of [[5, "rgb(0 0 0 / 0.6)"], [2, "#fff"]]) {
      Object.assign(context, { lineWidth: width, strokeStyle: colour });
      context.stroke(outline);
    }
  }

  /** Drawn as finely as the photograph is, then averaged, as mofa_lib does it. */
  #cut() {
    const finer = Math.min(FINEST, Math.max(1, Math.ceil(this.#view.side / this.#size)));
    const side = finer * this.#size;
    const context = new OffscreenCanvas(side, side).getContext("2d");
    this.#paint(context, side);
    const { data } = context.getImageData(0, 0, side, side);
    const mean = new ImageData(this.#size, this.#size);
    const sums = new Float64Array(mean.data.length);
    for (let i = 0; i < data.length; i++) {
      const pixel = i >> 2;
      const row = Math.floor(Math.floor(pixel / side) / finer);
      const column = Math.floor((pixel % side) / finer);
      sums[4 * (row * this.#size + column) + (i & 3)] += data[i];
    }
    mean.data.set(sums.map((value) => Math.round(value / finer ** 2)));
    return toPlanes(mean);
  }
}
