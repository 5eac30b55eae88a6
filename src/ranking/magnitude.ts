import { SecateurError } from '../errors.ts';
import type { Node } from '../graph/ir.ts';
import { operandValues } from '../graph/weight-values.ts';
import type { Group } from '../units/types.ts';
import { finishedRanks, secondsSince } from './result.ts';
import type { RankMethod } from './types.ts';

/** Σ|w| of the weights that produce a unit. See `weightNorms`. */
export const magnitude: RankMethod = {
  ...magnitudeMethod('magnitude', 1),
  label: 'Weight magnitude (L1)',
  description: 'Sum of the absolute weights that produce the unit. Needs no data.',
};

/** √Σw² of the weights that produce a unit. See `weightNorms`. */
export const magnitudeL2: RankMethod = {
  ...magnitudeMethod('magnitude-l2', 2),
  label: 'Weight magnitude (L2)',
  description: 'Euclidean norm of the weights that produce the unit. Needs no data.',
};

function magnitudeMethod(name: 'magnitude' | 'magnitude-l2', power: 1 | 2): Omit<RankMethod, 'label' | 'description'> {
  return {
    name,
    needs: 'weights',
    comparable: false,
    plannedEvaluations: () => 0,
    async rank({ group }, _options, _signal, onProgress) {
      const started = performance.now();
      const scores = weightNorms(group, power);
      return finishedRanks(group, { scores, seconds: secondsSince(started) }, onProgress);
    },
  };
}

/**
 * Norm of each unit's producing weights. With one layer it is that layer's L1 or L2 norm per unit. With several
 * coupled layers, whose weights may be of quite different size, each layer's norms are divided by their mean over the
 * units first, the mean over the layers is taken, and the result is scaled back by the mean norm of all layers: so
 * every layer has the same say.
 * @throws SecateurError 'unsupported' when no producing weight of the group is a constant, 'bad-model' when one is not finite
 */
export function weightNorms(group: Group, power: 1 | 2): Float64Array {
  if (group.kind === 'block')
    throw new SecateurError(
      'unsupported',
      `The units of group '${group.id}' are whole blocks, of layers that have weights of different sizes and number: no weights produce them, so they have no magnitude.`,
      'Use another method for this group, such as shapley, leave-one-out or activation.',
    );
  const byLayer = new Map<Node, Float64Array>();
  for (const weight of group.weights) {
    const tensor = operandValues(weight.node, weight.input);
    if (!tensor) continue;
    const sums = byLayer.get(weight.node) ?? new Float64Array(group.size);
    byLayer.set(weight.node, sums);
    addPowers(sums, tensor.data, tensor.dims, weight.axis, weight.units, power);
  }
  if (byLayer.size === 0)
    throw new SecateurError(
      'unsupported',
      `The weights that produce the units of group '${group.id}' are computed, not stored, so their magnitude is not known.`,
      'Use another method for this group, such as activation or shapley.',
    );

  const layers = [...byLayer.values()].map((sums) => (power === 1 ? sums : sums.map(Math.sqrt)));
  const means = layers.map((norms) => norms.reduce((a, b) => a + b, 0) / group.size);
  if (means.some((mean) => !Number.isFinite(mean)))
    throw new SecateurError('bad-model', `A weight that produces the units of group '${group.id}' is NaN or infinite.`);
  if (layers.length === 1) return layers[0];
  const scale = means.reduce((a, b) => a + b, 0) / means.length;
  const scores = new Float64Array(group.size);
  layers.forEach((norms, l) => {
    if (means[l] > 0) norms.forEach((norm, unit) => (scores[unit] += ((norm / means[l]) * scale) / layers.length));
  });
  return scores;
}

/** Adds |w|^power of every element to the unit that its position along `axis` belongs to (−1: to none). */
function addPowers(
  sums: Float64Array,
  data: Float32Array,
  dims: readonly number[],
  axis: number,
  units: Int32Array,
  power: 1 | 2,
): void {
  const width = dims[axis];
  let inner = 1;
  for (let d = axis + 1; d < dims.length; d++) inner *= dims[d];
  const outer = inner * width > 0 ? data.length / (inner * width) : 0;
  for (let o = 0; o < outer; o++) {
    for (let position = 0; position < width; position++) {
      const unit = units[position];
      if (unit === undefined || unit < 0) continue;
      const start = (o * width + position) * inner;
      let sum = 0;
      if (power === 1) for (let i = start; i < start + inner; i++) sum += Math.abs(data[i]);
      else for (let i = start; i < start + inner; i++) sum += data[i] * data[i];
      sums[unit] += sum;
    }
  }
}
