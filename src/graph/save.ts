import { rmSync, statSync } from 'node:fs';
import { basename, dirname, relative, resolve, sep } from 'node:path';
import { SecateurError } from '../errors.ts';
import { INLINE_LIMIT } from '../onnx/skim.ts';
import type { Piece } from '../onnx/expand.ts';
import type { Tensor } from '../onnx/tensor.ts';
import type { TensorSink } from '../onnx/tensor-proto.ts';
import { gather, MAX_MESSAGE, modelPieces, writePieces } from '../onnx/write.ts';
import type { Graph, Model } from './ir.ts';
import { modelToProto } from './to-proto.ts';

/**
 * A model file in memory, all weights inline (external data is read and put in).
 * @throws SecateurError 'unsupported' over 2 GB; 'bad-model' when external data is missing.
 */
export function serializeModel(model: Model): Uint8Array {
  const sink: TensorSink = { memory: [] };
  const { pieces, length } = modelPieces(modelToProto(model, sink), sink.memory);
  return gather(pieces, length);
}

/**
 * A model file whose weights stay where they are: tensors whose bytes lie in files below `folder` become external data
 * that points at these byte ranges (of other model files, too), all others are inline. The result is to be loaded from
 * `folder`. Small however large the model is.
 */
export function serializeReferencing(model: Model, folder: string): Uint8Array {
  const sink: TensorSink = {
    memory: [],
    external(tensor) {
      const place = tensor.byteLength > INLINE_LIMIT ? tensor.location : undefined;
      const location = place && relative(resolve(folder), place.path);
      if (!place || !location || location.startsWith('..')) return undefined;
      return { location: location.split(sep).join('/'), offset: place.offset, length: place.length };
    },
  };
  const { pieces, length } = modelPieces(modelToProto(model, sink), sink.memory);
  return gather(pieces, length);
}

export interface SaveOptions {
  /**
   * Weights into NAME.onnx.data beside the file. Default: as the model was read (external stays external), and where
   * one file cannot hold them (over 2 GB).
   */
  external?: boolean;
}

/**
 * Writes a model, streaming weights from where they lie. Writes in place: for a safe export write to a temporary name
 * in the target folder and rename. What was written is removed again when writing fails.
 * @returns Bytes of all files, and their paths, the model first.
 * @throws SecateurError 'io' (permission, disk full), 'unsupported' over 2 GB with `external: false`, 'bad-model' when
 * external data of the source is missing.
 */
export function saveModel(model: Model, path: string, options: SaveOptions = {}): { bytes: number; files: string[] } {
  const tensors = allTensors(model);
  const weightBytes = tensors.reduce((sum, t) => sum + t.byteLength, 0);
  const external = options.external ?? (tensors.some((t) => t.isExternal) || weightBytes > MAX_MESSAGE - (64 << 20));
  refuseOverwritingSources(tensors, external ? [path, `${path}.data`] : [path]);
  const files: string[] = [];
  try {
    const data = new DataFile(`${basename(path)}.data`);
    const sink: TensorSink = external ? { memory: [], external: (t) => data.place(t) } : { memory: [] };
    const { pieces } = modelPieces(modelToProto(model, sink), sink.memory);
    files.push(path);
    let bytes = writePieces(path, pieces);
    if (data.pieces.length > 0) {
      const dataPath = `${path}.data`;
      files.push(dataPath);
      bytes += writePieces(dataPath, data.pieces);
    }
    return { bytes, files };
  } catch (error) {
    for (const file of files) rmSync(file, { force: true });
    throw error;
  }
}

/** Layout of one external data file. Large tensors start at page boundaries, so that they can be mapped into memory. */
class DataFile {
  readonly pieces: Piece[] = [];
  private readonly location: string;
  private size = 0;
  private readonly placed = new Map<unknown, { location: string; offset: number; length: number }>();

  constructor(location: string) {
    this.location = location;
  }
  place(tensor: Tensor): { location: string; offset: number; length: number } | undefined {
    const length = tensor.byteLength;
    if (length <= INLINE_LIMIT) return undefined;
    const known = this.placed.get(tensor.storage);
    if (known) return known;
    const alignment = length >= 1 << 20 ? 4096 : 64;
    const padding = (alignment - (this.size % alignment)) % alignment;
    if (padding > 0) this.pieces.push(new Uint8Array(padding));
    const place = { location: this.location, offset: this.size + padding, length };
    this.pieces.push(tensor.range ?? tensor.stream);
    this.size = place.offset + length;
    this.placed.set(tensor.storage, place);
    return place;
  }
}

/** Every tensor of the IR: initializers and attributes, in all graphs and functions. */
export function allTensors(model: Model): Tensor[] {
  const found: Tensor[] = [];
  const visit = (graph: Graph) => {
    for (const v of graph.initializers) found.push(v.initializer!);
    for (const node of graph.nodes)
      for (const a of node.attributes.values()) {
        if (a.kind === 'tensor') found.push(a.value);
        else if (a.kind === 'tensors') found.push(...a.value);
        else if (a.kind === 'graph') visit(a.value);
        else if (a.kind === 'graphs') a.value.forEach(visit);
      }
  };
  visit(model.graph);
  for (const f of model.functions) visit(f.body);
  return found;
}

/** Weights are streamed from the original: writing over it would destroy them half way. */
function refuseOverwritingSources(tensors: readonly Tensor[], targets: readonly string[]): void {
  const sources = new Set<string>();
  for (const { whole: t } of tensors) {
    if (t.storage.kind === 'file') for (const r of t.storage.ranges) sources.add(fileKey(r.file.path));
    const range = t.isExternal ? t.range : undefined;
    if (range) sources.add(fileKey(range.file.path));
  }
  for (const target of targets)
    if (sources.has(fileKey(target)))
      throw new SecateurError(
        'io',
        `${target} is the model's own file, which is never overwritten.`,
        'Choose another name.',
      );
}

/** The same for all names of one file. */
function fileKey(path: string): string {
  try {
    const { dev, ino } = statSync(path, { bigint: true });
    return `${dev}:${ino}`;
  } catch {
    return resolve(dirname(path), basename(path));
  }
}
