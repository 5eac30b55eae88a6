import { create, toBinary } from '@bufbuild/protobuf';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { DataType } from '../../src/onnx/data-type.ts';
import type { TensorProtoSchema } from '../../src/onnx/onnx_pb.ts';
import {
  AttributeProto_AttributeType as Kind,
  ModelProtoSchema,
  TensorProto_DataLocation,
} from '../../src/onnx/onnx_pb.ts';
import { numbers } from './build.ts';

type TensorInit = MessageInitShape<typeof TensorProtoSchema>;

/** A field that no version of the format has, as a later writer might add it. */
const unknown = (no: number, text: string) => {
  const bytes = new TextEncoder().encode(text);
  return [{ no, wireType: 2, data: Uint8Array.from([bytes.length, ...bytes]) }];
};

/** Random bytes of a seed. */
export function randomBytes(length: number, seed = 3): Uint8Array {
  const next = numbers(seed);
  return Uint8Array.from({ length }, () => Math.floor((next() + 1) * 128) & 255);
}

/** One initializer of every element type that has raw data, alternately short and long enough to be left in the file. */
function rawTensors(): TensorInit[] {
  return Object.entries(DataType)
    .filter(([name]) => name !== 'UNDEFINED' && name !== 'STRING')
    .map(([name, dataType], i): TensorInit => {
      const bits = {
        COMPLEX128: 128,
        COMPLEX64: 64,
        DOUBLE: 64,
        INT64: 64,
        UINT64: 64,
        FLOAT: 32,
        INT32: 32,
        UINT32: 32,
      }[name];
      const small = /^U?INT([24])$/.exec(name)?.[1] ?? (/^FLOAT([46])E/.exec(name)?.[1] as string | undefined);
      const width = bits ?? (small ? Number(small) : /16/.test(name) ? 16 : 8);
      const count = i % 2 === 0 ? 2048 : 8;
      return { name: `raw_${name}`, dataType, dims: [BigInt(count)], rawData: randomBytes((count * width) / 8, i) };
    });
}

/** Tensors in the typed lists, long and short. */
function listTensors(n: number): TensorInit[] {
  const next = numbers(n);
  const ints = Array.from({ length: n }, () => Math.floor(next() * 1000));
  const dims = [BigInt(n)];
  return [
    { name: `floats${n}`, dataType: DataType.FLOAT, dims, floatData: ints.map((x) => x / 8) },
    { name: `doubles${n}`, dataType: DataType.DOUBLE, dims, doubleData: ints.map((x) => x / 7) },
    { name: `ints${n}`, dataType: DataType.INT32, dims, int32Data: ints },
    { name: `bytes${n}`, dataType: DataType.INT8, dims, int32Data: ints.map((x) => x % 128) },
    { name: `halves${n}`, dataType: DataType.FLOAT16, dims, int32Data: ints.map((x) => Math.abs(x)) },
    { name: `longs${n}`, dataType: DataType.INT64, dims, int64Data: ints.map((x) => BigInt(x) * 10n ** 12n) },
    {
      name: `ulongs${n}`,
      dataType: DataType.UINT64,
      dims,
      uint64Data: ints.map((x) => BigInt(Math.abs(x)) * 10n ** 15n),
    },
    { name: `uints${n}`, dataType: DataType.UINT32, dims, uint64Data: ints.map((x) => BigInt(Math.abs(x))) },
    {
      name: `words${n}`,
      dataType: DataType.STRING,
      dims,
      stringData: ints.map((x) => new TextEncoder().encode(`wörd ${x}`)),
    },
  ];
}

const longTensor = (name: string, seed: number): TensorInit => ({
  name,
  dataType: DataType.FLOAT,
  dims: [512n],
  rawData: randomBytes(2048, seed),
  docString: `doc of ${name}`,
  metadataProps: [{ key: 'k', value: name }],
});

