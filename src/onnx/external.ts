import { realpathSync } from 'node:fs';
import { dirname, isAbsolute, relative, resolve, sep } from 'node:path';
import { SecateurError } from '../errors.ts';
import { identify } from './source.ts';
import type { FileIdentity, FileRange } from './source.ts';

/** Where a tensor's bytes lie, as the model file says it. Nothing is checked until the bytes are wanted. */
export interface ExternalRef {
  /** Folder of the model file; undefined for a model read from memory. */
  folder: string | undefined;
  /** Path relative to the folder. */
  location: string;
  offset: number;
  /** Undefined: to the end of the file. */
  length: number | undefined;
}

/**
 * The byte range that an external reference means.
 * @throws SecateurError 'bad-model' when the path leaves the model's folder (also through a symbolic link), when the
 * file is missing, or when the range lies outside of it. The message names tensor and file.
 */
export function resolveExternal(ref: ExternalRef, tensor: string): FileRange {
  const what = `The data of tensor "${tensor}" `;
  if (ref.folder === undefined)
    throw new SecateurError(
      'bad-model',
      `${what}is in the file "${ref.location}", but the model was not read from a folder.`,
    );
  if (
    ref.location === '' ||
    ref.location.includes('\0') ||
    isAbsolute(ref.location) ||
    /^[A-Za-z]:|^\\\\/.test(ref.location)
  )
    throw new SecateurError(
      'bad-model',
      `${what}is at "${ref.location}", which is not a path inside the model's folder.`,
    );
  const path = resolve(ref.folder, ref.location);
  if (!isInside(resolve(ref.folder), path)) throw outside(what, ref.location);
  let real: string;
  let realFolder: string;
  try {
    realFolder = realpathSync(ref.folder);
    real = realpathSync(path);
  } catch (error) {
    throw new SecateurError(
      'bad-model',
      `${what}should be in the file "${ref.location}", which is missing.`,
      'Put that file into the folder of the model.',
      { cause: error },
    );
  }
  if (!isInside(realFolder, real)) throw outside(what, ref.location);
  const file = fileAt(real, what, ref.location);
  const length = ref.length ?? file.size - ref.offset;
  if (ref.offset < 0 || length < 0 || !Number.isSafeInteger(ref.offset + length) || ref.offset + length > file.size)
    throw new SecateurError(
      'bad-model',
      `${what}should be bytes ${ref.offset} to ${ref.offset + length} of "${ref.location}", which has only ${file.size}.`,
      'The file is not the one that belongs to the model, or is incomplete.',
    );
  return { file, offset: ref.offset, length };
}

function fileAt(path: string, what: string, location: string): FileIdentity {
  try {
    return identify(path);
  } catch (error) {
    throw new SecateurError('bad-model', `${what}is at "${location}", which is not a file.`, '', { cause: error });
  }
}

/** Folder that external data of a model file must lie in. */
export function externalFolder(modelPath: string): string {
  return dirname(resolve(modelPath));
}

function isInside(folder: string, path: string): boolean {
  const rel = relative(folder, path);
  return rel !== '' && rel !== '..' && !rel.startsWith(`..${sep}`) && !isAbsolute(rel);
}

function outside(what: string, location: string): SecateurError {
  return new SecateurError(
    'bad-model',
    `${what}is at "${location}", outside of the model's folder.`,
    'Such files are not read, for safety: put the data beside the model.',
  );
}
