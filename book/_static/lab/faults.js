/** Something that went wrong and has a sentence for the reader. */
export class Fault extends Error {}

export function sentence(error) {
  return error instanceof Fault ? error.message : `Something went wrong that nobody foresaw: ${error.message}`;
}
