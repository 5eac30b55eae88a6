import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import ort from 'onnxruntime-node';
import { parseModel } from '../../src/graph/load.ts';
import type { Model } from '../../src/graph/ir.ts';
import { DataType } from '../../src/onnx/data-type.ts';
import {
  ModelProtoSchema,
  TensorProto_DataLocation,
  type GraphProto,
  type TensorProto,
} from '../../src/onnx/onnx_pb.ts';
import { halfBits, seeded } from './invariant.ts';

const FOLDER = new URL('../fixtures/zoo/', import.meta.url);

/** An input of a zoo model; integers are drawn from `low` to `high`, both included. */
export interface ZooInput {
  name: string;
  dtype: 'float32' | 'float16' | 'int64' | 'int32' | 'bool';
  shape: number[];
  low?: number;
  high?: number;
}

/** One export of the zoo, as scripts/zoo/generate.py describes it in manifest.json. */
export interface ZooEntry {
  /** `resnet18.dynamo18`: model, exporter and opset. */
  name: string;
  model: string;
  /** torchvision, timm, transformers, or zoo. */
  source: string;
  exporter: 'dynamo' | 'torchscript';
  opset: number;
  nodes: number;
  parameters: number;
  bytes: number;
  inputs: ZooInput[];
}

/** All exports, in the order of the generator. */
export function zooModels(): ZooEntry[] {
  const text = readFileSync(new URL('manifest.json', FOLDER), 'utf8');
  return (JSON.parse(text) as { models: ZooEntry[] }).models;
}

/** Bytes of a zoo model, its weights filled with seeded numbers of the mean and deviation that they were made with. */
export function zooBytes(name: string): Uint8Array {
  return filledBytes(new URL(`${name}.onnx.gz`, FOLDER));
}

/** Bytes of any model whose weights scripts/zoo/strip.py took out, filled. */
export function filledBytes(file: URL): Uint8Array {
  const proto = fromBinary(ModelProtoSchema, gunzipSync(readFileSync(file)));
  if (proto.graph) fillGraph(proto.graph);
  return toBinary(ModelProtoSchema, proto);
}

/** A zoo model by the name of its export. */
export function loadZoo(name: string): Model {
  return parseModel(zooBytes(name));
}

function fillGraph(graph: GraphProto): void {
  for (const tensor of graph.initializer) fillTensor(tensor);
  for (const node of graph.node)
    for (const a of node.attribute) for (const inner of a.g ? [a.g] : a.graphs) fillGraph(inner);
}

/** Fills a tensor whose weights scripts/zoo/strip.py took out: evenly spread around the mean, within the old range. */
function fillTensor(tensor: TensorProto): void {
  const marker = new Map(tensor.externalData.map((e) => [e.key, e.value]));
  if (marker.get('location') !== 'random') return;
  const [seed, mean, std, min, max] = ['seed', 'mean', 'std', 'min', 'max'].map((key) => Number(marker.get(key)));
  const random = seeded(seed);
  const value = () => Math.min(max, Math.max(min, mean + (2 * random() - 1) * Math.sqrt(3) * std));
  const count = tensor.dims.reduce((n, d) => n * Number(d), 1);
  const values = filled(tensor.dataType, count, value);
  tensor.externalData = [];
  tensor.dataLocation = TensorProto_DataLocation.DEFAULT;
  tensor.rawData = new Uint8Array(values.buffer);
}

function filled(type: DataType, count: number, value: () => number): Float32Array | Float64Array | Uint16Array {
  if (type === DataType.FLOAT) return Float32Array.from({ length: count }, value);
  if (type === DataType.DOUBLE) return Float64Array.from({ length: count }, value);
  if (type === DataType.FLOAT16) return Uint16Array.from({ length: count }, () => halfBits(value()));
  throw new Error(`Weights of element type ${type} cannot be filled.`);
}

/** Seeded inputs of a zoo model: normal numbers, integers of the range that the model takes. */
export function zooFeeds(entry: ZooEntry, seed = 1): Record<string, ort.Tensor> {
  const random = seeded(seed);
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  return Object.fromEntries(
    entry.inputs.map(({ name, dtype, shape, low = 0, high = 1 }) => {
      const length = shape.reduce((a, b) => a * b, 1);
      const integer = () => low + Math.floor(random() * (high + 1 - low));
      switch (dtype) {
        case 'int64':
          return [
            name,
            new ort.Tensor(
              dtype,
              BigInt64Array.from({ length }, () => BigInt(integer())),
              shape,
            ),
          ];
        case 'int32':
          return [name, new ort.Tensor(dtype, Int32Array.from({ length }, integer), shape)];
        case 'bool':
          return [name, new ort.Tensor(dtype, Uint8Array.from({ length }, integer), shape)];
        case 'float16':
          return [
            name,
            new ort.Tensor(
              dtype,
              Uint16Array.from({ length }, () => halfBits(normal())),
              shape,
            ),
          ];
        default:
          return [name, new ort.Tensor(dtype, Float32Array.from({ length }, normal), shape)];
      }
    }),
  );
}
