import { DataType } from '../../onnx/data-type.ts';
import type { Dim } from '../ir.ts';
import type { Rule, RuleContext, RuleTable } from './context.ts';
import { unknownDims } from './context.ts';
import { addDims, ceilDiv, floorDiv, mulDims, subDims } from './dims.ts';

/** Convolutions and pooling: spatial axes from kernel, strides, pads, dilations. */

interface Window {
  kernel: Dim[];
  strides: number[];
  dilations: number[];
  /** Both ends of every spatial axis: [begin…, end…]. */
  pads: number[];
  autoPad: string;
}

function window(c: RuleContext, kernel: readonly Dim[]): Window {
  const n = kernel.length;
  return {
    kernel: [...kernel],
    strides: c.ints('strides') ?? Array<number>(n).fill(1),
    dilations: c.ints('dilations') ?? Array<number>(n).fill(1),
    pads: c.ints('pads') ?? Array<number>(2 * n).fill(0),
    autoPad: c.string('auto_pad', 'NOTSET'),
  };
}

/** Size of one spatial axis after sliding the window over it. */
function slide(input: Dim, w: Window, axis: number, ceilMode = false): Dim {
  const n = w.kernel.length;
  const stride = w.strides[axis] ?? 1;
  const extent = addDims(mulDims(subDims(w.kernel[axis], 1), w.dilations[axis] ?? 1), 1);
  if (w.autoPad === 'SAME_UPPER' || w.autoPad === 'SAME_LOWER') return ceilDiv(input, stride);
  const padBegin = w.autoPad === 'VALID' ? 0 : (w.pads[axis] ?? 0);
  const padEnd = w.autoPad === 'VALID' ? 0 : (w.pads[axis + n] ?? 0);
  const room = subDims(addDims(input, padBegin + padEnd), extent);
  if (!ceilMode) return addDims(floorDiv(room, stride), 1);
  const out = addDims(ceilDiv(room, stride), 1);
  // The last window must start inside the input or the padding in front of it.
  if (typeof out === 'number' && typeof input === 'number' && (out - 1) * stride >= input + padBegin) return out - 1;
  return out;
}

/** Whether the channels are the last axis of the data. */
type Layout = (c: RuleContext) => boolean;
const never: Layout = () => false;
const always: Layout = () => true;
/** The quantised contrib ops say so themselves. */
const asSaid: Layout = (c) => c.int('channels_last', 0) === 1;

/** Channels moved from the end behind the batch, and back. */
function channelsFirst(shape: Dim[] | undefined, last: boolean): Dim[] | undefined {
  return shape && last && shape.length > 1 ? [shape[0], shape[shape.length - 1], ...shape.slice(1, -1)] : shape;
}
function inLayout(shape: Dim[], last: boolean): Dim[] {
  return last && shape.length > 1 ? [shape[0], ...shape.slice(2), shape[1]] : shape;
}

/** Conv, with data in input `x` and weights in input `w`. */
function convOf(x: number, w: number, elemType?: (c: RuleContext) => number, layout: Layout = never): Rule {
  return (c) => {
    const last = layout(c);
    const data = channelsFirst(c.shape(x), last);
    const weights = c.shape(w);
    const rank = data?.length ?? weights?.length;
    const type = elemType ? elemType(c) : c.elem(x);
    if (rank === undefined || rank < 3) return c.out(0, type, data && unknownDims(data.length));
    const kernel = c.ints('kernel_shape') ?? weights?.slice(2) ?? unknownDims(rank - 2);
    const win = window(c, kernel);
    const spatial = win.kernel.map((_, i) => (data ? slide(data[i + 2], win, i) : null));
    c.out(0, type, inLayout([data ? data[0] : null, weights ? weights[0] : null, ...spatial], last));
  };
}

const convTranspose: Rule = (c) => {
  const data = c.shape(0);
  const weights = c.shape(1);
  const rank = data?.length ?? weights?.length;
  if (rank === undefined || rank < 3) return c.out(0, c.elem(0), undefined);
  const n = rank - 2;
  const kernel = c.ints('kernel_shape') ?? weights?.slice(2) ?? unknownDims(n);
  const win = window(c, kernel);
  const extra = c.ints('output_padding') ?? Array<number>(n).fill(0);
  const given = c.ints('output_shape');
  const spatial = win.kernel.map((_, i): Dim => {
    if (given) return given[given.length - n + i];
    const input = data ? data[i + 2] : null;
    const stride = win.strides[i] ?? 1;
    if (win.autoPad.startsWith('SAME')) return mulDims(input, stride);
    const pads = win.autoPad === 'VALID' ? 0 : (win.pads[i] ?? 0) + (win.pads[i + n] ?? 0);
    const extent = addDims(mulDims(subDims(win.kernel[i], 1), win.dilations[i] ?? 1), 1);
    return subDims(addDims(addDims(mulDims(subDims(input, 1), stride), extra[i] ?? 0), extent), pads);
  });
  const channels = weights ? mulDims(weights[1], c.int('group', 1)) : null;
  c.out(0, c.elem(0), [data ? data[0] : null, channels, ...spatial]);
};

