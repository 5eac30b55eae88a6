import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  mkdtempSync,
  openSync,
  readSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { SecateurError } from '../../errors.ts';

/** A file that must never be written, and what to call it in a message. */
export interface ProtectedFile {
  path: string;
  what: string;
}

/** Turns an error of the file system into one sentence; `doing` reads like `write /a/b.onnx`. */
export function fileError(thrown: unknown, doing: string): SecateurError {
  if (thrown instanceof SecateurError) return thrown;
  const code = (thrown as NodeJS.ErrnoException)?.code;
  const [why, hint] = REASONS[code ?? ''] ?? [
    thrown instanceof Error ? thrown.message.split('\n')[0] : String(thrown),
    '',
  ];
  return new SecateurError('io', `Cannot ${doing}: ${why}.`, hint, { cause: thrown });
}

const REASONS: Record<string, [string, string]> = {
  ENOSPC: ['the disk is full', 'Nothing was written; free some space and try again.'],
  EDQUOT: ['the disk quota is used up', 'Nothing was written; free some space and try again.'],
  EROFS: ['the file system is read-only', 'Choose another folder.'],
  EACCES: ['permission denied', 'Choose a folder that you may write to.'],
  EPERM: ['permission denied', 'Choose a folder that you may write to.'],
  ENOENT: ['the folder does not exist', 'Create it or choose another.'],
  ENOTDIR: ['its folder is not a folder', 'Choose another path.'],
  EISDIR: ['it is a folder', 'Give the name of a file.'],
  ENAMETOOLONG: ['the name is too long', ''],
  EMFILE: ['too many files are open', ''],
};

/**
 * Checks that `path` may be written: its folder exists and lets us write, it is not a folder itself, and it is none of the protected
 * files, not even through a symbolic or a hard link. Returns the absolute path.
 * @throws SecateurError 'io' for what the file system refuses, 'usage' for a protected file.
 */
export function checkTarget(path: string, protectedFiles: readonly ProtectedFile[]): string {
  const target = resolve(path);
  const folder = dirname(target);
  try {
    if (!statSync(folder).isDirectory()) throw fileError({ code: 'ENOTDIR' }, `write ${target}`);
    accessSync(folder, constants.W_OK);
  } catch (thrown) {
    throw fileError(thrown, `write ${target}`);
  }
  for (const { path: other, what } of protectedFiles) {
    if (isSameFile(target, other)) {
      throw new SecateurError(
        'usage',
        `${target} is ${what}, which is never overwritten.`,
        'Choose another name for the output.',
      );
    }
  }
  if (existsSync(target) && statSync(target).isDirectory()) throw fileError({ code: 'EISDIR' }, `write ${target}`);
  return target;
}

/** True when both paths lead to one file: by name, through links, or as hard links of one inode. */
export function isSameFile(a: string, b: string): boolean {
  if (resolve(a) === resolve(b)) return true;
  try {
    if (realpathSync(a) === realpathSync(b)) return true;
    const [sa, sb] = [statSync(a, { bigint: true }), statSync(b, { bigint: true })];
    return sa.ino !== 0n && sa.ino === sb.ino && sa.dev === sb.dev;
  } catch {
    return false;
  }
}

const open = new Set<string>();
let hooked = false;

/** A folder beside the target that holds unfinished files; it goes with everything in it, also when the process ends. */
export class TemporaryFolder {
  readonly path: string;

  /** @param target the file that is to be written: the folder is made next to it, on the same file system. */
  constructor(target: string) {
    try {
      this.path = mkdtempSync(join(dirname(target), '.secateur-'));
    } catch (thrown) {
      throw fileError(thrown, `write ${target}`);
    }
    open.add(this.path);
    if (!hooked) {
      hooked = true;
      process.on('exit', () => open.forEach((path) => rmSync(path, { recursive: true, force: true })));
    }
  }

  file(name: string): string {
    return join(this.path, name);
  }

  /**
   * Moves files of this folder into place: all or none. What stood there before is kept aside until the last one is
   * in place and comes back when one fails.
   */
  publish(moves: readonly { name: string; target: string }[]): void {
    const done: { target: string; backup: string | null }[] = [];
    try {
      for (const { name, target } of moves) {
        const backup = existsSync(target) ? this.file(`${name}.old`) : null;
        if (backup && moves.length > 1) renameSync(target, backup);
        done.push({ target, backup: moves.length > 1 ? backup : null });
        renameSync(this.file(name), target);
      }
    } catch (thrown) {
      for (const { target, backup } of done.reverse()) {
        if (backup) renameSync(backup, target);
        else if (moves.length > 1) rmSync(target, { force: true });
      }
      throw fileError(thrown, `write ${moves[moves.length - 1].target}`);
    }
  }

  remove(): void {
    open.delete(this.path);
    rmSync(this.path, { recursive: true, force: true });
  }
}

/**
 * Checks that ranks, a plan or a report may be written to `path`. An existing file is replaced only when Secateur wrote
 * it: a slip of the hand cannot cost a model, a data set or anything else.
 * @throws as checkTarget
 */
export function checkJsonTarget(path: string, protectedFiles: readonly ProtectedFile[] = []): string {
  const target = checkTarget(path, protectedFiles);
  if (existsSync(target) && !isOurs(target)) {
    throw new SecateurError(
      'usage',
      `${target} exists and was not written by Secateur: it is not overwritten.`,
      'Choose another name for the output.',
    );
  }
  return target;
}

/** Writes ranks, a plan or a report so that the file is there whole or not at all. @throws as checkJsonTarget */
export function writeJsonFile(path: string, value: unknown, protectedFiles: readonly ProtectedFile[] = []): string {
  const target = checkJsonTarget(path, protectedFiles);
  const folder = new TemporaryFolder(target);
  try {
    const name = basename(target);
    writeAll(folder.file(name), Buffer.from(`${JSON.stringify(value, null, 1)}\n`), target);
    folder.publish([{ name, target }]);
    return target;
  } finally {
    folder.remove();
  }
}

function writeAll(path: string, bytes: Uint8Array, target: string): void {
  try {
    const fd = openSync(path, 'w');
    try {
      for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  } catch (thrown) {
    throw fileError(thrown, `write ${target}`);
  }
}

/** Our files start with their format. Empty files hold nothing to lose. */
function isOurs(path: string): boolean {
  const fd = openSync(path, 'r');
  try {
    const head = Buffer.alloc(64);
    const text = head.toString('utf8', 0, readSync(fd, head, 0, head.length, 0)).trimStart();
    return text === '' || /^\{\s*"format":\s*"secateur-/.test(text);
  } finally {
    closeSync(fd);
  }
}
