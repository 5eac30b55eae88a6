/** The protobuf wire format, as far as the skimmer and the writer walk it themselves. */

/** Wire types of the low three bits of a tag. */
export const Wire = { VARINT: 0, I64: 1, LEN: 2, GROUP: 3, END_GROUP: 4, I32: 5 } as const;

/** Kinds of message in which tensor data can lie. */
export type MessageKind = 'model' | 'training' | 'graph' | 'node' | 'attribute' | 'sparse' | 'function' | 'tensor';

/** Which fields of a message hold messages to walk into. Field numbers as in onnx.proto. */
export const CHILDREN: Record<MessageKind, Readonly<Record<number, MessageKind>>> = {
  model: { 7: 'graph', 20: 'training', 25: 'function' },
  training: { 1: 'graph', 2: 'graph' },
  graph: { 1: 'node', 5: 'tensor', 15: 'sparse' },
  node: { 5: 'attribute' },
  attribute: { 5: 'tensor', 6: 'graph', 10: 'tensor', 11: 'graph', 22: 'sparse', 23: 'sparse' },
  sparse: { 1: 'tensor', 2: 'tensor' },
  function: { 7: 'node', 11: 'attribute' },
  tensor: {},
};

/** Fields of TensorProto that hold elements back to back: packed lists and raw_data. */
export const TensorField = { FLOAT: 4, INT32: 5, INT64: 7, RAW: 9, DOUBLE: 10, UINT64: 11 } as const;
const DATA_FIELDS: ReadonlySet<number> = new Set(Object.values(TensorField));

export function isTensorData(field: number): boolean {
  return DATA_FIELDS.has(field);
}

/** Deepest nesting of messages that is read: 30 nested loops take about 100. */
export const MAX_DEPTH = 400;

/** Bytes of a varint. */
export function varint(value: number): Uint8Array {
  const out: number[] = [];
  let v = value;
  while (v >= 0x80) {
    out.push((v % 0x80) | 0x80);
    v = Math.floor(v / 0x80);
  }
  out.push(v);
  return Uint8Array.from(out);
}

/** Reads a varint of at most `end - offset` bytes; values beyond 2^53 come back as Infinity. */
export function readVarint(
  bytes: Uint8Array,
  offset: number,
  end = bytes.length,
): { value: number; next: number } | null {
  let value = 0;
  let scale = 1;
  for (let i = offset; i < end && i < offset + 10; i++) {
    const byte = bytes[i];
    value += (byte & 0x7f) * scale;
    if (byte < 0x80) return { value: value > Number.MAX_SAFE_INTEGER ? Infinity : value, next: i + 1 };
    scale *= 0x80;
  }
  return null;
}
