/** The check that every export must pass: the pruned model answers as the gated original does. */
import { SecateurError } from '../../errors.ts';
import type { DeviceName, Equivalence } from '../../formats.ts';
import type { Model } from '../../graph/ir.ts';
import { allTensors } from '../../graph/save.ts';
import { isHalfType } from '../../onnx/data-type.ts';
import { float32Tensor } from '../../runtime/host-tensor.ts';
import type { HostTensor } from '../../runtime/host-tensor.ts';
import type { Session } from '../../runtime/session.ts';
import { createSession } from '../../runtime/session.ts';
import { gateModel, gateRow } from '../../units/gating.ts';
import type { KeepSets, Structure } from '../../units/types.ts';
import type { FeedBatch } from './batches.ts';
import { DifferenceMeter } from './difference.ts';

/** Smallest tolerance for single precision. */
const LEAST_TOLERANCE = 1e-5;
const HALF_TOLERANCE = 1e-2;
/** One step of an 8-bit scale that spans the range of a tensor symmetrically. */
const QUANTISATION_STEP = 1 / 127;
/** Samples are compared until there are enough or it has taken long enough, at least one batch. */
const MOST_SAMPLES = 64;
const LONG_ENOUGH_MS = 10_000;

export interface EquivalenceInput {
  structure: Structure;
  keep: KeepSets;
  /** Path of the original file. */
  original: string;
  /** Path of the pruned file, as it will be published. */
  pruned: string;
  /** Outputs that changed their shape with the units: there is nothing to compare them with. */
  shrunkOutputs: readonly string[];
  batches: Iterable<FeedBatch>;
  signal?: AbortSignal;
}

/**
 * Runs pruned and gated model on the same inputs and compares every output; the tolerance comes from the original's
 * own noise between graph optimisations on and off (architecture.md, "Acceptance test of everything"). Graphs with
 * quantise/dequantise pairs are compared with optimisations off on both sides. The gated model with all gates open is
 * compared with the original file in passing, so that an error in reading the file cannot hide.
 * @throws SecateurError 'check-failed' when they differ by more; 'runtime' when the runtime does not take the pruned file
 */
