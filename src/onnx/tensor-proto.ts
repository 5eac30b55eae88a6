import { create } from '@bufbuild/protobuf';
import type { UnknownField } from '@bufbuild/protobuf';
import { DataType } from './data-type.ts';
import { fileMarker, MARKER_FIELD, memoryMarker, readMarker, type InMemory } from './marker.ts';
import {
  StringStringEntryProtoSchema,
  TensorProto_DataLocation,
  TensorProtoSchema,
  type TensorProto,
} from './onnx_pb.ts';
import { INLINE_LIMIT } from './skim.ts';
import { readRanges, type FileRange } from './source.ts';
import { Tensor, type Storage } from './tensor.ts';
import { readVarint, TensorField, varint, Wire } from './wire.ts';
import { concat } from './marker.ts';
import { resolveExternal } from './external.ts';

/** Tensor from its message; `folder` is where external data lies. Reads no weights. */
export function tensorFromProto(proto: TensorProto, folder: string | undefined): Tensor {
  const dims = proto.dims.map((d) => Number(d));
  return new Tensor(proto.name, proto.dataType, dims, storageOf(proto, folder), proto);
}

function storageOf(proto: TensorProto, folder: string | undefined): Storage {
  if (proto.dataLocation === TensorProto_DataLocation.EXTERNAL) {
    const entries = new Map(proto.externalData.map((e) => [e.key, e.value]));
    const length = entries.get('length');
    const ref = {
      folder,
      location: entries.get('location') ?? '',
      offset: toOffset(entries.get('offset') ?? '0'),
      length: length === undefined ? undefined : toOffset(length),
    };
    return { kind: 'external', ref };
  }
  const deferred = markersOf(proto);
  if (deferred.length > 0) {
    // Of raw_data the last one counts, packed lists go on; a tensor has only one kind of data.
    const field = deferred[deferred.length - 1].field;
    const same = deferred.filter((d) => d.field === field).map((d) => d.data as FileRange);
    return { kind: 'file', field, ranges: field === TensorField.RAW ? same.slice(-1) : same };
  }
  if (proto.dataType === DataType.STRING) return { kind: 'strings', values: proto.stringData };
  const lists =
    proto.floatData.length +
    proto.int32Data.length +
    proto.int64Data.length +
    proto.doubleData.length +
    proto.uint64Data.length;
  if (lists > 0 && proto.rawData.length === 0) return { kind: 'lists', proto };
  return { kind: 'bytes', bytes: proto.rawData };
}

/** NaN for what is no number: the range check then fails with a message. */
function toOffset(text: string): number {
  return /^\d+$/.test(text.trim()) ? Number(text) : NaN;
}

function markersOf(proto: TensorProto) {
  return (proto.$unknown ?? []).filter(isMarkerField).flatMap((u) => readMarker(payload(u)) ?? []);
}

function isMarkerField(field: UnknownField): boolean {
  return field.no === MARKER_FIELD && field.wireType === Wire.LEN;
}

/** The library keeps a length-delimited unknown field with its length in front. */
function payload(field: UnknownField): Uint8Array {
  const length = readVarint(field.data, 0);
  return length ? field.data.subarray(length.next) : field.data;
}

/** How tensors are written. */
export interface TensorSink {
  /** Table of data in memory that is put in when the file is written (see expand.ts). */
  memory: InMemory[];
  /** Where a tensor's bytes go in an external file; undefined: into the model file. */
  external?(tensor: Tensor): { location: string; offset: number; length: number } | undefined;
}

/** The message of a tensor: what it was read from with name, dims and data as they are now. Long data as markers. */
export function tensorToProto(tensor: Tensor, sink: TensorSink): TensorProto {
  const base = tensor.proto;
  const proto = create(TensorProtoSchema);
  if (base) {
    for (const key of ['docString', 'segment', 'dataType', 'name'] as const)
      if (Object.hasOwn(base, key)) Object.assign(proto, { [key]: base[key] });
    proto.metadataProps = base.metadataProps;
    if (Object.hasOwn(base, 'dataLocation') && base.dataLocation === TensorProto_DataLocation.DEFAULT) {
      proto.dataLocation = base.dataLocation;
      proto.externalData = base.externalData;
    }
    const kept = (base.$unknown ?? []).filter((u) => !(isMarkerField(u) && readMarker(payload(u))));
    if (kept.length > 0) proto.$unknown = kept;
  }
  if (proto.name !== tensor.name) proto.name = tensor.name;
  if (proto.dataType !== tensor.dataType || !base) proto.dataType = tensor.dataType;
  proto.dims =
    base && base.dims.length === tensor.dims.length && base.dims.every((d, i) => Number(d) === tensor.dims[i])
      ? base.dims
      : tensor.dims.map((d) => BigInt(d));
  const place = tensor.storage.kind === 'strings' ? undefined : sink.external?.(tensor);
  if (place) setExternal(proto, place, base);
  else setInline(proto, tensor, sink);
  return proto;
}

function setExternal(
  proto: TensorProto,
  place: { location: string; offset: number; length: number },
  base?: TensorProto,
): void {
  const entries: [string, string][] = [
    ['location', place.location],
    ['offset', String(place.offset)],
    ['length', String(place.length)],
  ];
  proto.dataLocation = TensorProto_DataLocation.EXTERNAL;
  proto.externalData = entries.map(([key, value]) => create(StringStringEntryProtoSchema, { key, value }));
  // Keys beyond the place itself; a checksum would be of the old bytes' file.
  const known = new Set(['location', 'offset', 'length', 'checksum']);
  proto.externalData.push(...(base?.externalData ?? []).filter((e) => !known.has(e.key)));
}

function setInline(proto: TensorProto, tensor: Tensor, sink: TensorSink): void {
  const s = tensor.storage;
  switch (s.kind) {
    case 'strings':
      proto.stringData = s.values;
      return;
    case 'lists':
      for (const key of ['floatData', 'int32Data', 'int64Data', 'doubleData', 'uint64Data'] as const)
        Object.assign(proto, { [key]: s.proto[key] });
      return;
    case 'external':
      addMarker(proto, fileMarker(TensorField.RAW, resolveExternal(s.ref, tensor.name)));
      return;
    case 'file':
      if (s.ranges.length === 1) addMarker(proto, fileMarker(s.field, s.ranges[0]));
      else addMarker(proto, memoryMarker(s.field, sink.memory.push(readRanges(s.ranges)) - 1));
      return;
    case 'cut':
      addMarker(proto, memoryMarker(TensorField.RAW, sink.memory.push(tensor.stream) - 1));
      return;
    case 'bytes':
      if (s.bytes.length > INLINE_LIMIT) addMarker(proto, memoryMarker(TensorField.RAW, sink.memory.push(s.bytes) - 1));
      else if (s.bytes.length > 0 || (tensor.proto && Object.hasOwn(tensor.proto, 'rawData')) || !tensor.proto)
        proto.rawData = s.bytes;
  }
}

function addMarker(proto: TensorProto, marker: Uint8Array): void {
  (proto.$unknown ??= []).push({ no: MARKER_FIELD, wireType: Wire.LEN, data: concat([varint(marker.length), marker]) });
}
