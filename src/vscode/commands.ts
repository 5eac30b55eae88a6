import * as vscode from 'vscode';
import { asSecateurError } from '../errors.ts';
import type { DataChoice } from '../protocol.ts';
import { compareModels } from './compare.ts';
import { labelOf, proposeData } from './data-choices.ts';
import type { EngineService } from './engine-service.ts';
import type { HostActions } from './host-actions.ts';
import type { Memory } from './memory.ts';
import type { ModelEditorProvider } from './model-editor.ts';
import { dataSpec } from './settings.ts';

export interface CommandServices {
  editors: ModelEditorProvider;
  engine: EngineService;
  actions: HostActions;
  memory: Memory;
  log: vscode.LogOutputChannel;
}

/** Registers the commands of the palette and of the menus. From the explorer they get the file that was clicked. */
export function registerCommands(services: CommandServices): vscode.Disposable {
  const { editors, engine, actions, log } = services;
  const withModel = (work: (model: vscode.Uri) => Promise<unknown>) => async (clicked?: unknown) => {
    const model = clicked instanceof vscode.Uri ? clicked : (editors.activeModel ?? (await pickModel('Model')));
    if (model) await work(model);
  };
  const commands: Record<string, (argument?: unknown) => Promise<unknown>> = {
    'secateur.open': async (clicked) => {
      const model = clicked instanceof vscode.Uri ? clicked : await pickModel('Open a model with Secateur');
      if (model) await editors.open(model);
    },
    'secateur.rank': withModel((model) => editors.open(model, { type: 'show', view: 'ranks' })),
    'secateur.features': withModel((model) => editors.open(model, { type: 'show', view: 'features' })),
    'secateur.prune': withModel((model) => editors.open(model, { type: 'show', view: 'prune' })),
    'secateur.chooseData': withModel((model) => chooseData(services, model)),
    'secateur.compare': withModel(async (model) => {
      const other = await pickModel('Compare with', model);
      if (other) await compareModels(services, model, other);
    }),
    'secateur.restartEngine': () => engine.restart(),
    'secateur.showLog': () => actions.showLog(),
  };
  return vscode.Disposable.from(
    ...Object.entries(commands).map(([name, run]) =>
      vscode.commands.registerCommand(name, async (argument?: unknown) => {
        try {
          await run(argument);
        } catch (thrown) {
          const error = asSecateurError(thrown);
          if (error.code === 'cancelled') return;
          log.error(`${name}: ${error.toLine()}`);
          const showLog = 'Show Log';
          if ((await vscode.window.showErrorMessage(`Secateur: ${error.toLine()}`, showLog)) === showLog) log.show();
        }
      }),
    ),
  );
}

/** A model of the workspace, or one from a file dialog; undefined when dismissed. */
async function pickModel(title: string, except?: vscode.Uri): Promise<vscode.Uri | undefined> {
  const found = await vscode.workspace.findFiles('**/*.onnx', '**/node_modules/**', 200);
  const items = found
    .filter((uri) => uri.toString() !== except?.toString())
    .map((uri) => ({ label: vscode.workspace.asRelativePath(uri), uri: uri as vscode.Uri | null }))
    .sort((a, b) => a.label.localeCompare(b.label));
  const browse = { label: '$(folder-opened) Browse…', uri: null };
  const picked = items.length === 0 ? browse : await vscode.window.showQuickPick([...items, browse], { title });
  if (!picked) return undefined;
  if (picked.uri) return picked.uri;
  const [file] = (await vscode.window.showOpenDialog({ title, filters: { 'ONNX model': ['onnx'] } })) ?? [];
  return file;
}

/** Lets the user choose data for a model; the view, if there is one, takes it over at once. */
async function chooseData({ editors, actions }: CommandServices, model: vscode.Uri): Promise<void> {
  type Item = vscode.QuickPickItem & { choose: () => Promise<DataChoice | null> };
  const home = vscode.Uri.joinPath(model, '..').fsPath;
  const synthetic: DataChoice = { path: null, label: 'synthetic inputs' };
  const items: Item[] = (await proposeData(model.fsPath)).map((choice) => ({
    label: choice.label,
    choose: async () => choice,
  }));
  items.push(
    {
      label: '$(file) Choose a File…',
      detail: '.npz, .npy, .csv, .txt or .jsonl',
      choose: () => actions.pickData(model, 'file'),
    },
    { label: '$(folder) Choose a Folder of Images…', choose: () => actions.pickData(model, 'folder') },
    { label: '$(warning) Synthetic Inputs', detail: 'No labels: compares outputs only', choose: async () => synthetic },
  );
  const picked = await vscode.window.showQuickPick(items, { title: `Data for ${labelOf(model.fsPath, home)}` });
  const choice = await picked?.choose();
  if (choice) await editors.open(model, { type: 'data', data: dataSpec(model, choice), choice });
}
