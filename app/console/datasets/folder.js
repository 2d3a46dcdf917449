/** Files that were dropped or chosen, with their paths inside the folder. */

/** @typedef {{path: string, file: File}} PlacedFile */

/** Files that file managers add. */
const ADDED = /(^|\/)(\.[^/]*|__MACOSX|Thumbs\.db|desktop\.ini)(\/|$)/;

/**
 * Return the files of a drop, those of folders too, in the order of their paths.
 * @param {DataTransfer} transfer
 * @returns {Promise<PlacedFile[]>}
 */
export async function droppedFiles(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry()).filter((entry) => entry !== null);
  const found = (await Promise.all(entries.map((entry) => within(entry, "")))).flat();
  return inOrder(found.length ? found : chosenFiles(transfer.files));
}

/**
 * Return the files of an input, in the order of their paths.
 * @param {FileList | null} files
 * @returns {PlacedFile[]}
 */
export function chosenFiles(files) {
  return inOrder([...(files ?? [])].map((file) => ({ path: file.webkitRelativePath || file.name, file })));
}

/** @param {PlacedFile[]} files */
function inOrder(files) {
  return files.filter(({ path }) => !ADDED.test(path)).sort((one, other) => (one.path < other.path ? -1 : 1));
}

/**
 * @param {FileSystemEntry} entry
 * @param {string} folder
 * @returns {Promise<PlacedFile[]>}
 */
async function within(entry, folder) {
  const path = folder + entry.name;
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) =>
      /** @type {FileSystemFileEntry} */ (entry).file(resolve, reject),
    );
    return [{ path, file }];
  }
  const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
  const files = [];
  for (;;) {
    /** @type {FileSystemEntry[]} */
    const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (entries.length === 0) return files;
    for (const inner of entries) files.push(...(await within(inner, `${path}/`)));
  }
}
