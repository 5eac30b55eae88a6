import type { Dim, Value } from '../../graph/ir.ts';
import type { EmitAttributes } from '../emit.ts';
import type { RuleContext } from './rule.ts';

/** A window that slides over the spatial axes (those from 2 on): one number for each of them. */
export interface Window {
  kernel: readonly number[];
  strides: readonly number[];
  dilations: readonly number[];
  /** Padding in front. */
  begin: readonly number[];
  /** Padding behind, as stated: with ceil_mode the last window may need more. Negative where no window comes. */
  end: readonly number[];
  /** How much of an axis a window covers: (kernel − 1) · dilation + 1. */
  extent: readonly number[];
  /** Whether the last window may reach beyond the padding. */
  ceil: boolean;
}

/** The window of a Conv or a pool over `input`, with the padding that auto_pad comes to. */
export function windowOf(c: RuleContext, kernel: readonly number[], input: Value): Window {
  const { node } = c;
  const n = kernel.length;
  const strides = node.ints('strides', Array<number>(n).fill(1))!;
  const dilations = node.ints('dilations', Array<number>(n).fill(1))!;
  const extent = kernel.map((k, i) => (k - 1) * dilations[i] + 1);
  const ceil = node.int('ceil_mode', 0) !== 0 && strides.some((s) => s > 1);
  const autoPad = node.string('auto_pad', 'NOTSET');
  let pads = node.ints('pads', Array<number>(2 * n).fill(0))!;
  if (autoPad === 'VALID') pads = Array<number>(2 * n).fill(0);
  else if (autoPad.startsWith('SAME')) {
    const sizes = spatial(c, input);
    const total = extent.map((e, i) => samePadding(c, sizes[i], strides[i], e));
    const less = total.map((t) => Math.floor(t / 2));
    const more = total.map((t, i) => t - less[i]);
    pads = autoPad === 'SAME_UPPER' ? [...less, ...more] : [...more, ...less];
  }
  return { kernel, strides, dilations, begin: pads.slice(0, n), end: pads.slice(n), extent, ceil };
}

/** The window of a ConvTranspose from `x`, sliding over its result. */
export function transposedWindowOf(c: RuleContext, kernel: readonly number[], x: Value): Window {
  const { node } = c;
  const n = kernel.length;
  const strides = node.ints('strides', Array<number>(n).fill(1))!;
  const dilations = node.ints('dilations', Array<number>(n).fill(1))!;
  const extra = node.ints('output_padding', Array<number>(n).fill(0))!;
  const extent = kernel.map((k, i) => (k - 1) * dilations[i] + 1);
  const autoPad = node.string('auto_pad', 'NOTSET');
  const given = node.ints('output_shape')?.slice(-n);
  const made = { kernel, strides, dilations, extent, ceil: false };
  if (!given && !autoPad.startsWith('SAME')) {
    const none = autoPad === 'VALID' || !node.attributes.has('pads');
    const pads = none ? Array<number>(2 * n).fill(0) : node.ints('pads')!;
    return { ...made, begin: pads.slice(0, n), end: pads.slice(n).map((p, i) => p - extra[i]) };
  }
  const sizes = spatial(c, x);
  const total = extent.map((e, i) => {
    const [size, stride] = [sizes[i], strides[i]];
    if (!given) return e + extra[i] - stride;
    if (typeof size !== 'number') return c.fail('its padding depends on sizes that are known when it runs only');
    return (size - 1) * stride + e + extra[i] - given[i];
  });
  const less = total.map((t) => Math.floor(Math.max(0, t) / 2));
  const begin = autoPad === 'SAME_UPPER' ? less : total.map((t, i) => Math.max(0, t) - less[i]);
  return { ...made, begin, end: total.map((t, i) => t - begin[i] - extra[i]) };
}

function samePadding(c: RuleContext, size: Dim, stride: number, extent: number): number {
  if (stride === 1) return extent - 1;
  if (typeof size !== 'number')
    return c.fail('its padding (auto_pad) depends on sizes that are known when it runs only');
  return Math.max(0, (Math.ceil(size / stride) - 1) * stride + extent - size);
}

/** What the node says of its windows, for another node over the same ones. */
export function windowAttributes(c: RuleContext): EmitAttributes {
  const { node } = c;
  const lists = ['kernel_shape', 'strides', 'pads', 'dilations'].map((name) => [name, node.ints(name)] as const);
  const numbers = ['group', 'ceil_mode', 'count_include_pad'].map((name) => [name, node.int(name)] as const);
  const known = [...lists, ...numbers].flatMap(([name, value]) =>
    value === undefined ? [] : [[name, value] as const],
  );
  return { auto_pad: node.string('auto_pad', 'NOTSET'), ...Object.fromEntries(known) };
}

/** Sizes of the axes from 2 on. */
export function spatial(c: RuleContext, v: Value): Dim[] {
  c.rankOf(v);
  return c.shapeOf(v)!.slice(2);
}

