/* Fetches files, tells how much of them is there, and says in a sentence what went wrong. */

import { Fault } from "./faults.js";

export const megabytes = (bytes) => (bytes / 1e6).toFixed(1);

async function request(url, name) {
  let response;
  try {
    response = await fetch(url);
  } catch {
    throw new Fault(`${name} could not be loaded: the server does not answer.`);
  }
  if (response.status === 404) {
    throw new Fault(`${name} is missing on the server (404). Perhaps the site was copied without the lab's files.`);
  }
  if (!response.ok) throw new Fault(`The server did not hand out ${name} (status ${response.status}).`);
  return response;
}

const nameOf = (url) => new URL(url).pathname.split("/").pop();

export async function downloadJson(url) {
  const response = await request(url, nameOf(url));
  try {
    return await response.json();
  } catch {
    throw new Fault(`${nameOf(url)} is damaged: it cannot be read.`);
  }
}

export async function downloadBlob(url) {
  const response = await request(url, nameOf(url));
  try {
    return await response.blob();
  } catch {
    throw new Fault(`Loading ${nameOf(url)} was interrupted.`);
  }
}

/**
 * A large file as an ArrayBuffer. Its size must be known: a server may compress it, and then announces another one, and a
 * connection that ends too early may look like a short file.
 */
export async function download(url, size, onBytes = () => {}) {
  const name = nameOf(url);
  const response = await request(url, name);
  const content = new Uint8Array(size);
  let filled = 0;
  try {
    for (let reader = response.body.getReader(), part; !(part = await reader.read()).done; ) {
      if (filled + part.value.length > size) throw new Fault(`${name} is not the file of this page.`);
      content.set(part.value, filled);
      filled += part.value.length;
      onBytes(part.value.length);
    }
  } catch (error) {
    if (error instanceof Fault) throw error;
  }
  if (filled < size) {
    throw new Fault(`Loading ${name} was interrupted after ${megabytes(filled)} of ${megabytes(size)} MB.`);
  }
  return content.buffer;
}
