import { create } from '@bufbuild/protobuf';
import type { Dim, ValueType } from './ir.ts';
import {
  TensorShapeProtoSchema,
  TensorShapeProto_DimensionSchema,
  TypeProto_SparseTensorSchema,
  TypeProto_TensorSchema,
  TypeProtoSchema,
  type TensorShapeProto,
  type TypeProto,
} from '../onnx/onnx_pb.ts';

/** What the IR knows of a type proto; undefined when the file says nothing. */
export function typeFromProto(proto: TypeProto | undefined): ValueType | undefined {
  const value = proto?.value;
  switch (value?.case) {
    case 'tensorType':
      return { kind: 'tensor', elemType: value.value.elemType, shape: shapeFromProto(value.value.shape) };
    case 'sparseTensorType':
      return { kind: 'sparse', elemType: value.value.elemType, shape: shapeFromProto(value.value.shape) };
    case 'sequenceType':
      return { kind: 'sequence', elemType: elementOf(value.value.elemType) };
    case 'optionalType':
      return { kind: 'optional', elemType: elementOf(value.value.elemType) };
    case 'mapType':
      return { kind: 'map', elemType: elementOf(value.value.valueType) };
    case 'opaqueType':
      return { kind: 'unknown', elemType: 0 };
    default:
      return undefined;
  }
}

function elementOf(proto: TypeProto | undefined): number {
  return typeFromProto(proto)?.elemType ?? 0;
}

function shapeFromProto(proto: TensorShapeProto | undefined): Dim[] | undefined {
  return proto?.dim.map((d): Dim => {
    if (d.value.case === 'dimValue') return d.value.value < 0n ? null : Number(d.value.value);
    if (d.value.case === 'dimParam') return d.value.value === '' ? null : d.value.value;
    return null;
  });
}

/**
 * The type proto of a value: `base`, where it still says the same, else with element type and dims as the IR has them.
 * Symbols in `base` stay where the IR has another symbol or nothing, unless `strict` (graph inputs).
 */
export function typeToProto(
  type: ValueType | undefined,
  base: TypeProto | undefined,
  strict = false,
): TypeProto | undefined {
  const known = typeFromProto(base);
  if (!type) return known ? undefined : base;
  if (base && known && sameType(type, known, strict)) return base;
  if (type.kind !== 'tensor' && type.kind !== 'sparse') return base;
  const proto = create(TypeProtoSchema);
  if (base && Object.hasOwn(base, 'denotation')) proto.denotation = base.denotation;
  if (base?.$unknown) proto.$unknown = base.$unknown;
  const old =
    base?.value.case === 'tensorType' || base?.value.case === 'sparseTensorType' ? base.value.value : undefined;
  const inner = create(type.kind === 'tensor' ? TypeProto_TensorSchema : TypeProto_SparseTensorSchema, {
    elemType: type.elemType,
  });
  if (type.shape) inner.shape = shapeToProto(type.shape, old?.shape, strict);
  if (old?.$unknown) inner.$unknown = old.$unknown;
  proto.value = {
    case: type.kind === 'tensor' ? 'tensorType' : 'sparseTensorType',
    value: inner,
  } as TypeProto['value'];
  return proto;
}

function shapeToProto(shape: readonly Dim[], base: TensorShapeProto | undefined, strict: boolean): TensorShapeProto {
  const dim = shape.map((d, i) => {
    const old = base?.dim.length === shape.length ? base.dim[i] : undefined;
    const out = create(TensorShapeProto_DimensionSchema);
    if (old && Object.hasOwn(old, 'denotation')) out.denotation = old.denotation;
    if (old?.value.case === 'dimParam' && typeof d !== 'number' && !(strict && typeof d === 'string'))
      out.value = old.value;
    else if (typeof d === 'number') out.value = { case: 'dimValue', value: BigInt(d) };
    else if (typeof d === 'string') out.value = { case: 'dimParam', value: d };
    return out;
  });
  return create(TensorShapeProtoSchema, { dim });
}

function sameType(a: ValueType, b: ValueType, strict: boolean): boolean {
  if (a.kind !== b.kind || a.elemType !== b.elemType) return false;
  if (!a.shape || !b.shape) return a.shape === b.shape;
  return a.shape.length === b.shape.length && a.shape.every((d, i) => sameDim(d, b.shape![i], strict));
}

function sameDim(a: Dim, b: Dim, strict: boolean): boolean {
  return a === b || (!strict && typeof b === 'string' && typeof a !== 'number');
}