/** The axes from 2 on. */
export function spatialAxes(c: RuleContext, v: Value): number[] {
  return Array.from({ length: c.rankOf(v) - 2 }, (_, i) => i + 2);
}

/**
 * The padding behind each axis of `input` that its windows cover exactly, negative where they leave a rest; undefined
 * where it depends on sizes that are known when it runs only.
 */
export function coveredEnd(c: RuleContext, w: Window, input: Value, output: Value): (number | undefined)[] {
  const [from, to] = [spatial(c, input), spatial(c, output)];
  return w.extent.map((extent, i) => {
    const [size, windows] = [from[i], to[i]];
    if (typeof size === 'number' && typeof windows === 'number')
      return (windows - 1) * w.strides[i] + extent - w.begin[i] - size;
    return w.strides[i] === 1 && !w.ceil ? w.end[i] : undefined;
  });
}

/**
 * The transposed convolution of g (one element for each window) with the kernel w, of the spatial sizes of `like`, over
 * which the windows slid: the gradient of that.
 * @param w [channels of g, channels of the result in each group, …kernel]
 */
export function spread(c: RuleContext, g: Value, w: Value, window: Window, group: number, like: Value): Value {
  const ends = coveredEnd(c, window, like, g);
  const begin = window.extent.map((e, i) => e - 1 - window.begin[i]);
  const end = window.extent.map((e, i) => e - 1 - (ends[i] ?? NaN));
  const possible = window.strides.every((s) => s === 1) && [...begin, ...end].every((p) => p >= 0);
  if (!possible || (group === 1 && !turnedIsFaster(c, g, w, like))) return spreadApart(c, g, w, window, group, like);
  // With a stride of 1 a convolution with the kernel turned round is the same.
  return c.op('Conv', [g, turned(c, w, group)], {
    group,
    kernel_shape: window.kernel,
    dilations: window.dilations,
    pads: [...begin, ...end],
  });
}

/** Channels that the runtime convolves in one block. */
const BLOCK = 8;
/** How many more positions than windows a convolution may go over and still be the faster way. */
const MOST_MORE = 1.5;

/**
 * Whether a convolution with the kernel turned round takes less time than a transposed one: by far when depthwise, and
 * where channels are whole blocks and the result has few more positions than there are windows.
 */
function turnedIsFaster(c: RuleContext, g: Value, w: Value, like: Value): boolean {
  const more = spatial(c, like).reduce<number>((ratio, d, i) => {
    const windows = c.dimOf(g, i + 2);
    return typeof d === 'number' && typeof windows === 'number' ? (ratio * d) / windows : ratio;
  }, 1);
  return weightDims(c, w)[0] % BLOCK === 0 && more <= MOST_MORE;
}

function spreadApart(c: RuleContext, g: Value, w: Value, window: Window, group: number, like: Value): Value {
  const ends = coveredEnd(c, window, like, g);
  const full = c.op('ConvTranspose', [g, w], {
    group,
    kernel_shape: window.kernel,
    strides: window.strides,
    dilations: window.dilations,
    pads: [...window.begin, ...ends.map((e) => Math.max(0, e ?? 0))],
    output_padding: ends.map((e, i) => (e === undefined ? window.strides[i] - 1 : Math.max(0, -e))),
  });
  return ends.includes(undefined) ? cropTo(c, full, like) : full;
}

/** The weights with every spatial axis reversed and channels in and out swapped within each group. */
function turned(c: RuleContext, w: Value, group: number): Value {
  const [out, inner, ...kernel] = weightDims(c, w);
  let v = w;
  kernel.forEach((k, i) => {
    const reversed = Array.from({ length: k }, (_, j) => k - 1 - j);
    if (k > 1) v = c.op('Gather', [v, c.ints(reversed)], { axis: i + 2 });
  });
  const each = out / group;
  if (each === 1 && inner === 1) return v;
  const rest = kernel.map((_, i) => i);
  if (group === 1) return c.transpose(v, [1, 0, ...rest.map((i) => i + 2)]);
  const swapped = c.transpose(c.reshape(v, [group, each, inner, ...kernel]), [0, 2, 1, ...rest.map((i) => i + 3)]);
  return c.reshape(swapped, [group * inner, each, ...kernel]);
}

/** Sizes of the weights of a convolution: [channels, channels of each group, …kernel]. */
export function weightDims(c: RuleContext, w: Value): number[] {
  return w.staticShape ?? c.fail(`the sizes of its weights "${w.name}" are unknown`);
}

/** The first elements of each spatial axis, as many as `like` has. */
function cropTo(c: RuleContext, v: Value, like: Value): Value {
  const axes = spatialAxes(c, like);
  if (c.opset < 10) return c.fail('sizes that are known when it runs only need opset 10');
  const cropped = c.op('Slice', [v, c.ints(axes.map(() => 0)), c.dims(like, axes), c.ints(axes)]);
  cropped.type = {
    kind: 'tensor',
    elemType: c.elemTypeOf(v),
    shape: [...c.shapeOf(v)!.slice(0, 2), ...spatial(c, like)],
  };
  return cropped;
}
