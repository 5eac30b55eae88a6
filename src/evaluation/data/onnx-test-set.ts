import { readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fromBinary } from '@bufbuild/protobuf';
import { SecateurError } from '../../errors.ts';
import type { Model } from '../../graph/ir.ts';
import { dataTypeName } from '../../onnx/data-type.ts';
import { TensorProtoSchema } from '../../onnx/onnx_pb.ts';
import { tensorFromProto } from '../../onnx/tensor-proto.ts';
import type { Tensor } from '../../onnx/tensor.ts';
import { allocate, elementCount, hostTypeOf, viewBytes } from '../../runtime/host-tensor.ts';
import type { NamedArray } from './npy.ts';
import { type RawData, shapeText } from './raw.ts';

const MAX_FILE = 2 ** 31 - 1;

/** The `test_data_set_N` folders that a path stands for: itself, or those in it, in order of N. Empty: it is none. */
export function testSetFolders(path: string): string[] {
  const names = readdirSync(path);
  if (names.some((name) => /^input_\d+\.pb$/.test(name))) return [path];
  return names
    .filter((name) => /^test_data_set_\d+$/.test(name) && statSync(join(path, name)).isDirectory())
    .sort((a, b) => Number(a.slice(14)) - Number(b.slice(14)))
    .map((name) => join(path, name));
}

/**
 * Reads the inputs of ONNX conformance test data (`input_0.pb`, … in the order of the graph's inputs). Where every set
 * is a batch along axis 0 the rows of all sets are the samples; else each set is one run of the model and one sample.
 * @throws SecateurError 'bad-data' naming the file
 */
export function readTestSets(path: string, folders: readonly string[], model: Model): RawData {
  const inputs = model.graph.inputs.filter((v) => !v.initializer);
  const sets = folders.map((folder) => inputs.map((input, k) => readTensor(folder, k, input.name)));
  const batched =
    inputs.every(
      (v) =>
        v.type?.shape === undefined ||
        (v.type.shape.length > 0 && (v.type.shape[0] === 1 || typeof v.type.shape[0] !== 'number')),
    ) && sets.every((set) => set.every((array) => array.dims.length > 0 && array.dims[0] === set[0].dims[0]));
  const arrays = inputs.map((_, k) =>
    joinArrays(
      sets.map((set) => set[k]),
      batched,
      path,
    ),
  );
  return { path, arrays, labels: null, wholeRuns: !batched, warnings: [] };
}

function readTensor(folder: string, k: number, name: string): NamedArray {
  const file = join(folder, `input_${k}.pb`);
  let tensor: Tensor;
  try {
    if (statSync(file).size > MAX_FILE) throw new Error('it is larger than 2 GB');
    tensor = tensorFromProto(fromBinary(TensorProtoSchema, readFileSync(file)), undefined);
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT')
      throw new SecateurError('bad-data', `${folder} has no input_${k}.pb for the model's input ${name}.`);
    throw new SecateurError('bad-data', `${file} is not a readable tensor.`, '', { cause: thrown });
  }
  const type = hostTypeOf(tensor.dataType);
  if (!type)
    throw new SecateurError(
      'unsupported',
      `${file} holds ${dataTypeName(tensor.dataType)} values, which Secateur cannot feed.`,
    );
  try {
    return { name, dims: [...tensor.dims], type, data: viewBytes(type, tensor.bytes()) };
  } catch (thrown) {
    throw new SecateurError('bad-data', `${file} is damaged: its data do not fit its shape.`, '', { cause: thrown });
  }
}

/** Joins the arrays of all sets along axis 0 (`batched`) or along a new first axis. */
function joinArrays(arrays: NamedArray[], batched: boolean, path: string): NamedArray {
  const [first] = arrays;
  const rest = (a: NamedArray): number[] => (batched ? a.dims.slice(1) : a.dims);
  for (const a of arrays)
    if (a.type !== first.type || String(rest(a)) !== String(rest(first)))
      throw new SecateurError(
        'bad-data',
        `The sets in ${basename(path)} differ in the shape of ${first.name}: ${shapeText(first.dims)} and ${shapeText(a.dims)}.`,
        'Choose one of the test_data_set folders.',
      );
  const samples = batched ? arrays.reduce((sum, a) => sum + a.dims[0], 0) : arrays.length;
  const dims = [samples, ...rest(first)];
  const data = allocate(first.type as 'float32', elementCount(dims));
  let at = 0;
  for (const a of arrays) {
    (data as Float32Array).set(a.data as Float32Array, at);
    at += a.data.length;
  }
  return { name: first.name, dims, type: first.type, data };
}
