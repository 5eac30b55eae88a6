import { Emitter } from '../autodiff/emit.ts';
import { addGradients } from '../autodiff/gradient.ts';
import { emitterFor } from '../autodiff/losses.ts';
import { Workspace } from '../autodiff/workspace.ts';
import { SecateurError } from '../errors.ts';
import { cloneModel } from '../graph/clone.ts';
import { constantTensor, inlineFunctions, removeDeadNodes } from '../graph/edit.ts';
import type { Model, Value, ValueType } from '../graph/ir.ts';
import { DataType } from '../onnx/data-type.ts';
import { Tensor } from '../onnx/tensor.ts';
import { hostTensor, hostTypeOf, type HostTensor, type HostType } from '../runtime/host-tensor.ts';
import { freeBatch, type SampleShapes } from '../units/batch-axis.ts';
import { trainBatchNorms } from './batch-norm.ts';
import { optimiserFor, type Optimiser, type OptimiserOptions, type StepNumber } from './optimiser.ts';
import { liftConstants, parameterRule, parametersOf, sourcesOf, type ParameterRule } from './parameters.ts';
import { widenHalves } from './widen.ts';

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
   * 'train' (default) normalises by the batch and moves the running statistics, 'frozen' keeps to the stored ones:
   * better for batches of few samples.
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

/** A tensor that a step reads and gives anew: a weight, a running statistic, or what the optimiser remembers of one. */
export interface Variable {
  /** Name of the initializer; of memory, with its kind behind a slash. */
  name: string;
  kind: 'weight' | 'statistic' | 'memory';
  /** Names in the training graph. */
  input: string;
  output: string;
  type: HostType;
  dims: readonly number[];
  /** Its value before the first step. */
  initial(): HostTensor;
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
  const statistics = options.batchNorm === 'frozen' ? [] : trainBatchNorms(model);
  const loss = scalarLoss(model, options.loss);
  const chosen = choose(candidates, loss, options.parameters ?? parameterRule({}));
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
function choose(candidates: ReturnType<typeof parametersOf>, loss: Value, rule: ParameterRule): Chosen[] {
  const reached = sourcesOf(loss);
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

/** Adds the optimiser to a graph that has gradients. */
class StepBuilder {
  readonly variables: Variable[] = [];
  readonly results: Value[] = [];
  private readonly model: Model;
  private readonly optimiser: Optimiser;
  private readonly e: Emitter;
  /** Inputs of the optimiser's numbers, for each learning rate relative to the schedule's. */
  private readonly inputs = new Map<number, Map<StepNumber, Value>>();

  constructor(model: Model, options: OptimiserOptions) {
    this.model = model;
    this.optimiser = optimiserFor(options);
    this.e = new Emitter(new Workspace(model), 'update');
  }

  /** √Σg² over all gradients, in float32. */
  gradientNorm(gradients: readonly Value[]): Value {
    const { e } = this;
    const squares = gradients.map((g) => e.cast(e.sumAll(e.mul(g, g)), DataType.FLOAT));
    return e.op('Sqrt', [squares.reduce((a, b) => e.add(a, b))]);
  }

  /** What shortens gradients of this norm to `most`: as torch.nn.utils.clip_grad_norm_. */
  clipFactor(norm: Value, most: number): Value {
    const { e } = this;
    return e.op('Min', [e.div(e.scalar(most, norm), e.plus(norm, 1e-6)), e.scalar(1, norm)]);
  }

  scaled(gradient: Value, factor: Value | undefined): Value {
    return factor ? this.e.mul(gradient, this.e.cast(factor, this.e.elemTypeOf(gradient))) : gradient;
  }

  /** The update of one weight; its variables. */
  addWeight(weight: Value, gradient: Value, rate: number, decays: boolean): void {
    const { e, optimiser } = this;
    const { graph } = this.model;
    const memory = optimiser.memory.map((kind) => {
      const input = graph.addInput(`${weight.name}/${kind}`, { ...weight.type!, shape: [...weight.initializer!.dims] });
      return { kind, input };
    });
    const inputs = this.inputsFor(rate);
    const number = (name: StepNumber) => e.cast(inputs.get(name)!, e.elemTypeOf(weight));
    const [moved, ...remembered] = optimiser.update(
      { e, weight, gradient, decays, number },
      memory.map((m) => m.input),
    );
    const { name } = weight;
    memory.forEach(({ kind, input }, i) => this.addMemory(`${name}/${kind}`, weight, input, remembered[i]));
    this.addVariable(weight, name, 'weight', moved);
  }

  /** Makes an initializer an input, whose next value is an output. */
  addVariable(value: Value, name: string, kind: 'weight' | 'statistic', next: Value): void {
    const tensor = value.initializer!;
    const { graph } = this.model;
    value.initializer = null;
    value.type = { kind: 'tensor', elemType: tensor.dataType, shape: [...tensor.dims] };
    if (!value.isGraphInput) graph.inputs.push(value);
    const type = hostTypeOf(tensor.dataType)!;
    const initial = () => hostTensor(type, tensor.dims, tensor.values().slice());
    this.add({ name, kind, input: value.name, output: '', type, dims: tensor.dims, initial }, next);
  }

  private addMemory(name: string, weight: Value, input: Value, next: Value): void {
    const { dims, dataType } = weight.initializer!;
    const type = hostTypeOf(dataType)!;
    const initial = () => zeros(type, dims);
    this.add({ name, kind: 'memory', input: input.name, output: '', type, dims, initial }, next);
  }

  private add(variable: Variable, next: Value): void {
    this.variables.push({ ...variable, output: next.name });
    this.results.push(next);
  }

  private inputsFor(rate: number): ReadonlyMap<StepNumber, Value> {
    const known = this.inputs.get(rate);
    if (known) return known;
    const scalar = (): ValueType => ({ kind: 'tensor', elemType: DataType.FLOAT, shape: [] });
    const add = (name: StepNumber) => this.model.graph.addInput(`update/${name}`, scalar());
    const made = new Map(this.optimiser.numbers.map((name) => [name, add(name)]));
    this.inputs.set(rate, made);
    return made;
  }

  numbers(count: number, learningRate: number): Record<string, HostTensor> {
    const feeds: Record<string, HostTensor> = {};
    for (const [rate, inputs] of this.inputs) {
      const values = this.optimiser.numbersAt(count, learningRate * rate);
      for (const [name, input] of inputs) feeds[input.name] = hostTensor('float32', [], Float32Array.of(values[name]));
    }
    return feeds;
  }
}

function zeros(type: HostType, dims: readonly number[]): HostTensor {
  const count = dims.reduce((a, b) => a * b, 1);
  return hostTensor(type, dims, type === 'float64' ? new Float64Array(count) : new Float32Array(count));
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
