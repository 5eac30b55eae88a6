import type { Node } from '../../graph/ir.ts';
import { lowest } from '../gates/extreme.ts';
import { describe, type Axis } from '../flow.ts';
import { conv } from './contracting.ts';
import { axisIndex, same, type Rule, type Rules } from './rule.ts';

/** Ops that few models hold. */

const unknownShape = (node: Node) => `feeds ${describe(node)}, whose shape is not known`;

/** A convolution whose places are moved by offsets; each offset group moves an equal run of the input channels. */
const deformConv: Rule = (node, flow) => {
  const x = flow.axes(node, 0);
  const groups = node.int('offset_group', 1);
  conv(node, flow, { x: 0, w: 1, bias: 3 });
  for (const i of [2, 4]) flow.axes(node, i)?.forEach((a) => flow.freeze(a, `moves what ${describe(node)} sees`));
  if (groups > 1 && x?.[1] instanceof Int32Array) flow.blocks.push({ node, labels: x[1], blocks: groups });
};

/** Col2Im: the places of a block follow each other for every channel, and make one channel of the image. */
const col2Im: Rule = (node, flow) => {
  const x = flow.axes(node, 0);
  const block = flow.constantInts(node, 2)?.reduce((a, b) => a * b, 1);
  const rank = flow.shape(node.outputs[0])?.length;
  if (x?.length !== 3 || !block || rank === undefined) return flow.barrier(node, unknownShape(node));
  let channels: Axis = x[1];
  if (channels instanceof Int32Array) {
    const labels = channels;
    channels = Int32Array.from({ length: labels.length / block }, (_, c) => labels[c * block]);
    labels.forEach((atom, i) => flow.atoms.unite(atom, labels[i - (i % block)]));
  }
  flow.freeze(x[2], `is put back into an image by ${describe(node)}`);
  flow.setAxes(node, 0, [x[0], channels, ...Array<string>(rank - 2).fill('is a spatial axis')]);
};

/** Hardmax: 1 for the first of the greatest; closed units are lower than all. Before opset 13 all axes from `axis` on are one. */
const hardmax: Rule = (node, flow) => {
  const x = flow.axes(node, 0);
  if (!x) return flow.barrier(node, unknownShape(node));
  const modern = flow.opset >= 13;
  const axis = axisIndex(node.int('axis', modern ? -1 : 1), x.length);
  x.forEach((_, i) => {
    if (modern ? i === axis : i >= axis) flow.contract(node, 0, i, lowest);
  });
  flow.setAxes(node, 0, x);
};

/** Axes that are transformed to frequencies, or that hold real and imaginary parts, stay; others are carried. */
const dft: Rule = (node, flow) => {
  const x = flow.axes(node, 0);
  const given = node.inputs[2] ? flow.constantInts(node, 2)?.[0] : node.int('axis', flow.opset < 20 ? 1 : -2);
  if (!x || given === undefined) return flow.barrier(node, unknownShape(node));
  const axis = axisIndex(given, x.length);
  const reason = `is transformed to frequencies by ${describe(node)}`;
  const out = x.map((a, i): Axis => {
    if (i !== axis && i !== x.length - 1) return a;
    flow.freeze(a, reason);
    return reason;
  });
  flow.setAxes(node, 0, out);
};

const wall =
  (reason: string): Rule =>
  (node, flow) =>
    flow.barrier(node, `${reason} ${describe(node)}`);

export const rare: Rules = {
  DeformConv: deformConv,
  Col2Im: col2Im,
  Hardmax: hardmax,
  DFT: dft,
  STFT: wall('is transformed to frequencies by'),
  Det: wall('is a matrix whose determinant is taken by'),
  ...same(wall('is judged by'), 'NegativeLogLikelihoodLoss SoftmaxCrossEntropyLoss'),
};
