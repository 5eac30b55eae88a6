import type * as vscode from 'vscode';
import type { DataSpec, ViewState } from '../protocol.ts';
import { dataToBeginWith, proposeData } from './data-choices.ts';
import { dataSpec } from './settings.ts';

const key = (model: vscode.Uri): string => `view:${model.toString()}`;

/** What the editor of a model looked like when it was last seen in this workspace. */
export function savedView(memento: vscode.Memento, model: vscode.Uri): ViewState | undefined {
  return memento.get<ViewState>(key(model));
}

export async function saveView(memento: vscode.Memento, model: vscode.Uri, state: ViewState): Promise<void> {
  await memento.update(key(model), state);
}

/** The data that was last chosen for a model, or what its editor would begin with. */
export async function currentData(memento: vscode.Memento, model: vscode.Uri): Promise<DataSpec> {
  return savedView(memento, model)?.data ?? dataSpec(model, dataToBeginWith(await proposeData(model.fsPath)));
}
