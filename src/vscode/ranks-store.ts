import { createHash } from 'node:crypto';
import * as vscode from 'vscode';
import type { MethodName, Ranks } from '../formats.ts';

export type RanksByMethod = Partial<Record<MethodName, Ranks>>;

interface Stored {
  last: MethodName | null;
  byMethod: RanksByMethod;
}

/**
 * Keeps the last ranks of each model and method in the storage that VS Code gives the extension for this workspace, so
 * that they survive a reload. Nothing is written beside the model unless the user asks for it.
 */
export class RanksStore {
  private readonly folder: vscode.Uri;
  private readonly log: vscode.LogOutputChannel;

  constructor(context: vscode.ExtensionContext, log: vscode.LogOutputChannel) {
    this.folder = vscode.Uri.joinPath(context.storageUri ?? context.globalStorageUri, 'ranks');
    this.log = log;
  }

  async load(model: string): Promise<Stored> {
    try {
      const bytes = await vscode.workspace.fs.readFile(this.file(model));
      const stored = JSON.parse(new TextDecoder().decode(bytes)) as Stored;
      return { last: stored.last, byMethod: stored.byMethod };
    } catch {
      return { last: null, byMethod: {} };
    }
  }

  async save(model: string, last: MethodName, byMethod: RanksByMethod): Promise<void> {
    try {
      await vscode.workspace.fs.createDirectory(this.folder);
      const text = JSON.stringify({ last, byMethod } satisfies Stored);
      await vscode.workspace.fs.writeFile(this.file(model), new TextEncoder().encode(text));
    } catch (error) {
      // Losing the convenience is no reason to disturb anyone.
      this.log.warn(`ranks could not be kept: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  private file(model: string): vscode.Uri {
    const name = createHash('sha256').update(model).digest('hex').slice(0, 24);
    return vscode.Uri.joinPath(this.folder, `${name}.json`);
  }
}
