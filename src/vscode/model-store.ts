import { createHash } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type * as vscode from 'vscode';

/**
 * Remembers things about models, one JSON file for each, in the folder that VS Code gives the extension for this
 * workspace. Written at once and whole: VS Code's own memory reaches the disk only now and then, which a reload or a
 * crash of the window does not wait for. Nothing is written beside the model.
 */
export class ModelStore<T> {
  private readonly folder: string;
  private readonly log: vscode.LogOutputChannel;
  private readonly writing = new Map<string, Promise<void>>();
  private readonly latest = new Map<string, T>();

  /** @param kind name of the sub-folder */
  constructor(context: vscode.ExtensionContext, kind: string, log: vscode.LogOutputChannel) {
    this.folder = join((context.storageUri ?? context.globalStorageUri).fsPath, kind);
    this.log = log;
  }

  /** What was saved last; undefined when nothing was, or it cannot be read. */
  async load(model: string): Promise<T | undefined> {
    const unwritten = this.latest.get(model);
    if (unwritten !== undefined) return unwritten;
    try {
      return JSON.parse(await readFile(this.file(model), 'utf8')) as T;
    } catch {
      return undefined;
    }
  }

  /** Saves a value. Of several in quick succession only the last one is sure to be written. */
  async save(model: string, value: T): Promise<void> {
    this.latest.set(model, value);
    const before = this.writing.get(model) ?? Promise.resolve();
    const turn = before.then(() => this.write(model, value));
    this.writing.set(model, turn);
    await turn;
  }

  private async write(model: string, value: T): Promise<void> {
    if (this.latest.get(model) !== value) return;
    const file = this.file(model);
    try {
      await mkdir(this.folder, { recursive: true });
      await writeFile(`${file}.new`, JSON.stringify(value));
      await rename(`${file}.new`, file);
    } catch (error) {
      // Losing the convenience is no reason to disturb anyone.
      this.log.warn(`${file} could not be written: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  private file(model: string): string {
    return join(this.folder, `${createHash('sha256').update(model).digest('hex').slice(0, 24)}.json`);
  }
}
