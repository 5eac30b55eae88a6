import { access } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import * as vscode from 'vscode';
import { SecateurError } from '../errors.ts';
import type { Features, Plan, Ranks } from '../formats.ts';
import type { DataChoice } from '../protocol.ts';
import { labelOf } from './data-choices.ts';
import type { EngineService } from './engine-service.ts';

export const EDITOR = 'secateur.model';

/** What a page asks of the editor around it: dialogs, files, clipboard. */
export class HostActions {
  private readonly engine: EngineService;
  private readonly log: vscode.LogOutputChannel;

  constructor(engine: EngineService, log: vscode.LogOutputChannel) {
    this.engine = engine;
    this.log = log;
  }

  async pickData(model: vscode.Uri, kind: 'file' | 'folder'): Promise<DataChoice | null> {
    const home = vscode.Uri.joinPath(model, '..');
    const [picked] =
      (await vscode.window.showOpenDialog({
        title: kind === 'file' ? 'Data to try the model on' : 'Folder of images to try the model on',
        openLabel: 'Use as Data',
        defaultUri: home,
        canSelectFiles: kind === 'file',
        canSelectFolders: kind === 'folder',
        ...(kind === 'file' ? { filters: { Data: ['npz', 'npy', 'csv', 'txt', 'jsonl'] } } : {}),
      })) ?? [];
    return picked ? { path: picked.fsPath, label: labelOf(picked.fsPath, home.fsPath) } : null;
  }

  /** Where to write a pruned model. Asks again when the answer is the model itself. */
  async pickExport(model: vscode.Uri, suggestion: string): Promise<string | null> {
    const home = dirname(model.fsPath);
    const name = basename(suggestion || model.fsPath.replace(/\.onnx$/i, '.pruned.onnx'));
    let proposal = await freeName(home, name === basename(model.fsPath) ? `pruned-${name}` : name);
    for (;;) {
      const picked = await vscode.window.showSaveDialog({
        title: 'Export the pruned model',
        saveLabel: 'Prune & Export',
        defaultUri: vscode.Uri.file(proposal),
        filters: { 'ONNX model': ['onnx'] },
      });
      if (!picked) return null;
      const path = /\.onnx$/i.test(picked.fsPath) ? picked.fsPath : `${picked.fsPath}.onnx`;
      if (path !== model.fsPath) return path;
      const again = 'Choose Another Name';
      const text = 'The original model is never overwritten.';
      if ((await vscode.window.showWarningMessage(text, { modal: true }, again)) !== again) return null;
      proposal = join(home, name);
    }
  }

  /** Writes beside the model under a name that is not taken. */
  async saveRanks(model: vscode.Uri, ranks: Ranks): Promise<{ path: string }> {
    const name = `${basename(model.fsPath).replace(/\.onnx$/i, '')}.${ranks.method}.ranks.json`;
    const path = await freeName(dirname(model.fsPath), name);
    await write(path, ranks);
    this.log.info(`ranks saved as ${path}`);
    return { path };
  }

  /** As the ranks. */
  async saveFeatures(model: vscode.Uri, features: Features): Promise<{ path: string }> {
    const name = `${basename(model.fsPath).replace(/\.onnx$/i, '')}.features.json`;
    const path = await freeName(dirname(model.fsPath), name);
    await write(path, features);
    this.log.info(`importance of features saved as ${path}`);
    return { path };
  }

  async savePlan(model: vscode.Uri, plan: Plan): Promise<{ path: string } | null> {
    const proposal = await freeName(
      dirname(model.fsPath),
      `${basename(model.fsPath).replace(/\.onnx$/i, '')}.plan.json`,
    );
    const picked = await vscode.window.showSaveDialog({
      title: 'Save the plan',
      defaultUri: vscode.Uri.file(proposal),
      filters: { Plan: ['json'] },
    });
    if (!picked) return null;
    await write(picked.fsPath, plan);
    return { path: picked.fsPath };
  }

  async openBeside(path: string): Promise<null> {
    const uri = vscode.Uri.file(path);
    if (/\.onnx$/i.test(path))
      await vscode.commands.executeCommand('vscode.openWith', uri, EDITOR, vscode.ViewColumn.Beside);
    else await vscode.commands.executeCommand('vscode.open', uri, vscode.ViewColumn.Beside);
    return null;
  }

  async reveal(path: string): Promise<null> {
    const uri = vscode.Uri.file(path);
    // Without a desktop (remote, web) there is no file manager to show it in.
    const inTree = vscode.workspace.getWorkspaceFolder(uri) !== undefined;
    await vscode.commands.executeCommand(inTree ? 'revealInExplorer' : 'revealFileInOS', uri);
    return null;
  }

  async copy(text: string): Promise<null> {
    await vscode.env.clipboard.writeText(text);
    return null;
  }

  async showLog(): Promise<null> {
    this.log.show();
    return null;
  }

  async restartEngine(): Promise<null> {
    await this.engine.restart();
    return null;
  }
}

async function write(path: string, content: unknown): Promise<void> {
  try {
    await vscode.workspace.fs.writeFile(
      vscode.Uri.file(path),
      new TextEncoder().encode(`${JSON.stringify(content)}\n`),
    );
  } catch (error) {
    throw new SecateurError('io', `${path} could not be written.`, 'Is the folder writable?', { cause: error });
  }
}

/** `name` in `folder`, with -2, -3, … before its extensions when it is taken. */
async function freeName(folder: string, name: string): Promise<string> {
  const [, stem, extensions] = /^(.*?)((?:\.(?:ranks|plan|pruned|features))?\.[^.]+)$/.exec(name) ?? ['', name, ''];
  for (let attempt = 1; ; attempt++) {
    const path = join(folder, attempt === 1 ? name : `${stem}-${attempt}${extensions}`);
    try {
      await access(path);
    } catch {
      return path;
    }
  }
}