export async function checkEquivalence(input: EquivalenceInput): Promise<Equivalence> {
  const { structure, keep } = input;
  const quantised = isQuantised(structure.model);
  const device: DeviceName = 'cpu';
  const optimize = !quantised;
  const gated = gateModel(structure, [...keep.keys()]);
  const gates: Record<string, HostTensor> = {};
  const openGates: Record<string, HostTensor> = {};
  for (const gate of gated.gates) {
    gates[gate.input.name] = float32Tensor([1, gate.size], gateRow(gate.size, keep.get(gate.group)));
    openGates[gate.input.name] = float32Tensor([1, gate.size], gateRow(gate.size, undefined));
  }

  const sessions: Session[] = [];
  const open = async (model: Model | string, optimised: boolean): Promise<Session> => {
    const session = await createSession(model, { device, optimize: optimised });
    sessions.push(session);
    return session;
  };
  const meter = new DifferenceMeter();
  const noise = new DifferenceMeter();
  const opened = new DifferenceMeter();
  /** Outputs of whole numbers or truth values. */
  const exactOutputs = new Set<string>();
  let samples = 0;
  try {
    const prunedSession = await open(input.pruned, optimize);
    const gatedSession = await open(gated.model, optimize);
    const optimised = await open(input.original, true);
    const plain = await open(input.original, false);
    const started = performance.now();
    for (const batch of input.batches) {
      if (input.signal?.aborted) throw new SecateurError('cancelled', 'The job was cancelled; nothing was written.');
      const { feeds } = batch;
      const reference = await gatedSession.run({ ...feeds, ...gates });
      for (const [name, value] of Object.entries(reference))
        if (!/float|double/.test(value.type)) exactOutputs.add(name);
      addAll(meter, await prunedSession.run(feeds), reference, input.shrunkOutputs);
      const original = await plain.run(feeds);
      addAll(noise, await optimised.run(feeds), original, []);
      if (samples === 0 && gated.gates.length > 0)
        addAll(opened, await gatedSession.run({ ...feeds, ...openGates }), original, []);
      samples += batch.samples;
      if (samples >= MOST_SAMPLES || performance.now() - started > LONG_ENOUGH_MS) break;
    }
  } finally {
    for (const session of sessions) await session.release().catch(() => undefined);
  }

  // An index that flips by rounding noise (ArgMax, TopK) must not widen what is allowed to the numbers: where there are
  // float outputs they are judged by their own noise, and stand for the model in the report.
  const exact = meter.names.filter((name) => exactOutputs.has(name));
  const judged = exact.length < meter.names.length ? meter.names.filter((name) => !exactOutputs.has(name)) : exact;
  const toleranceOf = (names: readonly string[]): number =>
    Math.max(
      LEAST_TOLERANCE,
      10 * finite(noise.worst(names).maxRelDiff),
      isHalf(structure.model) ? HALF_TOLERANCE : 0,
      quantised ? QUANTISATION_STEP : 0,
    );
  const tolerance = toleranceOf(judged);
  const { maxAbsDiff, maxRelDiff, output } = meter.worst(judged);
  if (meter.names.length === 0)
    throw new SecateurError(
      'check-failed',
      'The export could not be checked: the model has no output of numbers to compare.',
      'Nothing was written.',
    );
  if (!(maxRelDiff <= tolerance)) {
    throw new SecateurError(
      'check-failed',
      `The pruned model does not equal the gated original: output '${output}' differs by ${maxRelDiff.toExponential(2)} of its range, tolerance ${tolerance.toExponential(2)}.`,
      'Nothing was written. Please report this model.',
    );
  }
  const indices = meter.worst(exact);
  if (!(indices.maxRelDiff <= toleranceOf(exact))) {
    throw new SecateurError(
      'check-failed',
      `The pruned model does not equal the gated original: the whole numbers of output '${indices.output}' differ.`,
      'Nothing was written. Please report this model.',
    );
  }
  const self = opened.worst(judged);
  if (!(self.maxRelDiff <= tolerance)) {
    throw new SecateurError(
      'check-failed',
      `The model as Secateur reads it does not equal the file: output '${self.output}' differs by ${self.maxRelDiff.toExponential(2)} of its range.`,
      'Nothing was written. Please report this model.',
    );
  }
  return { maxAbsDiff, maxRelDiff, tolerance, samples };
}

function addAll(
  meter: DifferenceMeter,
  a: Record<string, HostTensor>,
  b: Record<string, HostTensor>,
  except: readonly string[],
): void {
  for (const [name, value] of Object.entries(b)) {
    if (except.includes(name)) continue;
    const other = a[name];
    if (!other)
      throw new SecateurError('check-failed', `The pruned model has no output '${name}'.`, 'Nothing was written.');
    try {
      meter.add(name, other, value);
    } catch (thrown) {
      if (!(thrown instanceof RangeError)) throw thrown;
      throw new SecateurError(
        'check-failed',
        `The pruned model's output has another shape than the original's: ${thrown.message}.`,
        'Nothing was written.',
      );
    }
  }
}

function finite(value: number): number {
  return Number.isFinite(value) ? value : 0;
}

/** Whether a graph quantises: its numbers jump by steps, so that rounding noise is not small. */
export function isQuantised(model: Model): boolean {
  return model.graph.nodes.some((n) =>
    /^(Quantize|Dequantize|DynamicQuantize)Linear$|^QLinear|Integer$/.test(n.opType),
  );
}

function isHalf(model: Model): boolean {
  const half = (type: number | undefined): boolean => type !== undefined && isHalfType(type);
  if (model.graph.inputs.some((v) => half(v.type?.elemType)) || model.graph.outputs.some((v) => half(v.type?.elemType)))
    return true;
  for (const tensor of allTensors(model)) if (half(tensor.dataType) && tensor.elementCount > 1) return true;
  return false;
}
