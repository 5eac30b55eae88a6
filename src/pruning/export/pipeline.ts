import { basename, dirname, join } from 'node:path';
import { statSync } from 'node:fs';
import { SecateurError } from '../../errors.ts';
import type { DataRef, ModelRef, Plan, PruneReport } from '../../formats.ts';
import { modelCost } from '../../graph/cost.ts';
import { loadModel } from '../../graph/load.ts';
import type { Model } from '../../graph/ir.ts';
import { allTensors, saveModel } from '../../graph/save.ts';
import { inferShapes } from '../../graph/shapes/index.ts';
import type { Structure } from '../../units/types.ts';
import { checkPlan } from '../plan/plan-file.ts';
import { pruneModel } from '../surgery.ts';
import { sampleBatches } from './batches.ts';
import { checkEquivalence } from './equivalence.ts';
import { fileError, checkTarget, TemporaryFolder } from './files.ts';
import type { ProtectedFile } from './files.ts';
import { changedGroups } from './keep-sets.ts';
import { measureBoth } from './measure.ts';
import type { MetricOptions } from './measure.ts';

export interface PruneInput extends MetricOptions {
  structure: Structure;
  /** The original file. */
  model: ModelRef;
  data: DataRef;
  plan: Plan;
  /** Where the smaller model goes. */
  out: string;
  /** Files that must never be written: the model, its external data, the data. */
  protectedFiles: readonly ProtectedFile[];
  warnings: readonly string[];
}

export interface PruneOptions {
  signal?: AbortSignal;
  progress?: (fraction: number, note: string) => void;
}

/**
 * Removes the units that a plan does not keep and exports the result. It is made in a temporary folder beside the
 * target, loaded and compared with the gated original there, measured, and only then moved into place; whatever fails
 * leaves nothing behind. External data stays external, as NAME.onnx.data.
 * @throws SecateurError 'usage' when the target is a protected file, 'io' when it cannot be written, 'bad-data' when
 *   the plan does not fit the model, 'check-failed' when the export does not equal the gated original, 'cancelled'
 */
export async function pruneAndExport(
  input: PruneInput,
  { signal, progress = () => undefined }: PruneOptions = {},
): Promise<PruneReport> {
  const started = performance.now();
  const { structure, model, metric } = input;
  const target = checkTarget(input.out, input.protectedFiles);
  checkTarget(`${target}.data`, input.protectedFiles);
  const plan = checkPlan(input.plan, model, structure.groups);
  const keep = changedGroups(structure, plan);
  const warnings = [...input.warnings];
  if (keep.size === 0) warnings.push('The plan removes nothing: the export computes what the original does.');

  progress(0, 'removing units');
  await breathe(signal);
  const { model: pruned, shrunkOutputs } = pruneModel(structure, keep);
  const folder = new TemporaryFolder(target);
  try {
    progress(0.1, 'writing the export aside');
    await breathe(signal);
    const name = basename(target);
    const written = save(
      pruned,
      folder.file(name),
      target,
      allTensors(structure.model).some((t) => t.isExternal),
    );
    await breathe(signal);

    progress(0.2, 'checking the export against the gated original');
    const equivalence = await checkEquivalence({
      structure,
      keep,
      original: model.path,
      pruned: folder.file(name),
      shrunkOutputs,
      batches: sampleBatches(input.search, 16),
      signal,
    });

    const sides = await measureBoth(
      model.path,
      folder.file(name),
      input,
      (note, fraction) => progress(0.4 + 0.55 * fraction, note),
      signal,
    );
    const slower = slowdown(sides.a.latencyMs, sides.b.latencyMs, plan.roundTo);
    if (slower && keep.size > 0) warnings.push(slower);
    const after = reloadedCost(folder.file(name));
    const before = modelCost(structure.model);
    await breathe(signal);

    progress(0.97, 'moving the export into place');
    // The data first: a model without its data is never there, not even for a moment.
    const moves = written.files
      .map((file) => ({ name: basename(file), target: join(dirname(target), basename(file)) }))
      .reverse();
    folder.publish(moves);
    progress(1, 'done');
    return {
      format: 'secateur-prune/1',
      model,
      data: input.data,
      metric,
      before: { bytes: model.bytes, parameters: before.parameters, macs: before.macs, ...sides.a },
      after: { bytes: written.bytes, parameters: after.parameters, macs: after.macs, ...sides.b },
      equivalence,
      plan,
      output: target,
      device: input.device,
      seconds: (performance.now() - started) / 1000,
      warnings,
      shrunkOutputs,
      holdoutSamples: input.holdout?.samples ?? 0,
      groupSizes: Object.fromEntries(structure.groups.map((g) => [g.id, g.size])),
    };
  } finally {
    folder.remove();
  }
}

/** External data stays external, even where every tensor was cut; other models only where one file cannot hold them. */
function save(model: Model, path: string, target: string, external: boolean): { bytes: number; files: string[] } {
  try {
    const { files } = saveModel(model, path, external ? { external } : {});
    return { files, bytes: files.reduce((sum, file) => sum + statSync(file).size, 0) };
  } catch (thrown) {
    // Name the file that the user asked for, not the temporary one.
    const code =
      ((thrown as Error).cause as NodeJS.ErrnoException | undefined)?.code ?? (thrown as NodeJS.ErrnoException).code;
    if (code) throw fileError({ code }, `write ${target}`);
    throw thrown;
  }
}

/** What to try when fewer units did not make the model faster: kernels work on eight or sixteen channels at a time. */
function slowdown(before: number | null, after: number | null, roundTo: number): string | null {
  if (before === null || after === null || after < before * 1.02 || roundTo % 8 === 0) return null;
  return 'The result is smaller but not faster on this machine; widths that are multiples of 8 often are (--round-to 8).';
}

/** Cost of what lies on the disk, not of what was meant to. */
function reloadedCost(path: string): { parameters: number; macs: number } {
  const model = loadModel(path);
  inferShapes(model);
  return modelCost(model);
}

/** Lets messages in, a cancellation above all. */
async function breathe(signal?: AbortSignal): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
  if (signal?.aborted) throw new SecateurError('cancelled', 'The job was cancelled; nothing was written.');
}
