import type { EngineMethods, Measured } from '../../protocol.ts';
import { keptUnits } from '../../pruning/export/keep-sets.ts';
import { predictCost } from '../../pruning/plan/cost-model.ts';
import { Cache } from './cache.ts';
import type { JobContext } from './context.ts';
import { checkpoint } from './context.ts';
import { chooseMetric, openData } from './data.ts';
import { keepSetsOfRequest, namesBlocks, withGatedModel } from './gated.ts';
import { openModel } from './model.ts';
import { chooseDevice } from './sessions.ts';

/** Ends of the growing subsets, as shares of the samples: a first number comes soon, the last is exact. */
const STAGES = [1 / 8, 1 / 2, 1];
/** The first subset has at least so many samples. */
const FIRST = 32;

/** Values of the unpruned model by stage. */
const references = new Cache<MeanSoFar>(64);

/** The metric of the gated model for a keep-set, beside that of the unpruned one on the same samples. */
export async function measure(params: EngineMethods['measure']['params'], context: JobContext): Promise<Measured> {
  const { signal } = context;
  const model = await openModel(params.model);
  const data = await openData(model, params.data);
  const metric = chooseMetric(data, params.metric);
  const device = await chooseDevice(params.device, []);
  const keep = keepSetsOfRequest(model, params.keep);
  const predicted = predictCost(model.costTerms(), keptUnits(model.structure(), keep));
  await checkpoint(context);
  const withBlocks = namesBlocks(model, keep.keys());
  return withGatedModel(model, data, metric, device, signal, withBlocks, async (gated) => {
    const { samples } = data.search;
    const ends = [
      ...new Set(
        STAGES.map((share) => Math.min(samples, Math.max(Math.ceil(samples * share), Math.min(FIRST, samples)))),
      ),
    ];
    let value = NOTHING;
    let reference = NOTHING;
    let from = 0;
    for (const to of ends) {
      await checkpoint(context);
      const stage = { from, to };
      // Not aborted by this job's signal: the next one needs it, too.
      const whole = await references.get([data.key, metric, device, from, to].join('|'), async () =>
        meanOf(await gated.measure(new Map(), stage)),
      );
      reference = combine(reference, whole);
      await checkpoint(context);
      value = keep.size === 0 ? reference : combine(value, meanOf(await gated.measure(keep, stage, signal)));
      from = to;
      const measured: Measured = {
        value: value.mean,
        stderr: standardError(value),
        samples: value.count,
        final: to === samples,
        reference: reference.mean,
        predicted,
      };
      if (to === samples) return measured;
      context.progress({ fraction: to / samples, note: `measured on ${to} of ${samples} samples`, partial: measured });
    }
    throw new Error('unreachable: the last stage ends at the last sample');
  });
}

/** A mean over samples with the sum of squared deviations, so that parts can be put together. */
interface MeanSoFar {
  count: number;
  mean: number;
  squares: number;
}

const NOTHING: MeanSoFar = { count: 0, mean: 0, squares: 0 };

function meanOf({ value, stderr, samples }: { value: number; stderr: number | null; samples: number }): MeanSoFar {
  return {
    count: samples,
    mean: value,
    squares: stderr === null ? NaN : stderr * stderr * samples * Math.max(0, samples - 1),
  };
}

/** Chan, Golub and LeVeque's update for parallel means and variances. */
function combine(a: MeanSoFar, b: MeanSoFar): MeanSoFar {
  if (a.count === 0) return b;
  if (b.count === 0) return a;
  const count = a.count + b.count;
  const difference = b.mean - a.mean;
  return {
    count,
    mean: a.mean + (difference * b.count) / count,
    squares: a.squares + b.squares + (difference * difference * a.count * b.count) / count,
  };
}

function standardError({ count, squares }: MeanSoFar): number | null {
  return count > 1 && Number.isFinite(squares) ? Math.sqrt(squares / (count - 1) / count) : null;
}
