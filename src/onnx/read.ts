import { closeSync } from 'node:fs';
import { fromBinary } from '@bufbuild/protobuf';
import { SecateurError } from '../errors.ts';
import { ModelProtoSchema, type ModelProto } from './onnx_pb.ts';
import { skim } from './skim.ts';
import { FileSource, openForReading } from './source.ts';
import { MAX_DEPTH } from './wire.ts';

/**
 * Reads a model file without its weights: these stay in the file and are represented by markers (tensor-proto.ts).
 * @throws SecateurError 'io' when the file cannot be opened, 'bad-model' with one clear sentence when it is no model.
 */
export function readModelFile(path: string): ModelProto {
  const { fd, identity } = openForReading(path);
  try {
    const source = new FileSource(fd, identity.size);
    const head = new Uint8Array(source.view(0, Math.min(identity.size, 512)));
    return decode(head, path, () => skim(source, identity));
  } finally {
    closeSync(fd);
  }
}

/** Reads a model from memory; tensors are views into `bytes`. @throws SecateurError 'bad-model' */
export function readModelBytes(bytes: Uint8Array, name = 'The model'): ModelProto {
  return decode(bytes.subarray(0, 512), name, () => bytes);
}

function decode(head: Uint8Array, name: string, skeleton: () => Uint8Array): ModelProto {
  const other = notOnnx(head);
  if (other) throw new SecateurError('bad-model', `${name} ${other.what}.`, other.hint);
  let proto: ModelProto;
  try {
    proto = fromBinary(ModelProtoSchema, skeleton(), { recursionLimit: MAX_DEPTH });
  } catch (error) {
    if (error instanceof SecateurError && error.code !== 'bad-model') throw error;
    const why =
      error instanceof SecateurError
        ? error.message.replace(/^The file is not a readable ONNX model: /, '')
        : 'it does not decode.';
    throw new SecateurError(
      'bad-model',
      `${name} is not a readable ONNX model: ${why}`,
      'Export or download it again.',
      { cause: error },
    );
  }
  if (!proto.graph) throw new SecateurError('bad-model', `${name} is not a readable ONNX model: it holds no graph.`);
  return proto;
}

/** Recognises what is often found under the name of a model and is none. */
function notOnnx(head: Uint8Array): { what: string; hint: string } | null {
  if (head.length === 0) return { what: 'is empty', hint: 'Export or download it again.' };
  const text = new TextDecoder('latin1').decode(head);
  if (text.startsWith('version https://git-lfs'))
    return { what: 'is a Git LFS pointer, not the model itself', hint: 'Run "git lfs pull" to fetch it.' };
  if (/^\s*(<!doctype|<html|<\?xml)/i.test(text))
    return { what: 'is a web page, not an ONNX model', hint: 'Download the file itself.' };
  if (text.startsWith('PK\x03\x04'))
    return {
      what: 'is a ZIP archive (as PyTorch writes), not an ONNX model',
      hint: 'Unpack it, or export the model to ONNX.',
    };
  if (text.startsWith('\x1f\x8b')) return { what: 'is a gzip archive, not an ONNX model', hint: 'Unpack it first.' };
  if (text.startsWith('\x89HDF'))
    return { what: 'is an HDF5 file (as Keras writes), not an ONNX model', hint: 'Convert it to ONNX.' };
  if (text.slice(4, 8) === 'ORTM')
    return { what: 'is in the ORT format, not ONNX', hint: 'Use the .onnx file that it was made from.' };
  if (text.slice(4, 8) === 'TFL3') return { what: 'is a TensorFlow Lite model, not ONNX', hint: 'Convert it to ONNX.' };
  if (/^[\t\n\r\x20-\x7e]+$/.test(text))
    return { what: 'is a text file, not an ONNX model', hint: 'Download the file itself.' };
  return null;
}
