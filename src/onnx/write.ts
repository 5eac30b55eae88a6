import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs';
import { toBinary } from '@bufbuild/protobuf';
import { SecateurError } from '../errors.ts';
import { chunks, expand, type Piece } from './expand.ts';
import type { InMemory } from './marker.ts';
import { ModelProtoSchema, type ModelProto } from './onnx_pb.ts';
import { reason } from './source.ts';

/** A protobuf message cannot be larger. */
export const MAX_MESSAGE = 2 ** 31 - 1;

/**
 * The pieces of a model file: what the message says, with markers replaced by data.
 * @throws SecateurError 'unsupported' when the file would be larger than 2 GB.
 */
export function modelPieces(proto: ModelProto, memory: readonly InMemory[]): { pieces: Piece[]; length: number } {
  const expanded = expand(toBinary(ModelProtoSchema, proto), memory);
  if (expanded.length > MAX_MESSAGE)
    throw new SecateurError(
      'unsupported',
      `The model takes ${(expanded.length / 1e9).toFixed(1)} GB, more than the 2 GB that one ONNX file can hold.`,
      'Save it with external data.',
    );
  return expanded;
}

/** All pieces in one array. */
export function gather(pieces: readonly Piece[], length: number): Uint8Array {
  const out = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks(pieces)) {
    out.set(chunk, at);
    at += chunk.length;
  }
  return out;
}

/** Writes pieces to a file, which must not exist yet unless `overwrite`. @throws SecateurError 'io' */
export function writePieces(path: string, pieces: Iterable<Piece>, overwrite = true): number {
  let fd: number;
  let written = 0;
  try {
    fd = openSync(path, overwrite ? 'w' : 'wx');
  } catch (error) {
    throw new SecateurError('io', `Cannot write ${path}: ${reason(error)}.`, '', { cause: error });
  }
  try {
    for (const chunk of chunks(pieces)) {
      for (let done = 0; done < chunk.length;) {
        const n = writeSync(fd, chunk, done, chunk.length - done);
        done += n;
      }
      written += chunk.length;
    }
    fsyncSync(fd);
  } catch (error) {
    if (error instanceof SecateurError) throw error;
    throw new SecateurError('io', `Cannot write ${path}: ${reason(error)}.`, '', { cause: error });
  } finally {
    closeSync(fd);
  }
  return written;
}
