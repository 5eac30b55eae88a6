import { readdir } from 'node:fs/promises';
import type { Dirent } from 'node:fs';
import { basename, dirname, extname, join, sep } from 'node:path';
import type { DataChoice } from '../protocol.ts';

const ARRAYS = new Set(['.npz', '.npy', '.csv']);
const TEXTS = new Set(['.txt', '.jsonl']);
/** What makes text into data for a model that it lies beside. */
const TOKENIZERS = ['tokenizer.json', 'vocab.json'];
/** Texts that come with a model and are no data. */
const ABOUT_MODEL = /^(merges|vocab|read.?me|licen[sc]e|notice|requirements|labels|classes|added_tokens)\b/i;
const IMAGES = new Set(['.png', '.jpg', '.jpeg']);
/** Words by which people call the data that a model is tried on, the best for ranking first. */
const CALIBRATION = ['calib', 'valid', 'val', 'train', 'data', 'images', 'sample'];
const HELD_OUT = ['test', 'holdout', 'heldout', 'held-out', 'held_out', 'eval'];
const HELD_OUT_PREFERENCE = CALIBRATION.length + 1;
/** A folder is looked into only so far: it may hold a million images. */
const LOOK_AT = 50;
const MOST = 20;

/** How likely it is that a file is meant as calibration data: lower is likelier. Held-out data comes last. */
function preference(path: string): number {
  const name = basename(path).toLowerCase();
  const word = CALIBRATION.findIndex((start) => name.startsWith(start) || name.includes(`.${start}`));
  if (word >= 0) return word;
  return HELD_OUT.some((start) => name.startsWith(start)) ? HELD_OUT_PREFERENCE : CALIBRATION.length;
}

async function list(folder: string): Promise<Dirent[]> {
  try {
    return await readdir(folder, { withFileTypes: true });
  } catch {
    return [];
  }
}

const isImage = (entry: Dirent): boolean => entry.isFile() && IMAGES.has(extname(entry.name).toLowerCase());

function isData(entry: Dirent, texts: boolean): boolean {
  const kind = extname(entry.name).toLowerCase();
  return entry.isFile() && (ARRAYS.has(kind) || (texts && TEXTS.has(kind) && !ABOUT_MODEL.test(entry.name)));
}

/** Whether a folder holds images, directly or in sub-folders named after their classes. */
async function holdsImages(folder: string): Promise<boolean> {
  const entries = (await list(folder)).slice(0, LOOK_AT);
  if (entries.some(isImage)) return true;
  const first = entries.find((entry) => entry.isDirectory());
  return first !== undefined && (await list(join(folder, first.name))).slice(0, LOOK_AT).some(isImage);
}

/**
 * Files and folders near a model that may be data for it: arrays and tables in its own folder, there and in sub-folders
 * named like data (`calib`, `data`, `test`, …), texts where a tokenizer lies beside the model, and folders of images. Sorted by how likely they are meant for ranking.
 */
export async function proposeData(modelPath: string): Promise<DataChoice[]> {
  const home = dirname(modelPath);
  const paths: string[] = [];
  const entries = await list(home);
  const texts = entries.some((entry) => TOKENIZERS.includes(entry.name));
  for (const entry of entries) {
    const path = join(home, entry.name);
    if (isData(entry, texts)) paths.push(path);
    else if (entry.isDirectory() && preference(path) !== CALIBRATION.length) {
      if (await holdsImages(path)) paths.push(path);
      for (const inner of (await list(path)).slice(0, LOOK_AT)) {
        if (isData(inner, texts)) paths.push(join(path, inner.name));
      }
    }
  }
  paths.sort((a, b) => preference(a) - preference(b) || a.localeCompare(b));
  return paths.slice(0, MOST).map((path) => {
    const holdout = heldOutBeside(path, paths);
    return { path, label: labelOf(path, home), ...(holdout ? { holdout } : {}) };
  });
}

/** Data of the same kind in the same folder whose name says that it is for judging, not for choosing. */
function heldOutBeside(path: string, paths: readonly string[]): string | undefined {
  if (preference(path) === HELD_OUT_PREFERENCE) return undefined;
  return paths.find(
    (other) =>
      preference(other) === HELD_OUT_PREFERENCE && dirname(other) === dirname(path) && extname(other) === extname(path),
  );
}

/** A short name: relative to the model's folder where it lies inside, else with its parent folder. */
export function labelOf(path: string, home: string): string {
  if (path.startsWith(join(home, sep))) return path.slice(home.length + 1);
  return join(basename(dirname(path)), basename(path));
}

/** Data to begin with: what lies beside the model and is called calibration data. */
export function dataToBeginWith(choices: readonly DataChoice[]): DataChoice | undefined {
  return choices.find(({ path }) => path !== null && preference(path) === 0);
}