function pool(x: number, layout: Layout = never): Rule {
  return (c) => {
    const last = layout(c);
    const data = channelsFirst(c.shape(x), last);
    const kernel = c.ints('kernel_shape');
    if (!data || !kernel) return c.out(0, c.elem(x), data && unknownDims(data.length));
    const win = window(c, kernel);
    const ceil = c.int('ceil_mode', 0) === 1;
    const spatial = kernel.map((_, i) => slide(data[i + 2], win, i, ceil));
    const shape = inLayout([data[0], data[1], ...spatial], last);
    c.out(0, c.elem(x), shape);
    c.out(1, DataType.INT64, shape);
  };
}

function globalPool(layout: Layout = never): Rule {
  return (c) => {
    const last = layout(c);
    const data = channelsFirst(c.shape(0), last);
    const shape = data?.map((d, i): Dim => (i < 2 ? d : 1));
    c.out(0, c.elem(0), shape && inLayout(shape, last));
  };
}

const maxUnpool: Rule = (c) => {
  const data = c.shape(0);
  const kernel = c.ints('kernel_shape');
  const given = c.content(2);
  if (given) return c.out(0, c.elem(0), given);
  if (!data || !kernel) return;
  const win = window(c, kernel);
  const spatial = kernel.map((k, i) =>
    subDims(
      addDims(mulDims(subDims(data[i + 2], 1), win.strides[i] ?? 1), k),
      (win.pads[i] ?? 0) + (win.pads[i + kernel.length] ?? 0),
    ),
  );
  c.out(0, c.elem(0), [data[0], data[1], ...spatial]);
};

const roiPool: Rule = (c) => {
  const [data, rois] = [c.shape(0), c.shape(1)];
  const size =
    c.node.opType === 'MaxRoiPool'
      ? (c.ints('pooled_shape') ?? [null, null])
      : [c.int('output_height', 1), c.int('output_width', 1)];
  c.out(0, c.elem(0), [rois?.[0] ?? null, data?.[1] ?? null, ...size]);
};

/** Output rows × columns of image patches put back together. */
const col2im: Rule = (c) => {
  const data = c.shape(0);
  const image = c.content(1);
  const block = c.numbers(2);
  if (!data || !image) return;
  const patch = block?.reduce((a, b) => a * b, 1);
  c.out(0, c.elem(0), [data[0], patch ? floorDiv(data[1], patch) : null, ...image]);
};

const gridSample: Rule = (c) => {
  const [data, grid] = [c.shape(0), c.shape(1)];
  if (!data || !grid) return;
  c.out(0, c.elem(0), [data[0], data[1], ...grid.slice(1, -1)]);
};

const deformConv: Rule = (c) => convOf(0, 1)(c);

/** Spatial sizes follow from pads that are computed while running. */
const dynamicPads: Rule = (c) => {
  const [data, weights] = [c.shape(0), c.shape(1)];
  if (!data || !weights) return;
  c.out(0, c.elem(0), [data[0], mulDims(weights[1], c.int('group', 1)), ...unknownDims(data.length - 2)]);
};

/** Channels in blocks: their number is rounded up on the way in, and stated on the way out. */
const reorderInput: Rule = (c) => {
  const data = channelsFirst(c.shape(0), asSaid(c));
  c.out(
    0,
    c.elem(0),
    data?.map((d, i) => (i === 1 ? null : d)),
  );
};
const reorderOutput: Rule = (c) => {
  const shape = c.shape(0)?.map((d, i): Dim => (i === 1 ? (c.int('channels') ?? null) : d));
  c.out(0, c.elem(0), shape && inLayout(shape, asSaid(c)));
};

export const convRules: RuleTable = {
  'com.microsoft.nchwc.Conv': convOf(0, 1),
  'com.microsoft.nchwc.MaxPool': pool(0),
  'com.microsoft.nchwc.AveragePool': pool(0),
  'com.microsoft.nchwc.GlobalAveragePool': globalPool(),
  'com.microsoft.nchwc.GlobalMaxPool': globalPool(),
  'com.microsoft.nchwc.ReorderInput': reorderInput,
  'com.microsoft.nchwc.ReorderOutput': reorderOutput,
  Conv: convOf(0, 1),
  ConvInteger: convOf(0, 1, () => DataType.INT32),
  QLinearConv: convOf(0, 3, (c) => c.elem(7) || c.elem(0)),
  DeformConv: deformConv,
  ConvTranspose: convTranspose,
  'com.microsoft.FusedConv': convOf(0, 1),
  'com.microsoft.NhwcConv': convOf(0, 1, undefined, always),
  'com.microsoft.NhwcFusedConv': convOf(0, 1, undefined, always),
  'com.microsoft.NhwcMaxPool': pool(0, always),
  'com.microsoft.QLinearConv': convOf(0, 3, (c) => c.elem(7) || c.elem(0), asSaid),
  'com.microsoft.ConvTransposeWithDynamicPads': dynamicPads,
  MaxPool: pool(0),
  AveragePool: pool(0),
  LpPool: pool(0),
  'com.microsoft.QLinearAveragePool': pool(0, asSaid),
  'com.microsoft.QLinearGlobalAveragePool': globalPool(asSaid),
  GlobalAveragePool: globalPool(),
  GlobalMaxPool: globalPool(),
  GlobalLpPool: globalPool(),
  MaxUnpool: maxUnpool,
  MaxRoiPool: roiPool,
  RoiAlign: roiPool,
  Col2Im: col2im,
  GridSample: gridSample,
  'com.microsoft.GridSample': gridSample,
};
