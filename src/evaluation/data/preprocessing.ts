import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SecateurError } from '../../errors.ts';
import type { Dim } from '../../graph/ir.ts';
import type { Resample } from './resize.ts';
import { shapeText } from './raw.ts';

/** How images become the model's input. */
export interface Preprocessing {
  /** Size of the network's input in pixels; null: as the images are. */
  width: number | null;
  height: number | null;
  /** Resize to this first (or so that the shorter edge is this), then crop the centre to width × height. */
  resize: { width: number; height: number } | { shortest: number } | null;
  resample: Resample;
  channels: 1 | 3;
  layout: 'NCHW' | 'NHWC' | 'NHW';
  /** value = (pixel · scale − mean[c]) / std[c] */
  scale: number;
  mean: number[];
  std: number[];
  /** File that it was read from; null when guessed. */
  from: string | null;
}

/**
 * The preprocessing for a model's image input: layout, channels and size from the input's shape; the rest from the first
 * `preprocessor_config.json` in `folders`, else guessed: plain resize, pixel / 255.
 * @throws SecateurError 'bad-data' when the shape cannot be an image's, or the file is not understood
 */
export function findPreprocessing(
  shape: readonly Dim[] | undefined,
  integer: boolean,
  folders: readonly string[],
): Preprocessing {
  const guessed = guess(shape, integer);
  for (const folder of folders) {
    const file = join(folder, 'preprocessor_config.json');
    if (existsSync(file)) return { ...merge(guessed, readConfig(file)), from: file };
  }
  return guessed;
}

function guess(shape: readonly Dim[] | undefined, integer: boolean): Preprocessing {
  const size = (d: Dim): number | null => (typeof d === 'number' && d > 0 ? d : null);
  const common = {
    resize: null,
    resample: 'bilinear' as const,
    scale: integer ? 1 : 1 / 255,
    mean: [0],
    std: [1],
    from: null,
  };
  if (!shape) return { ...common, width: null, height: null, channels: 3, layout: 'NCHW' };
  if (shape.length === 3)
    return { ...common, height: size(shape[1]), width: size(shape[2]), channels: 1, layout: 'NHW' };
  if (shape.length === 4) {
    if (shape[1] === 1 || shape[1] === 3)
      return { ...common, channels: shape[1], height: size(shape[2]), width: size(shape[3]), layout: 'NCHW' };
    if (shape[3] === 1 || shape[3] === 3)
      return { ...common, channels: shape[3], height: size(shape[1]), width: size(shape[2]), layout: 'NHWC' };
    if (typeof shape[1] !== 'number')
      return { ...common, channels: 3, height: size(shape[2]), width: size(shape[3]), layout: 'NCHW' };
  }
  throw new SecateurError(
    'bad-data',
    `Images do not fit the model's input of shape ${shapeText(shape)}.`,
    'Images need an input [batch, channels, height, width] or [batch, height, width, channels] with 1 or 3 channels.',
  );
}

interface Config {
  do_resize?: boolean;
  size?: unknown;
  do_center_crop?: boolean;
  crop_size?: unknown;
  do_rescale?: boolean;
  rescale_factor?: unknown;
  do_normalize?: boolean;
  image_mean?: unknown;
  image_std?: unknown;
  resample?: unknown;
}

function readConfig(file: string): Config {
  try {
    const parsed: unknown = JSON.parse(readFileSync(file, 'utf8'));
    if (parsed && typeof parsed === 'object' && !Array.isArray(parsed)) return parsed;
  } catch (thrown) {
    throw new SecateurError('bad-data', `${file} is not readable JSON.`, '', { cause: thrown });
  }
  throw new SecateurError('bad-data', `${file} does not hold a JSON object.`);
}

function merge(base: Preprocessing, config: Config): Preprocessing {
  const out = { ...base };
  const resized = config.do_resize !== false ? sizeOf(config.size) : null;
  const cropped = config.do_center_crop ? sizeOf(config.crop_size) : null;
  out.resize = resized;
  const target = cropped && 'width' in cropped ? cropped : resized && 'width' in resized ? resized : null;
  out.width ??= target?.width ?? null;
  out.height ??= target?.height ?? null;
  if (config.resample === 0) out.resample = 'nearest';
  else if (config.resample === 3) out.resample = 'bicubic';
  if (config.do_rescale === false) out.scale = 1;
  else if (typeof config.rescale_factor === 'number') out.scale = config.rescale_factor;
  if (config.do_normalize !== false) {
    out.mean = numbers(config.image_mean) ?? out.mean;
    out.std = numbers(config.image_std) ?? out.std;
  }
  return out;
}

function sizeOf(size: unknown): Preprocessing['resize'] {
  if (typeof size === 'number') return { shortest: size };
  if (size && typeof size === 'object') {
    const s = size as Record<string, unknown>;
    if (typeof s.height === 'number' && typeof s.width === 'number') return { width: s.width, height: s.height };
    if (typeof s.shortest_edge === 'number') return { shortest: s.shortest_edge };
  }
  return null;
}

function numbers(value: unknown): number[] | null {
  return Array.isArray(value) && value.length > 0 && value.every((v) => typeof v === 'number' && Number.isFinite(v))
    ? value
    : null;
}

/** What was done to the images, in one sentence. */
export function preprocessingText(p: Preprocessing): string {
  const size = p.width && p.height ? `${p.width}×${p.height}` : 'their own size';
  const round = (values: number[]): string => values.map((v) => Number(v.toFixed(4))).join(', ');
  const scale = p.scale === 1 ? 'values 0…255' : `values × ${Number(p.scale.toPrecision(4))}`;
  const normal =
    p.mean.some((m) => m !== 0) || p.std.some((s) => s !== 1) ? `, mean ${round(p.mean)}, std ${round(p.std)}` : '';
  const source = p.from
    ? `as ${p.from} says`
    : 'guessed from the shape of the input; put a preprocessor_config.json next to the images to change it';
  return `Images: ${size}, ${p.channels === 3 ? 'RGB' : 'grey'}, ${p.layout}, ${scale}${normal} (${source}).`;
}
