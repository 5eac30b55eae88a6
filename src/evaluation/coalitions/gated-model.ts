import { SecateurError, checkSignal } from '../../errors.ts';
import type { KeepSets, Structure } from '../../units/types.ts';
import type { Dataset } from '../data/dataset.ts';
import { openEvaluator, type EvaluatorInfo, type EvaluatorOptions } from './open.ts';
import { Serial } from './serial.ts';
import type { MaskEvaluator } from './sums.ts';

/** Value of the model with some units closed, on some samples. */
export interface MeasuredValue {
  value: number;
  /** Standard error of the mean over samples. */
  stderr: number;
  samples: number;
}

/** A model with gates on several groups. */
export interface GatedModelRunner {
  readonly info: EvaluatorInfo;
  readonly samples: number;
  /**
   * Metric with only these units open, on samples `from` … `to`−1 (default: all).
   * Calls may overlap; their runs are made one after the other.
   * @throws SecateurError 'cancelled' between two runs, 'runtime' when the metric is not a number
   */
  measure(keep: KeepSets, range?: { from?: number; to?: number }, signal?: AbortSignal): Promise<MeasuredValue>;
  close(): Promise<void>;
}

/**
 * Opens a model with gates on all prunable groups (or on `groups`): for the Prune view and for searches over plans.
 * What depends on no gate is computed once.
 * @throws SecateurError as openGame
 */
export async function openGatedModel(
  structure: Structure,
  dataset: Dataset,
  options: EvaluatorOptions & { groups?: readonly string[] },
): Promise<GatedModelRunner> {
  const ids = options.groups ?? structure.groups.filter((g) => g.prunable).map((g) => g.id);
  const { evaluator, info } = await openEvaluator(structure, ids, dataset, options);
  const sizes = ids.map((id) => structure.groups.find((g) => g.id === id)!.size);
  return new Runner(ids, sizes, dataset.samples, evaluator, info);
}

class Runner implements GatedModelRunner {
  private readonly serial = new Serial();

  constructor(
    private readonly ids: readonly string[],
    private readonly sizes: readonly number[],
    readonly samples: number,
    private readonly evaluator: MaskEvaluator,
    readonly info: EvaluatorInfo,
  ) {}

  async measure(
    keep: KeepSets,
    range: { from?: number; to?: number } = {},
    signal?: AbortSignal,
  ): Promise<MeasuredValue> {
    const from = Math.max(0, range.from ?? 0);
    const to = Math.min(this.samples, range.to ?? this.samples);
    if (from >= to) throw new SecateurError('internal', `There are no samples from ${from} to ${to}.`);
    const mask = this.ids.map((id, i) => maskOf(this.sizes[i], keep.get(id)));
    return this.serial.run(async () => {
      checkSignal(signal);
      const sums = await this.evaluator.evaluate([mask], { from, to }, signal);
      const value = sums.mean(0);
      if (!Number.isFinite(value))
        throw new SecateurError(
          'runtime',
          'The metric of the model with these units is not a number.',
          'Keep more units, or choose another metric.',
        );
      return { value, stderr: sums.stderr(0), samples: to - from };
    });
  }

  async close(): Promise<void> {
    await this.serial.run(() => this.evaluator.close());
  }
}

function maskOf(size: number, keep: readonly number[] | undefined): Uint8Array {
  if (!keep) return new Uint8Array(size).fill(1);
  const mask = new Uint8Array(size);
  for (const unit of keep) mask[unit] = 1;
  return mask;
}
