import { SecateurError, checkSignal } from '../../errors.ts';
import type { MetricName } from '../../formats.ts';
import { Rng } from '../../math/random.ts';
import type { Structure } from '../../units/types.ts';
import type { Dataset } from '../data/dataset.ts';
import type { LossKind } from './loss-terms.ts';
import { batchRows } from '../metrics/index.ts';
import type { GateLoss, LossBatch } from '../types.ts';
import { openEvaluator, type EvaluatorInfo, type EvaluatorOptions } from '../coalitions/open.ts';
import { oneByOne } from '../coalitions/samples.ts';
import { Serial } from '../coalitions/serial.ts';
import type { MaskEvaluator, Range } from '../coalitions/sums.ts';
import { tryWholeGateLoss, type WholeGateLoss } from './whole-gate-loss.ts';

/** A gate loss that holds sessions and memory until it is closed. */
export interface OpenGateLoss extends GateLoss {
  readonly info: EvaluatorInfo;
  close(): Promise<void>;
}

/** Samples of a run of the whole model: what its way back needs is kept for all of them. */
const MOST_ROWS = 32;

/** Metrics that change with the gates little by little; accuracy and agreement do so in steps. */
const SMOOTH: ReadonlySet<MetricName> = new Set<MetricName>(['cross-entropy', 'kl', 'mse']);

/**
 * The loss of a model under gates on one group, with gradients: what precedes the gates is computed once, many gate
 * vectors share a run with many samples, and one backward pass through the suffix gives the gradient of each. Models that
 * take one coalition at a time are differentiated whole. Where an op has no gradient rule there are losses only, and
 * `info.notes` names it. Calls may overlap; their runs are made one after the other.
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
  const made = (source: Source) => new EvaluatedLoss(groupId, size, dataset.samples, metric, source, info);
  if (info.gradients) return made(withMasks(evaluator, size));
  const whole = await openWhole(structure, groupId, shuffled, options, info).catch(async (thrown: unknown) => {
    await evaluator.close();
    throw thrown;
  });
  if (!whole) return made(withMasks(evaluator, size));
  await evaluator.close();
  info.gradients = true;
  return made(whole);
}

/** What gives losses, and gradients where there are some. */
interface Source {
  evaluate(gates: Float64Array, count: number, range: Range, signal?: AbortSignal): Promise<LossBatch>;
  close(): Promise<void>;
}

/** Gates as masks of an evaluator. */
function withMasks(evaluator: MaskEvaluator, size: number): Source {
  return {
    async evaluate(gates, count, range, signal) {
      const masks = Array.from({ length: count }, (_, k) => [gates.subarray(k * size, (k + 1) * size)]);
      const sums = await evaluator.evaluate(masks, range, signal);
      const losses = Float64Array.from({ length: count }, (_, k) => -sums.mean(k));
      const gradients = sums.gradients?.[0].map((g) => -g / sums.samples);
      return gradients ? { losses, gradients } : { losses };
    },
    close: () => evaluator.close(),
  };
}

/** Where coalitions are run one at a time, the whole model may be differentiated; else a note says what keeps it from it. */
async function openWhole(
  structure: Structure,
  groupId: string,
  dataset: Dataset,
  { metric, reading, device, reference, signal }: EvaluatorOptions,
  info: EvaluatorInfo,
): Promise<WholeGateLoss | undefined> {
  const single = info.strategy === 'single';
  if (!single && info.strategy !== 'samples') return undefined;
  const options = { loss: metric as LossKind, reading, device, reference, signal };
  const data = single ? oneByOne(dataset) : dataset;
  const found = await tryWholeGateLoss(
    structure,
    groupId,
    data,
    options,
    single ? 1 : Math.min(MOST_ROWS, batchRows(dataset)),
  );
  if (typeof found !== 'string') return found;
  if (!info.notes.includes(found)) info.notes.push(found);
  return undefined;
}

class EvaluatedLoss implements OpenGateLoss {
  readonly differentiable: boolean;
  private readonly serial = new Serial();

  constructor(
    readonly group: string,
    readonly size: number,
    readonly samples: number,
    readonly metric: MetricName,
    private readonly source: Source,
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
    return this.serial.run(() => {
      checkSignal(signal);
      return this.source.evaluate(gates, count, range, signal);
    });
  }

  async close(): Promise<void> {
    await this.serial.run(() => this.source.close());
  }
}
