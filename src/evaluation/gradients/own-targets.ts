/** Targets that the original model itself gives, for second derivatives of the loss. */
import { standardNormal } from '../../math/normal.ts';
import { Rng } from '../../math/random.ts';
import { rowLayout } from '../coalitions/metric-graph.ts';
import { metricTerms, rowLayoutInner } from '../coalitions/terms.ts';
import type { Dataset } from '../data/dataset.ts';
import { countedPositions, countedScale, IGNORED_LABEL } from '../data/labels.ts';
import { logDistribution, positions } from '../metrics/numeric.ts';
import { comparedOutputs, type Reference } from '../metrics/reference.ts';
import type { OutputReading } from '../types.ts';
import type { LossTargets, LossTerm } from './loss-terms.ts';

/** So many classes are all taken in turn, each counting as its probability; of more some are drawn. */
export const MOST_CLASSES = 16;
/** Random targets for each sample. */
export const DRAWS = 4;

/**
 * Answers of the model's own distribution p. The squares of derivatives of −log p(y), weighted and added up over draws,
 * are the diagonal of the Fisher information, which for a mean over positions is the Gauss-Newton second derivative of
 * the cross-entropy. Exact for up to `MOST_CLASSES` classes at one position; elsewhere y is drawn at each position, and
 * independent scores of mean 0 add up in the square: times the number of positions for a mean over them.
 */
export function ownDistribution(
  dataset: Dataset,
  reading: OutputReading,
  reference: Reference,
  seed: number,
): LossTerm {
  const [own] = comparedOutputs(reference, 'agreement', reading);
  const { labels, labelsPerSample } = dataset;
  const counted = countedPositions(labels, labelsPerSample);
  const ignored = (sample: number, position: number): boolean =>
    counted !== null && labels![sample * labelsPerSample + position] === IGNORED_LABEL;
  return {
    reading: own.reading,
    form: 'likelihood',
    weight: countedScale(counted, labelsPerSample),
    bind(dims, batch): LossTargets {
      const layout = rowLayoutInner(dims, batch, own.reading);
      const count = positions(layout);
      const classes = own.reading.reading.startsWith('binary') ? 2 : layout.classes;
      const logs = (sample: number, position: number): Float64Array => {
        const { inner } = layout;
        const block = reference.block(dataset.ids[sample]) * own.stride;
        const start = block + Math.floor(position / inner) * layout.classes * inner + (position % inner);
        return logDistribution(own.reading.reading, own.values, start, layout.classes, inner);
      };
      if (count === 1 && classes <= MOST_CLASSES)
        return {
          draws: classes,
          exact: true,
          of: (_, draw) => BigInt64Array.of(BigInt(draw)),
          weight: (sample, draw) => Math.exp(logs(sample, 0)[draw]),
        };
      return {
        draws: DRAWS,
        exact: false,
        of: (sample, draw) => {
          const rng = Rng.from(seed, `answers ${dataset.ids[sample]} ${draw}`);
          return BigInt64Array.from({ length: count }, (_, p) =>
            BigInt(ignored(sample, p) ? IGNORED_LABEL : drawn(logs(sample, p), rng)),
          );
        },
        weight: () => count / DRAWS,
      };
    },
  };
}

function drawn(logs: Float64Array, rng: Rng): number {
  let left = rng.float();
  for (let c = 0; c < logs.length - 1; c++) {
    left -= Math.exp(logs[c]);
    if (left < 0) return c;
  }
  return logs.length - 1;
}

/**
 * Random combinations rᵀy of the numbers of every output, r ~ N(0, I): E[(∂rᵀy/∂g)²] = ‖∂y/∂g‖². Scaled so that this is
 * the Gauss-Newton second derivative of the metric mse with its sign changed.
 */
export function projections(
  dataset: Dataset,
  reading: OutputReading,
  reference: Reference | undefined,
  seed: number,
): LossTerm[] {
  return metricTerms(dataset, 'mse', reading, reference).map((term, output): LossTerm => {
    return {
      reading: term.reading,
      form: 'product',
      weight: 1,
      bind(dims, batch): LossTargets {
        const layout = rowLayout(dims, batch, term.reading);
        const width = layout.positions * layout.classes;
        // The second derivative of w·mean (y − t)² is 2w·mean (∂y)²; the loss is the mean of r·y, not the sum.
        const scale = Math.sqrt(2 * Math.abs(term.weight) * width);
        return {
          draws: DRAWS,
          exact: false,
          of: (sample, draw) => {
            const rng = Rng.from(seed, `projection ${output} ${dataset.ids[sample]} ${draw}`);
            return Float32Array.from({ length: width }, () => scale * standardNormal(rng));
          },
          weight: () => 1 / DRAWS,
        };
      },
    };
  });
}