/** A model with everything that the format can say, unknown fields at every level included. Not meant to be run. */
export function everything(): Uint8Array {
  const tensorType = (elemType: number, ...dims: (bigint | string)[]) => ({
    value: {
      case: 'tensorType' as const,
      value: {
        elemType,
        shape: {
          dim: dims.map((d) => ({
            value:
              typeof d === 'string' ? { case: 'dimParam' as const, value: d } : { case: 'dimValue' as const, value: d },
            denotation: 'DATA_CHANNEL',
          })),
        },
      },
    },
    denotation: 'IMAGE',
  });
  const branch = (name: string, seed: number) => ({
    name,
    node: [{ opType: 'Add', input: ['x', `w_${name}`], output: [`y_${name}`], name: `add_${name}` }],
    initializer: [longTensor(`w_${name}`, seed)],
    output: [{ name: `y_${name}`, type: tensorType(1, 'N', 512n) }],
  });
  const model = create(ModelProtoSchema, {
    irVersion: 10n,
    producerName: 'maker',
    producerVersion: '1.2',
    domain: 'org.example',
    modelVersion: 7n,
    docString: 'a model',
    opsetImport: [
      { domain: '', version: 21n },
      { domain: 'com.example', version: 3n },
    ],
    metadataProps: [
      { key: 'author', value: 'nobody' },
      { key: 'empty', value: '' },
    ],
    configuration: [{ name: 'two', numDevices: 2, device: ['a', 'b'] }],
    trainingInfo: [
      {
        algorithm: { name: 'training', initializer: [longTensor('optimizer_state', 21)] },
        initializationBinding: [{ key: 'a', value: 'b' }],
      },
    ],
    functions: [
      {
        name: 'Twice',
        domain: 'com.example',
        overload: 'v2',
        input: ['a'],
        output: ['b'],
        attribute: ['alpha'],
        attributeProto: [{ name: 'table', type: Kind.TENSOR, t: longTensor('', 22) }],
        opsetImport: [{ domain: '', version: 21n }],
        node: [
          {
            opType: 'Constant',
            output: ['c'],
            attribute: [{ name: 'value', type: Kind.TENSOR, t: longTensor('', 23) }],
          },
          {
            opType: 'Elu',
            input: ['a'],
            output: ['d'],
            attribute: [{ name: 'alpha', refAttrName: 'alpha', type: Kind.FLOAT }],
          },
          { opType: 'Add', input: ['d', 'c'], output: ['b'] },
        ],
        valueInfo: [{ name: 'd', type: tensorType(1, 'N', 512n) }],
        metadataProps: [{ key: 'f', value: 'g' }],
      },
    ],
    graph: {
      name: 'main',
      docString: 'a graph',
      metadataProps: [{ key: 'g', value: 'h' }],
      input: [
        {
          name: 'x',
          type: tensorType(1, 'N', 512n),
          docString: 'the input',
          metadataProps: [{ key: 'i', value: 'j' }],
        },
        { name: 'cond', type: tensorType(9) },
        { name: 'list', type: { value: { case: 'sequenceType', value: { elemType: tensorType(1, 2n) } } } },
        {
          name: 'dictionary',
          type: { value: { case: 'mapType', value: { keyType: 7, valueType: tensorType(1) } } },
        },
        {
          name: 'perhaps',
          type: { value: { case: 'optionalType', value: { elemType: tensorType(11, 3n) } } },
        },
        { name: 'thing', type: { value: { case: 'opaqueType', value: { domain: 'd', name: 'n' } } } },
        { name: 'sparse', type: { value: { case: 'sparseTensorType', value: { elemType: 1 } } } },
      ],
      output: [
        { name: 'y', type: tensorType(1, 'N', 512n) },
        { name: 'z', type: {} },
      ],
      valueInfo: [
        { name: 't', type: tensorType(1, 'N', 512n), docString: 'in between' },
        { name: 'nowhere', type: tensorType(1, 5n) },
      ],
      quantizationAnnotation: [
        { tensorName: 't', quantParameterTensorNames: [{ key: 'SCALE_TENSOR', value: 's' }] },
        { tensorName: 'nowhere' },
      ],
      sparseInitializer: [
        {
          values: longTensor('sparse_weights', 31),
          indices: { dims: [512n], dataType: 7, rawData: randomBytes(4096, 5) },
          dims: [4096n],
        },
      ],
      initializer: [...rawTensors(), ...listTensors(3), ...listTensors(700), longTensor('w', 32)],
      node: [
        {
          opType: 'Add',
          input: ['x', 'w'],
          output: ['t'],
          name: 'first',
          docString: 'adds',
          metadataProps: [{ key: 'm', value: 'n' }],
          deviceConfigurations: [
            { configurationId: 'two', pipelineStage: 1, shardingSpec: [{ tensorName: 'w', device: [0n, 1n] }] },
          ],
        },
        {
          opType: 'If',
          input: ['cond'],
          output: ['u'],
          attribute: [
            { name: 'then_branch', type: Kind.GRAPH, g: branch('then', 41) },
            { name: 'else_branch', type: Kind.GRAPH, g: branch('else', 42), docString: 'the other way' },
          ],
        },
        {
          opType: 'Odd',
          domain: 'com.example',
          input: ['u', '', 'sparse_weights'],
          output: ['z', '', 'unused'],
          attribute: [
            { name: 'f', type: Kind.FLOAT, f: 0.1 },
            { name: 'zero', type: Kind.FLOAT, f: 0 },
            { name: 'i', type: Kind.INT, i: -(2n ** 63n) },
            { name: 's', type: Kind.STRING, s: Uint8Array.from([0, 255, 128]) },
            { name: 'fs', type: Kind.FLOATS, floats: [1.5, -2] },
            { name: 'none', type: Kind.INTS },
            { name: 'is', type: Kind.INTS, ints: [1n, 2n ** 62n] },
            { name: 'ss', type: Kind.STRINGS, strings: [new Uint8Array(0), Uint8Array.of(7)] },
            { name: 'ts', type: Kind.TENSORS, tensors: [longTensor('one', 51), longTensor('two', 52)] },
            { name: 'gs', type: Kind.GRAPHS, graphs: [branch('third', 53)] },
            { name: 'st', type: Kind.SPARSE_TENSOR, sparseTensor: { values: longTensor('values', 54), dims: [9000n] } },
            { name: 'sts', type: Kind.SPARSE_TENSORS, sparseTensors: [{ dims: [1n] }] },
            { name: 'tp', type: Kind.TYPE_PROTO, tp: tensorType(16, 'K') },
            { name: 'tps', type: Kind.TYPE_PROTOS, typeProtos: [tensorType(1)] },
            { name: 'untyped', i: 5n },
          ],
        },
        {
          opType: 'Twice',
          domain: 'com.example',
          overload: 'v2',
          input: ['t'],
          output: ['y'],
          attribute: [{ name: 'alpha', type: Kind.FLOAT, f: 2 }],
        },
      ],
    },
  });
  addUnknownFields(model);
  return toBinary(ModelProtoSchema, model);
}

