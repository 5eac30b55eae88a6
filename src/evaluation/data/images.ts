import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { SecateurError, checkSignal } from '../../errors.ts';
import { Rng } from '../../math/random.ts';
import { readImage, withChannels, type Image } from './image-decode.ts';
import type { NamedArray } from './npy.ts';
import { type Preprocessing, preprocessingText } from './preprocessing.ts';
import { type RawData } from './raw.ts';
import { resizeImage } from './resize.ts';

const IMAGE = /\.(png|jpe?g)$/i;
const OTHER_IMAGE = /\.(bmp|gif|webp|tiff?|avif|heic)$/i;
const MAX_BYTES = 4 * 2 ** 30;
/** Decoding lets messages (a cancellation) through so often. */
const PAUSE_MS = 50;

interface ImageFile {
  path: string;
  label: number;
}

interface Listing {
  files: ImageFile[];
  classNames: string[];
  skipped: number;
}

/** True when a folder, or a folder in it, holds PNG or JPEG files. */
export function isImageFolder(path: string): boolean {
  return list(path).files.length > 0;
}

/** Image files of a folder: one sub-folder per class (in sorted order), or all in the folder itself without labels. */
function list(path: string): Listing {
  let skipped = 0;
  const images = (folder: string): string[] =>
    readdirSync(folder, { withFileTypes: true })
      .filter((e) => {
        if (e.isFile() && OTHER_IMAGE.test(e.name)) skipped++;
        return e.isFile() && IMAGE.test(e.name);
      })
      .map((e) => join(folder, e.name))
      .sort();
  const folders = readdirSync(path, { withFileTypes: true })
    .filter((e) => e.isDirectory() && !e.name.startsWith('.'))
    .map((e) => e.name);
  const numeric = folders.every((name) => /^\d+$/.test(name));
  folders.sort(numeric ? (a, b) => Number(a) - Number(b) : undefined);
  const classes = folders.map((name) => ({ name, paths: images(join(path, name)) })).filter((c) => c.paths.length > 0);
  if (classes.length === 0)
    return { files: images(path).map((p) => ({ path: p, label: -1 })), classNames: [], skipped };
  return {
    files: classes.flatMap((c, k) => c.paths.map((p) => ({ path: p, label: numeric ? Number(c.name) : k }))),
    classNames: numeric ? [] : classes.map((c) => c.name),
    skipped,
  };
}

/**
 * Reads a folder of images. With `limit`, only so many (the first of a seeded shuffle) are decoded.
 * Folder names that are all numbers are the labels themselves; others are classes in sorted order.
 * @throws SecateurError 'cancelled'; 'bad-data' when there are none, or they differ in size where the model leaves the size open
 */
export async function readImageFolder(
  path: string,
  preprocessing: Preprocessing,
  limit: { samples?: number; seed: number },
  signal?: AbortSignal,
): Promise<RawData> {
  const { files, classNames, skipped } = list(path);
  if (files.length === 0)
    throw new SecateurError(
      'bad-data',
      `${path} holds no PNG or JPEG images.`,
      skipped ? `${skipped} images of other formats: convert them.` : '',
    );
  let chosen: Int32Array | undefined;
  if (limit.samples !== undefined && limit.samples < files.length)
    chosen = Rng.from(limit.seed, 'samples').permutation(files.length).slice(0, limit.samples);
  const picked = chosen ? [...chosen].map((i) => files[i]) : files;
  const array = await loadAll(picked, preprocessing, path, signal);
  const labelled = picked.every((f) => f.label >= 0);
  const warnings = [preprocessingText({ ...preprocessing, ...sizeOf(array.dims, preprocessing) })];
  if (skipped) warnings.push(`${skipped} images of other formats than PNG and JPEG were left out.`);
  return {
    path,
    arrays: [array],
    labels: labelled
      ? { name: 'labels', dims: [picked.length], type: 'int32', data: Int32Array.from(picked, (f) => f.label) }
      : null,
    ...(classNames.length ? { classNames } : {}),
    ...(chosen ? { chosen } : {}),
    warnings,
  };
}

