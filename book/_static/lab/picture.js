/* Pictures as the graphs see them, planes of red, green and blue in [0, 1], and as a canvas and a file have them. */

import { Fault } from "./faults.js";

const grey = (value) => Math.round(255 * value);

export function toImageData(planes, size) {
  const data = new ImageData(size, size);
  const area = size * size;
  for (let i = 0; i < area; i++) {
    for (let channel = 0; channel < 3; channel++) data.data[4 * i + channel] = grey(planes[channel * area + i]);
    data.data[4 * i + 3] = 255;
  }
  return data;
}

export function toPlanes({ data, width, height }) {
  const area = width * height;
  const planes = new Float32Array(3 * area);
  for (let i = 0; i < area; i++) {
    for (let channel = 0; channel < 3; channel++) planes[channel * area + i] = data[4 * i + channel] / 255;
  }
  return planes;
}

export function draw(canvas, planes, size) {
  canvas.width = canvas.height = size;
  canvas.getContext("2d").putImageData(toImageData(planes, size), 0, 0);
}

/** The picture as a file keeps it. */
export const rounded = (planes) => planes.map((value) => grey(value) / 255);

/** Eq. 7 of the paper: Gaussian noise of standard deviation α, clipped. A new draw each time. */
export function noisy(planes, alpha) {
  return planes.map((value) => {
    const normal = Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
    return Math.min(1, Math.max(0, value + alpha * normal));
  });
}

/** The difference of two pictures, magnified, around a mid-grey that stands for no change. */
export function difference(before, after, factor) {
  return after.map((value, i) => Math.min(1, Math.max(0, 0.5 + factor * (value - before[i]))));
}

/** The largest change of any pixel value, in grey levels, once both pictures are files. */
export function greyLevels(before, after) {
  return after.reduce((most, value, i) => Math.max(most, Math.abs(grey(value) - grey(before[i]))), 0);
}

/** The pixels of a picture file as they are; only a square of this size makes sense. */
export async function fromFile(blob, size, name) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" });
  } catch {
    throw new Fault(`${name} is damaged: it is no picture.`);
  }
  const context = new OffscreenCanvas(size, size).getContext("2d");
  context.drawImage(bitmap, 0, 0, size, size);
  return toPlanes(context.getImageData(0, 0, size, size));
}

export function toPng(planes, size) {
  const canvas = new OffscreenCanvas(size, size);
  canvas.getContext("2d").putImageData(toImageData(planes, size), 0, 0);
  return canvas.convertToBlob({ type: "image/png" });
}
