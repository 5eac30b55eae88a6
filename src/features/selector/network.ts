import { addVectorJacobianProducts } from '../../autodiff/gradient.ts';
import { emitterFor, type Emitter } from '../../autodiff/emit.ts';
import { setOutputs } from '../../graph/outputs.ts';
import type { DeviceName } from '../../formats.ts';
import { cloneModel } from '../../graph/clone.ts';
import { removeDeadNodes } from '../../graph/edit.ts';
import { Graph, type Model, type Value } from '../../graph/ir.ts';
import { standardNormal } from '../../math/normal.ts';
import type { Rng } from '../../math/random.ts';
import { DataType } from '../../onnx/data-type.ts';
import { float32Tensor, type HostTensor, toFloat32 } from '../../runtime/host-tensor.ts';
import { createSession, type Session } from '../../runtime/session.ts';

const OPSET = 17;
const EPSILON = 1e-5;
/** Of the last layer's weights against those of the others, so that all samples start with nearly the same numbers. */
const LAST_SCALE = 0.1;

/** A parameter of the network, and where it lies among all. */
interface Parameter {
  name: string;
  dims: number[];
  from: number;
  length: number;
}

/**
 * A small network from samples to one number per feature: inputs → hidden → hidden → features, each hidden layer followed
 * by batch normalisation over the rows of the run and ReLU. Forward and backward are ONNX graphs; all parameters are one
 * vector.
 */
export class SelectorNetwork {
  /** All parameters, one after the other. */
  readonly parameters: Float64Array;
  private readonly inputs: number;
  private readonly features: number;
  private readonly layout: Parameter[];
  private readonly forwardSession: Session;
  private readonly backwardSession: Session;

  private constructor(
    sizes: { inputs: number; features: number },
    layout: Parameter[],
    parameters: Float64Array,
    sessions: [Session, Session],
  ) {
    ({ inputs: this.inputs, features: this.features } = sizes);
    this.layout = layout;
    this.parameters = parameters;
    [this.forwardSession, this.backwardSession] = sessions;
  }

  /** @param start the number that every feature begins with, nearly */
  static async open(
    sizes: { inputs: number; hidden: number; features: number },
    start: number,
    rng: Rng,
    device: DeviceName,
  ): Promise<SelectorNetwork> {
    const layout = parametersOf(sizes);
    const { forward, backward } = graphsOf(sizes, layout);
    const sessions = await Promise.all([createSession(forward, { device }), createSession(backward, { device })]);
    const last = layout[layout.length - 1];
    const parameters = new Float64Array(last.from + last.length);
    for (const { name, dims, from, length } of layout) {
      const scale = Math.sqrt(2 / dims[0]) * (name === 'weight3' ? LAST_SCALE : 1);
      for (let i = from; i < from + length; i++)
        if (dims.length === 2) parameters[i] = scale * standardNormal(rng);
        else parameters[i] = name.startsWith('scale') ? 1 : name === 'bias3' ? start : 0;
    }
    return new SelectorNetwork(sizes, layout, parameters, sessions);
  }

  /** The numbers of every row: [rows, features], row-major. */
  async forward(x: Float32Array): Promise<Float32Array> {
    const results = await this.forwardSession.run(this.feeds(x), ['numbers']);
    return toFloat32(results.numbers);
  }

  /** The gradient with respect to all parameters of Σ ⟨seed, numbers⟩. */
  async backward(x: Float32Array, seed: Float32Array): Promise<Float64Array> {
    const rows = x.length / this.inputs;
    const names = this.layout.map((p) => `d_${p.name}`);
    const results = await this.backwardSession.run(
      { ...this.feeds(x), seed: float32Tensor([rows, this.features], seed) },
      names,
    );
    const gradient = new Float64Array(this.parameters.length);
    this.layout.forEach(({ from }, i) => gradient.set(toFloat32(results[names[i]]), from));
    return gradient;
  }

  async close(): Promise<void> {
    await this.forwardSession.release();
    await this.backwardSession.release();
  }

  private feeds(x: Float32Array): Record<string, HostTensor> {
    const feeds: Record<string, HostTensor> = { x: float32Tensor([x.length / this.inputs, this.inputs], x) };
    for (const { name, dims, from, length } of this.layout)
      feeds[name] = float32Tensor(dims, Float32Array.from(this.parameters.subarray(from, from + length)));
    return feeds;
  }
}

function parametersOf({ inputs, hidden, features }: { inputs: number; hidden: number; features: number }): Parameter[] {
  const shapes: [string, number[]][] = [
    ['weight1', [inputs, hidden]],
    ['scale1', [hidden]],
    ['shift1', [hidden]],
    ['weight2', [hidden, hidden]],
    ['scale2', [hidden]],
    ['shift2', [hidden]],
    ['weight3', [hidden, features]],
    ['bias3', [features]],
  ];
  let from = 0;
  return shapes.map(([name, dims]) => {
    const length = dims.reduce((p, d) => p * d, 1);
    from += length;
    return { name, dims, from: from - length, length };
  });
}

function graphsOf(
  { inputs, features }: { inputs: number; features: number },
  layout: readonly Parameter[],
): { forward: Model; backward: Model } {
  const graph = new Graph('selector');
  const forward: Model = {
    irVersion: 8,
    opsets: new Map([['', OPSET]]),
    producer: 'secateur',
    metadata: new Map(),
    graph,
    functions: [],
  };
  const input = (name: string, shape: (number | string)[]): Value =>
    graph.addInput(name, { kind: 'tensor', elemType: DataType.FLOAT, shape });
  const x = input('x', ['rows', inputs]);
  const weights = new Map(layout.map((p) => [p.name, input(p.name, p.dims)]));
  const e = emitterFor(forward, 'selector');
  const layer = (v: Value, i: number): Value => {
    const sum = e.op('MatMul', [v, weights.get(`weight${i}`)!]);
    return e.op('Relu', [normalised(e, sum, weights.get(`scale${i}`)!, weights.get(`shift${i}`)!)]);
  };
  const numbers = e.add(e.op('MatMul', [layer(layer(x, 1), 2), weights.get('weight3')!]), weights.get('bias3')!);
  setOutputs(graph, [graph.addNode('Identity', [numbers], ['numbers']).outputs[0]!]);

  const clone = cloneModel(forward);
  const backward = clone.model;
  const seed = backward.graph.addInput('seed', {
    kind: 'tensor',
    elemType: DataType.FLOAT,
    shape: ['rows', features],
  });
  const wrt = layout.map((p) => clone.value(weights.get(p.name)!));
  const { gradients } = addVectorJacobianProducts(backward, new Map([[clone.value(numbers), seed]]), wrt);
  setOutputs(
    backward.graph,
    layout.map(
      ({ name }, i) => backward.graph.addNode('Identity', [gradients.get(wrt[i])!], [`d_${name}`]).outputs[0]!,
    ),
  );
  removeDeadNodes(backward);
  return { forward, backward };
}

/** Batch normalisation with the mean and variance of the rows. */
function normalised(e: Emitter, v: Value, scale: Value, shift: Value): Value {
  const centred = e.sub(v, e.reduceMean(v, [0]));
  const variance = e.reduceMean(e.mul(centred, centred), [0]);
  const deviation = e.op('Sqrt', [e.plus(variance, EPSILON)]);
  return e.add(e.mul(e.div(centred, deviation), scale), shift);
}