/** One unknown field in every message, however deep. */
function addUnknownFields(message: object): void {
  let number = 500;
  const visit = (value: unknown): void => {
    if (Array.isArray(value)) value.forEach(visit);
    if (typeof value !== 'object' || value === null || value instanceof Uint8Array || Array.isArray(value)) return;
    Object.values(value).forEach(visit);
    if ('$typeName' in value) Object.assign(value, { $unknown: unknown(number++, String(value.$typeName)) });
  };
  visit(message);
}

/** A tensor whose data lies in another file. */
export function externalTensor(name: string, count: number, entries: Record<string, string>): TensorInit {
  return {
    name,
    dataType: DataType.FLOAT,
    dims: [BigInt(count)],
    dataLocation: TensorProto_DataLocation.EXTERNAL,
    externalData: Object.entries(entries).map(([key, value]) => ({ key, value })),
  };
}

/** A model x + w whose weight lies in another file. */
export function externalModel(count: number, entries: Record<string, string>): Uint8Array {
  return toBinary(
    ModelProtoSchema,
    create(ModelProtoSchema, {
      irVersion: 8n,
      opsetImport: [{ domain: '', version: 17n }],
      graph: {
        name: 'g',
        node: [{ opType: 'Add', input: ['x', 'w'], output: ['y'] }],
        input: [{ name: 'x', type: { value: { case: 'tensorType', value: { elemType: 1, shape: {} } } } }],
        output: [{ name: 'y' }],
        initializer: [externalTensor('w', count, entries)],
      },
    }),
  );
}
