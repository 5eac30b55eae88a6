import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { SecateurError } from '../../errors.ts';

/** Identifies the present contents of a file or folder. @throws SecateurError 'bad-model' when it is not there */
export function fileKey(path: string): string {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
  if (!stat) throw new SecateurError('bad-model', `There is no file ${path}.`);
  return `${resolve(path)}|${stat.mtimeNs}|${stat.size}|${stat.ino}`;
}
