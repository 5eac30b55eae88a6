import { SecateurError } from '../errors.ts';
import type { FeatureGrid, FeatureKind } from '../formats.ts';

/** Positions along one axis of a sample, and which of the features' places along it each belongs to. */
export interface FeatureAxis {
  axis: number;
  /** Place of every position. */
  places: Int32Array;
  /** Number of places. */
  count: number;
}

/**
 * How the elements of a sample fall into features: a feature is one place on every one of the axes, in row-major order
 * (the last axis fastest); along axes that are not named its elements are all there are.
 */
export interface FeatureLayout {
  kind: FeatureKind;
  /** Shape of a sample, without the batch axis. */
  shape: readonly number[];
  size: number;
  names: string[];
  axes: FeatureAxis[];
  /** Where features lie in an image. */
  grid?: FeatureGrid;
}

/** What is known of the tensor that the features are of. */
export interface FeatureSource {
  /** Of the model's input. */
  name: string;
  /** Shape of a sample, without the batch axis. */
  shape: readonly number[];
  /** Embedded tokens: positions × width. */
  embedded?: boolean;
  /** Names of the columns of a table. */
  columns?: readonly string[];
}

/** About so many patches cover an image, unless their side is given. */
const PATCHES = 64;
/** More features than this cannot be told apart by any amount of data, and take too much memory. */
const MOST_FEATURES = 65_536;

/**
 * The features of an input.
 * @param kind what a feature is; guessed from shape and name when undefined
 * @param patch side of a patch in pixels; by default such that there are about 64
 * @throws SecateurError 'usage' for a kind that the shape does not have, 'unsupported' for fewer than two features
 */
export function featureLayout(source: FeatureSource, kind = guessKind(source), patch?: number): FeatureLayout {
  const layout = byKind(source, kind, patch);
  if (layout.size < 2)
    throw new SecateurError(
      'unsupported',
      `The input '${source.name}' has only one feature of the kind ${kind}: there is nothing to compare it with.`,
      'Choose another kind with --features-kind.',
    );
  if (layout.size > MOST_FEATURES)
    throw new SecateurError(
      'usage',
      `The input '${source.name}' has ${layout.size} features of the kind ${kind}: too many to tell apart.`,
      'Take patches.',
    );
  return layout;
}

function byKind(source: FeatureSource, kind: FeatureKind, patch: number | undefined): FeatureLayout {
  switch (kind) {
    case 'columns':
      return oneAxis(source, kind, source.shape.length - 1, (i) => source.columns?.[i] ?? `column ${i}`);
    case 'tokens':
      return oneAxis(source, kind, source.shape.length >= 2 || source.embedded ? 0 : -1, (i) => `position ${i}`);
    case 'channels':
      return oneAxis(source, kind, channelAxis(source.shape), (i) => `channel ${i}`);
    case 'rows':
      return rowsOf(source);
    case 'pixels':
      return tiles(source, kind, 1);
    case 'patches':
      return tiles(source, kind, patch ?? guessPatch(source));
  }
}

/** Every position along one axis is a feature. */
function oneAxis(
  source: FeatureSource,
  kind: FeatureKind,
  axis: number,
  name: (position: number) => string,
): FeatureLayout {
  const { shape } = source;
  if (axis < 0 || axis >= shape.length) throw noSuchKind(source, kind);
  const axes = [identity(axis, shape[axis])];
  return { kind, shape, size: shape[axis], names: Array.from({ length: shape[axis] }, (_, i) => name(i)), axes };
}

function rowsOf(source: FeatureSource): FeatureLayout {
  const image = imageAxes(source.shape);
  if (!image) throw noSuchKind(source, 'rows');
  const [height, width] = [source.shape[image.height], source.shape[image.width]];
  return {
    ...oneAxis(source, 'rows', image.height, (i) => `row ${i}`),
    grid: { height, width, patch: 1, rows: height, columns: 1 },
  };
}