function sizeOf(dims: number[], p: Preprocessing): { width: number; height: number } {
  return p.layout === 'NCHW' ? { height: dims[2], width: dims[3] } : { height: dims[1], width: dims[2] };
}

async function loadAll(files: ImageFile[], p: Preprocessing, path: string, signal?: AbortSignal): Promise<NamedArray> {
  let data: Float32Array | undefined;
  let size: { width: number; height: number } | undefined;
  let each = 0;
  let pause = performance.now() + PAUSE_MS;
  for (const [i, file] of files.entries()) {
    if (performance.now() > pause) {
      await setImmediate();
      checkSignal(signal);
      pause = performance.now() + PAUSE_MS;
    }
    const image = fit(withChannels(readImage(file.path), p.channels), p);
    if (!size || !data) {
      size = { width: image.width, height: image.height };
      each = image.width * image.height * p.channels;
      if (each * 4 * files.length > MAX_BYTES)
        throw new SecateurError(
          'bad-data',
          `${files.length} images of ${image.width}×${image.height} need more than 4 GB of memory.`,
          'Take fewer with --samples.',
        );
      data = new Float32Array(each * files.length);
    }
    if (image.width !== size.width || image.height !== size.height)
      throw new SecateurError(
        'bad-data',
        `${file.path} is ${image.width}×${image.height}, but ${files[0].path} is ${size.width}×${size.height}, and the model leaves the size open.`,
        `Give all images one size, or put a preprocessor_config.json with a size into ${path}.`,
      );
    normalise(image, p, data, i * each);
  }
  const { width, height } = size!;
  const dims = { NCHW: [p.channels, height, width], NHWC: [height, width, p.channels], NHW: [height, width] }[p.layout];
  return { name: 'x', dims: [files.length, ...dims], type: 'float32', data: data! };
}

/** Resizes and crops. */
function fit(image: Image, p: Preprocessing): Image {
  let now = image;
  const to = (width: number, height: number): void => {
    if (width === now.width && height === now.height) return;
    now = {
      ...now,
      width,
      height,
      data: resizeImage(now.data, now.width, now.height, now.channels, width, height, p.resample),
    };
  };
  if (p.resize && 'shortest' in p.resize) {
    const factor = p.resize.shortest / Math.min(now.width, now.height);
    to(Math.max(1, Math.floor(now.width * factor)), Math.max(1, Math.floor(now.height * factor)));
  } else if (p.resize) to(p.resize.width, p.resize.height);
  const width = p.width ?? now.width;
  const height = p.height ?? now.height;
  // Without a configured resize (or with an image that is too small to crop from) the picture is scaled to the input.
  if (!p.resize || now.width < width || now.height < height) to(width, height);
  return crop(now, width, height);
}

function crop(image: Image, width: number, height: number): Image {
  if (width === image.width && height === image.height) return image;
  const left = Math.floor((image.width - width) / 2);
  const top = Math.floor((image.height - height) / 2);
  const out = new Uint8Array(width * height * image.channels);
  for (let y = 0; y < height; y++) {
    const from = ((top + y) * image.width + left) * image.channels;
    out.set(image.data.subarray(from, from + width * image.channels), y * width * image.channels);
  }
  return { ...image, width, height, data: out };
}

function normalise(image: Image, p: Preprocessing, out: Float32Array, at: number): void {
  const pixels = image.width * image.height;
  for (let c = 0; c < p.channels; c++) {
    const mean = p.mean[c % p.mean.length];
    const std = p.std[c % p.std.length];
    for (let i = 0; i < pixels; i++) {
      const value = (image.data[i * p.channels + c] * p.scale - mean) / std;
      out[at + (p.layout === 'NCHW' ? c * pixels + i : i * p.channels + c)] = value;
    }
  }
}
