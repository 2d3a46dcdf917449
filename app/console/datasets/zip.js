/** Zip archives: the names in one, and a new one of the files of a folder, stored without compression. */

const MOST_FILES = 65_535;
const MOST_BYTES = 0xffff_ffff;
const LONGEST_END = 22 + 65_535;
const UTF8_NAMES = 0x0800;

/** The first names are enough to tell what an archive holds. */
const MOST_NAMES = 5000;

/**
 * Return the first names in a zip or `.npz`; none if the file is no archive.
 * @param {Blob} file
 * @returns {Promise<string[]>}
 */
export async function namesInside(file) {
  const tail = await viewOf(file.slice(Math.max(0, file.size - LONGEST_END)));
  let end = tail.byteLength - 22;
  while (end >= 0 && tail.getUint32(end, true) !== 0x06054b50) end -= 1;
  if (end < 0) return [];
  const start = tail.getUint32(end + 16, true);
  const directory = await viewOf(file.slice(start, start + tail.getUint32(end + 12, true)));
  const text = new TextDecoder();
  const names = [];
  for (let at = 0; at + 46 <= directory.byteLength && names.length < MOST_NAMES; ) {
    if (directory.getUint32(at, true) !== 0x02014b50) break;
    const length = directory.getUint16(at + 28, true);
    names.push(text.decode(new Uint8Array(directory.buffer, at + 46, length)));
    at += 46 + length + directory.getUint16(at + 30, true) + directory.getUint16(at + 32, true);
  }
  return names;
}

/** Whether `zipped` can hold these files. @param {{file: File}[]} files */
export function fitsZip(files) {
  const size = files.reduce((total, { file }) => total + file.size + 300, 0);
  return files.length <= MOST_FILES && size < MOST_BYTES;
}

/**
 * Return a zip with files under their paths.
 * @param {{path: string, file: File}[]} files
 * @param {(fraction: number) => void} onProgress
 */
export async function zipped(files, onProgress) {
  /** @type {BlobPart[]} */
  const parts = [];
  /** @type {ArrayBuffer[]} */
  const directory = [];
  let offset = 0;
  for (const [index, { path, file }] of files.entries()) {
    const name = new TextEncoder().encode(path);
    const sum = checksum(new Uint8Array(await file.arrayBuffer()));
    const fields = [20, UTF8_NAMES, 0, 0, 0x21, [sum], [file.size], [file.size], name.length, 0];
    parts.push(record([[0x04034b50], ...fields]), name, file);
    directory.push(record([[0x02014b50], 20, ...fields, 0, 0, 0, [0], [offset]]), name.buffer);
    offset += 30 + name.length + file.size;
    onProgress((index + 1) / files.length);
  }
  const size = directory.reduce((total, part) => total + part.byteLength, 0);
  const end = record([[0x06054b50], 0, 0, files.length, files.length, [size], [offset], 0]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}

/**
 * Return numbers as bytes, lowest first: two for each number, four for each one in brackets.
 * @param {(number | number[])[]} fields
 */
function record(fields) {
  const bytes = fields.flatMap((field) =>
    typeof field === "number"
      ? [field & 255, field >>> 8]
      : [0, 8, 16, 24].map((shift) => (field[0] >>> shift) & 255),
  );
  return new Uint8Array(bytes).buffer;
}

const TABLE = Uint32Array.from({ length: 256 }, (_, value) => {
  let sum = value;
  for (let bit = 0; bit < 8; bit += 1) sum = sum & 1 ? (sum >>> 1) ^ 0xedb88320 : sum >>> 1;
  return sum;
});

/** Return the CRC-32. @param {Uint8Array} bytes */
function checksum(bytes) {
  let sum = 0xffffffff;
  for (const byte of bytes) sum = TABLE[(sum ^ byte) & 255] ^ (sum >>> 8);
  return (sum ^ 0xffffffff) >>> 0;
}

/** @param {Blob} blob */
async function viewOf(blob) {
  return new DataView(await blob.arrayBuffer());
}