function tiles(source: FeatureSource, kind: 'pixels' | 'patches', patch: number): FeatureLayout {
  const { shape } = source;
  const image = imageAxes(shape);
  if (!image) throw noSuchKind(source, kind);
  const [height, width] = [shape[image.height], shape[image.width]];
  if (!(Number.isInteger(patch) && patch >= 1 && patch <= Math.max(height, width)))
    throw new SecateurError(
      'usage',
      `Patches of ${patch} pixels do not fit an image of ${height} × ${width}.`,
      `Give a whole number from 1 to ${Math.max(height, width)}.`,
    );
  const down = cut(image.height, height, patch);
  const across = cut(image.width, width, patch);
  const names = Array.from({ length: down.count * across.count }, (_, i) => {
    const [row, column] = [Math.floor(i / across.count), i % across.count];
    return `${kind === 'pixels' ? 'pixel' : 'patch'} (${row}, ${column})`;
  });
  const grid = { height, width, patch, rows: down.count, columns: across.count };
  return { kind, shape, size: names.length, names, axes: [down, across], grid };
}

function identity(axis: number, count: number): FeatureAxis {
  return { axis, places: Int32Array.from({ length: count }, (_, i) => i), count };
}

/** Runs of `step` positions; the last may be shorter. */
function cut(axis: number, length: number, step: number): FeatureAxis {
  return {
    axis,
    places: Int32Array.from({ length }, (_, i) => Math.floor(i / step)),
    count: Math.ceil(length / step),
  };
}

/** What a feature most likely is, by rank and name of the input. */
export function guessKind(source: FeatureSource): FeatureKind {
  const { shape, embedded, name } = source;
  if (embedded) return 'tokens';
  if (shape.length <= 1) return 'columns';
  if (/depth|lidar|range_?image|scan/i.test(name) && imageAxes(shape)) return 'rows';
  if (shape.length === 2) return 'tokens';
  if (shape.length === 3) return guessPatch(source) === 1 ? 'pixels' : 'patches';
  return 'channels';
}

function guessPatch({ shape }: FeatureSource): number {
  const image = imageAxes(shape);
  if (!image) return 1;
  return Math.max(1, Math.round(Math.sqrt((shape[image.height] * shape[image.width]) / PATCHES)));
}

/** Few channels are colours; an axis of so many at most may be that of the channels. */
const COLOURS = [1, 3, 4];

/** Axes of a picture: [C, H, W], [H, W, C] where only the last axis can be colours, or [H, W]. */
export function imageAxes(
  shape: readonly number[],
): { height: number; width: number; channels: number | null } | undefined {
  if (shape.length === 2) return { height: 0, width: 1, channels: null };
  if (shape.length !== 3) return undefined;
  if (COLOURS.includes(shape[2]) && !COLOURS.includes(shape[0])) return { height: 0, width: 1, channels: 2 };
  return { height: 1, width: 2, channels: 0 };
}

function channelAxis(shape: readonly number[]): number {
  if (shape.length < 2) return -1;
  return imageAxes(shape)?.channels ?? 0;
}

function noSuchKind({ name, shape }: FeatureSource, kind: FeatureKind): SecateurError {
  return new SecateurError(
    'usage',
    `The input '${name}' has samples of the shape [${shape.join(', ')}]: there are no ${kind} in it.`,
    'Choose another kind with --features-kind.',
  );
}

/** The feature of every element of a sample, row-major. */
export function featureOfElements({ shape, axes }: FeatureLayout): Int32Array {
  const strides = shape.map((_, a) => shape.slice(a + 1).reduce((p, d) => p * d, 1));
  return Int32Array.from({ length: shape.reduce((p, d) => p * d, 1) }, (_, element) =>
    axes.reduce((feature, { axis, places, count }) => {
      return feature * count + places[Math.floor(element / strides[axis]) % shape[axis]];
    }, 0),
  );
}
