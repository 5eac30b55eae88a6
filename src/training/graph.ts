import { addGradients } from '../autodiff/gradient.ts';
import { emitterFor } from '../autodiff/emit.ts';
import { SecateurError } from '../errors.ts';
import { cloneModel } from '../graph/clone.ts';
import { constantTensor, inlineFunctions, removeDeadNodes } from '../graph/edit.ts';
import type { Model, Node, Value } from '../graph/ir.ts';
import { Tensor } from '../onnx/tensor.ts';
import type { HostTensor } from '../runtime/host-tensor.ts';
import { freeBatch, type SampleShapes } from '../units/batch-axis.ts';
import { trainBatchNorms } from './batch-norm.ts';
import type { OptimiserOptions } from './optimiser.ts';
import { liftConstants, parameterRule, parametersOf, sourcesOf, type ParameterRule } from './parameters.ts';
import { StepBuilder, type Variable } from './step-builder.ts';
import { widenHalves } from './widen.ts';

export type { Variable } from './step-builder.ts';

/**
 * What is trained for: nodes that compute a loss from a model's outputs, and what is fed to them. The per-sample losses
 * of evaluation/gradients are such too.
 */
export interface TrainingLoss {
  /**
   * Adds inputs and nodes to a model, in place; its outputs stay what they are. Several numbers count by their mean.
   * @returns the loss, smaller is better
   */
  addTo(model: Model): Value;
  /** Feeds of the added inputs for these samples (positions in the data set), in this order. */
  feeds(samples: ArrayLike<number>): Record<string, HostTensor>;
}

export interface TrainingGraphOptions {
  loss: TrainingLoss;
  optimiser: OptimiserOptions;
  /** Which weights train, and how (default: all, alike). See `parameterRule`. */
  parameters?: ParameterRule;
  /**
   * 'train' normalises by the batch and moves the running statistics, where scale or shift of the node train; 'frozen'
   * keeps to the stored ones: better for batches of few samples, and the default for fixed batches of one.
   */
  batchNorm?: 'train' | 'frozen';
  /** Gradients whose norm over all weights is larger are shortened to it; default: as they are. */
  clipNorm?: number;
  /**
   * Inputs that hold samples on axis 0, with the shape of one sample: where the model fixes their number it is freed if
   * it can be shown that samples stay apart. Left out: the model is run as it is.
   */
  samples?: SampleShapes;
}

/** One step of training as a model: forward pass, loss, gradients and the optimiser's update. */
export interface TrainingGraph {
  model: Model;
  /** Samples in a batch, where their number is fixed and cannot be freed; null: any. */
  batch: number | null;
  /** Name of the output that holds the loss [], before the update. */
  loss: string;
  /** Name of the output that holds the norm of the gradient over all weights [], before clipping. */
  gradientNorm: string;
  variables: Variable[];
  /** Feeds of the optimiser in step number `count` (the first is 1). */
  numbers(count: number, learningRate: number): Record<string, HostTensor>;
  /** The given model with these values of weights and statistics, by name, in their original types. */
  trained(values: ReadonlyMap<string, HostTensor>): Model;
}

/**
 * Builds the graph of one training step. Weights and what the optimiser remembers are inputs and outputs, so that a
 * runtime can keep them where it computes. The model is not changed. Half precision is trained in float32 and rounded
 * when the weights are written back; weights kept as whole numbers (quantised) do not train.
 * @throws SecateurError 'unsupported' where an operator has no gradient, or nothing can be trained
 */
