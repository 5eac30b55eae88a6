import { Emitter } from '../autodiff/emit.ts';
import { Workspace } from '../autodiff/workspace.ts';
import type { Model, Value, ValueType } from '../graph/ir.ts';
import { DataType } from '../onnx/data-type.ts';
import { hostTensor, hostTypeOf, type HostTensor, type HostType } from '../runtime/host-tensor.ts';
import { optimiserFor, type Optimiser, type OptimiserOptions, type StepNumber } from './optimiser.ts';

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

/** Adds the optimiser to a graph that has gradients. */
export class StepBuilder {
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
