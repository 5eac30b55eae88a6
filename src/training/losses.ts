import { outputNamed } from '../graph/outputs.ts';
import { blend, crossEntropy, divergence, softDistribution, squaredError } from '../autodiff/losses.ts';
import { emitterFor, type Emitter } from '../autodiff/emit.ts';
import { SecateurError } from '../errors.ts';
import type { Reading } from '../formats.ts';
import type { Dim, Model, Value } from '../graph/ir.ts';
import type { Dataset } from '../evaluation/data/dataset.ts';
import { countedPositions, IGNORED_LABEL, isClass } from '../evaluation/data/labels.ts';
import { labelsFor } from '../evaluation/metrics/evaluate.ts';
import { outOfRange } from '../evaluation/metrics/reading.ts';
import type { Reference, ReferenceOutput } from '../evaluation/metrics/reference.ts';
import type { OutputReading } from '../evaluation/types.ts';
import { DataType } from '../onnx/data-type.ts';
import { float32Tensor, hostTensor, type HostTensor } from '../runtime/host-tensor.ts';
import type { TrainingLoss } from './graph.ts';

/** Losses of a data set that most training uses. Others are objects with two functions; see `TrainingLoss`. */

export interface LabelLossOptions {
  /** Share of every label that is spread over all classes; 0. */
  smoothing?: number;
}

/**
 * Cross-entropy with the labels of a data set, in nats, the mean over all positions that count.
 * @throws SecateurError 'usage' when the data have no labels or the output is not read as classes
 */
export function labelLoss(dataset: Dataset, reading: OutputReading, options: LabelLossOptions = {}): TrainingLoss {
  const labels = labelsFor(dataset, 'cross-entropy', reading);
  const ignore = countedPositions(labels, dataset.labelsPerSample) ? IGNORED_LABEL : undefined;
  return {
    addTo(model) {
      const output = outputNamed(model.graph, reading.output);
      const e = emitterFor(model, 'loss');
      const layout = classLayout(reading);
      checkLabels(labels, dataset.labelsPerSample, classesOf(e, output, reading), reading.output);
      const answers = addInput(model, LABELS, DataType.INT32, ['labels']);
      return crossEntropy(e, output, answers, { ...layout, ...options, ignore });
    },
    feeds(samples) {
      const data = Int32Array.from(dataset.labelsOf(Int32Array.from(samples))!);
      return { [LABELS]: hostTensor('int32', [data.length], data) };
    },
  };
}

export interface DistillationOptions extends LabelLossOptions {
  /** Divides the logits of both models; 4. */
  temperature?: number;
  /** Share of the labels' cross-entropy in the loss; 0, and only 0 without labels. */
  labels?: number;
}

/**
 * Distillation: the divergence of an output from the reference's, both softened by a temperature and times its square,
 * mixed with the cross-entropy of the labels (Hinton, Vinyals and Dean 2015, arXiv 1503.02531).
 * @param reference what the teacher answers on the samples of the data set
 * @throws SecateurError 'usage' when the output is not read as classes, or labels are wanted and there are none
 */
export function distillationLoss(
  dataset: Dataset,
  reading: OutputReading,
  reference: Reference,
  { temperature = 4, labels = 0, smoothing }: DistillationOptions = {},
): TrainingLoss {
  if (reading.reading === 'regression')
    throw new SecateurError(
      'usage',
      `Distillation by divergence needs an output of classes, but ${reading.output} is read as numbers.`,
      'Take the squared error.',
    );
  const teacher = teacherOf(reference, reading);
  const byLabels = labels > 0 ? labelLoss(dataset, reading, { smoothing }) : undefined;
  return {
    addTo(model) {
      const output = outputNamed(model.graph, reading.output);
      const answers = addInput(model, TEACHER, DataType.FLOAT, ['teacher']);
      const e = emitterFor(model, 'loss');
      const layout = classLayout(reading);
      const soft = softDistribution(e, e.reshapeLike(answers, output), temperature, layout);
      const distilled = divergence(e, output, soft, { ...layout, temperature });
      return byLabels ? blend(e, distilled, byLabels.addTo(model), labels) : distilled;
    },
    feeds: (samples) => ({
      ...teacherFeed(dataset, reference, teacher, samples),
      ...byLabels?.feeds(samples),
    }),
  };
}

/**
 * Mean squared error: against the real targets of a data set, or against what a reference answers.
 * @throws SecateurError 'usage' when there is nothing to compare with
 */
export function squaredLoss(dataset: Dataset, reading: OutputReading, reference?: Reference): TrainingLoss {
  if (!reference && !dataset.labels)
    throw new SecateurError(
      'usage',
      'The squared error needs targets, and the data have none.',
      'Give data with targets, or a model to imitate.',
    );
  const teacher = reference && teacherOf(reference, reading);
  return {
    addTo(model) {
      const output = outputNamed(model.graph, reading.output);
      const targets = addInput(model, TEACHER, DataType.FLOAT, ['targets']);
      const e = emitterFor(model, 'loss');
      return squaredError(e, output, e.reshapeLike(targets, output));
    },
    feeds(samples) {
      if (reference) return teacherFeed(dataset, reference, teacher!, samples);
      const data = Float32Array.from(dataset.labelsOf(Int32Array.from(samples))!);
      return { [TEACHER]: float32Tensor([data.length], data) };
    },
  };
}

const LABELS = 'secateur_labels';
const TEACHER = 'secateur_targets';

function addInput(model: Model, name: string, elemType: DataType, shape: Dim[]): Value {
  if (model.graph.values.has(name))
    throw new SecateurError('unsupported', `The model has a value of the name ${name}, which training needs.`);
  return model.graph.addInput(name, { kind: 'tensor', elemType, shape });
}

function classLayout({ reading, classAxis }: OutputReading) {
  return { reading: reading as Exclude<Reading, 'regression'>, classAxis };
}

/** How many classes an output tells apart, where that is known. */
function classesOf(e: Emitter, output: Value, { reading, classAxis }: OutputReading): number {
  if (reading.startsWith('binary')) return 2;
  const size = e.dimOf(output, classAxis);
  return typeof size === 'number' ? size : Infinity;
}

function checkLabels(labels: ArrayLike<number>, each: number, classes: number, output: string): void {
  for (let i = 0; i < labels.length; i++)
    if (!isClass(labels[i], classes, each)) throw outOfRange(labels[i], Math.floor(i / each), classes, output);
}

function teacherOf(reference: Reference, { output }: OutputReading): ReferenceOutput {
  const found = reference.outputs.find((o) => o.reading.output === output);
  if (!found) throw new SecateurError('usage', `The reference has no output ${output}.`);
  return found;
}

function teacherFeed(
  dataset: Dataset,
  reference: Reference,
  { values, stride }: ReferenceOutput,
  samples: ArrayLike<number>,
): Record<string, HostTensor> {
  const data = new Float32Array(samples.length * stride);
  for (let i = 0; i < samples.length; i++) {
    const at = reference.block(dataset.ids[samples[i]]) * stride;
    data.set(values.subarray(at, at + stride), i * stride);
  }
  return { [TEACHER]: float32Tensor([data.length], data) };
}
