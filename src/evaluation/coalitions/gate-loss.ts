import { SecateurError } from '../../errors.ts';
import type { MetricName } from '../../formats.ts';
import { Rng } from '../../math/random.ts';
import type { Structure } from '../../units/types.ts';
import type { Dataset } from '../data/dataset.ts';
import type { GateLoss, LossBatch } from '../types.ts';
import { openEvaluator, type EvaluatorInfo, type EvaluatorOptions } from './open.ts';
import { Serial } from './serial.ts';
import { checkSignal, type MaskEvaluator, type Range } from './sums.ts';

/** A gate loss that holds sessions and memory until it is closed. */
export interface OpenGateLoss extends GateLoss {
  readonly info: EvaluatorInfo;
  close(): Promise<void>;
}

/** Metrics that change with the gates little by little; accuracy and agreement do so in steps. */
const SMOOTH: ReadonlySet<MetricName> = new Set<MetricName>(['cross-entropy', 'kl', 'mse']);

/**
 * The loss of a model under gates on one group, with gradients: what precedes the gates is computed once, many gate
 * vectors share a run with many samples, and one backward pass through the suffix gives the gradient of each. Where an op
 * of the suffix has no gradient rule, or the model cannot be run in this way, there are losses only and `info.notes` says
 * why. Calls may overlap; their runs are made one after the other.
 * @param options.seed of the order of the samples
 * @throws SecateurError 'usage' for a metric without a gradient, or a group that does not exist or cannot be pruned;
 * 'bad-data' for labels that do not fit the output, 'runtime'
 */
export async function openGateLoss(
  structure: Structure,
  groupId: string,
  dataset: Dataset,
  { seed, ...options }: Omit<EvaluatorOptions, 'gradients'> & { seed: number },
): Promise<OpenGateLoss> {
  const { metric } = options;
  if (!SMOOTH.has(metric))
    throw new SecateurError(
      'usage',
      `The metric ${metric} has no gradient with respect to gates: it changes in steps.`,
      'Take cross-entropy, kl or mse.',
    );
  const shuffled = dataset.subset(Rng.from(seed, 'gate-loss').permutation(dataset.samples));
  const { evaluator, info } = await openEvaluator(structure, [groupId], shuffled, { ...options, gradients: true });
  const { size } = structure.groups.find((g) => g.id === groupId)!;
  return new EvaluatedLoss(groupId, size, dataset.samples, metric, evaluator, info);
}

class EvaluatedLoss implements OpenGateLoss {
  readonly differentiable: boolean;
  private readonly serial = new Serial();

  constructor(
    readonly group: string,
    readonly size: number,
    readonly samples: number,
    readonly metric: MetricName,
    private readonly evaluator: MaskEvaluator,
    readonly info: EvaluatorInfo,
  ) {
    this.differentiable = info.gradients;
  }

  async evaluate(gates: Float64Array, count: number, range: Range, signal?: AbortSignal): Promise<LossBatch> {
    const { size } = this;
    if (gates.length !== count * size)
      throw new SecateurError(
        'internal',
        `${gates.length} numbers are not ${count} × ${size} gates of group "${this.group}".`,
      );
    const masks = Array.from({ length: count }, (_, k) => [gates.subarray(k * size, (k + 1) * size)]);
    return this.serial.run(async () => {
      checkSignal(signal);
      const sums = await this.evaluator.evaluate(masks, range, signal);
      const losses = Float64Array.from({ length: count }, (_, k) => -sums.mean(k));
      const gradients = sums.gradients?.[0].map((g) => -g / sums.samples);
      return gradients ? { losses, gradients } : { losses };
    });
  }

  async close(): Promise<void> {
    await this.serial.run(() => this.evaluator.close());
  }
}