export function trainingGraph(source: Model, options: TrainingGraphOptions): TrainingGraph {
  const origin = withoutFunctions(source);
  const { model, batch } = workingCopy(origin, options.samples ?? new Map<string, number[]>());
  const candidates = parametersOf(model.graph);
  const loss = scalarLoss(model, options.loss);
  const reached = sourcesOf(loss);
  const chosen = choose(candidates, reached, options.parameters ?? parameterRule({}));
  const mode = options.batchNorm ?? (batch === 1 ? 'frozen' : 'train');
  const statistics = mode === 'frozen' ? [] : trainBatchNorms(model, isTrained(chosen, reached));
  const { gradients } = addGradients(
    model,
    loss,
    chosen.map((c) => c.value),
  );
  const builder = new StepBuilder(model, options.optimiser);
  const norm = builder.gradientNorm([...gradients.values()]);
  const factor = options.clipNorm === undefined ? undefined : builder.clipFactor(norm, options.clipNorm);
  for (const { value, rate, decays } of chosen)
    builder.addWeight(value, builder.scaled(gradients.get(value)!, factor), rate, decays);
  for (const { value, next } of statistics) builder.addVariable(value, value.name, 'statistic', next);
  model.graph.outputs.splice(0, model.graph.outputs.length, loss, norm, ...builder.results);
  removeDeadNodes(model);
  return {
    model,
    batch,
    loss: loss.name,
    gradientNorm: norm.name,
    variables: builder.variables,
    numbers: (count, learningRate) => builder.numbers(count, learningRate),
    trained: (values) => withValues(origin, values),
  };
}

/** Weights have names only where calls of local functions are inlined. */
function withoutFunctions(source: Model): Model {
  if (source.functions.length === 0) return source;
  const { model } = cloneModel(source);
  inlineFunctions(model);
  return model;
}

/** A copy to add to, in float32, with the batch freed where that is asked for and shown to be right. */
function workingCopy(origin: Model, samples: SampleShapes): { model: Model; batch: number | null } {
  const fixed = origin.graph.inputs.flatMap((v) => {
    const first = samples.has(v.name) ? v.type?.shape?.[0] : undefined;
    return typeof first === 'number' ? [first] : [];
  });
  const freed = fixed.length > 0 ? freeBatch(origin, samples) : undefined;
  const model = freed?.proof.carried ? freed.model : cloneModel(origin).model;
  liftConstants(model.graph);
  widenHalves(model);
  return { model, batch: fixed.length === 0 || freed?.proof.carried ? null : fixed[0] };
}

function scalarLoss(model: Model, loss: TrainingLoss): Value {
  const value = loss.addTo(model);
  const e = emitterFor(model, 'loss');
  return e.shapeOf(value)?.length === 0 ? value : e.meanAll(value);
}

interface Chosen {
  value: Value;
  rate: number;
  decays: boolean;
}

/** The weights that train: those that the loss depends on and that the rule admits. */
function choose(
  candidates: ReturnType<typeof parametersOf>,
  reached: ReadonlySet<Value>,
  rule: ParameterRule,
): Chosen[] {
  const chosen = candidates.flatMap(({ value, parameter }): Chosen[] => {
    const answer = reached.has(value) && rule(parameter);
    if (!answer) return [];
    const { rate = 1, decays = true } = answer === true ? {} : answer;
    return [{ value, rate, decays }];
  });
  if (chosen.length === 0)
    throw new SecateurError(
      'unsupported',
      'There is nothing to train: no floating-point weight that the loss depends on is left.',
      'Quantised models and models whose weights are all frozen cannot be trained.',
    );
  return chosen;
}

/** Whether the loss depends on a batch norm of which the scale or the shift trains: others are left as they are. */
function isTrained(chosen: readonly Chosen[], reached: ReadonlySet<Value>): (batchNorm: Node) => boolean {
  const trained = new Set(chosen.map((c) => c.value));
  return ({ inputs, outputs }) => reached.has(outputs[0]!) && [inputs[1], inputs[2]].some((v) => v && trained.has(v));
}

/** A copy of a model with other numbers in some initializers and Constant nodes, of the types and dims that they have. */
function withValues(origin: Model, values: ReadonlyMap<string, HostTensor>): Model {
  const { model } = cloneModel(origin);
  for (const [name, { data }] of values) {
    const value = model.graph.values.get(name)!;
    const { dataType, dims } = constantTensor(value)!;
    const tensor = Tensor.fromNumbers(name, dataType, dims, data as Float32Array);
    if (value.initializer) value.initializer = tensor;
    else {
      value.producer!.attributes.clear();
      value.producer!.attributes.set('value', { kind: 'tensor', value: tensor });
    }
  }
  return model;
}
