import * as vscode from 'vscode';
import type { DataChoice, DataSpec, ViewState } from '../protocol.ts';

/** What the user's settings say for models that have not been opened before. */
export function defaultsFromSettings(uri: vscode.Uri): Partial<ViewState> {
  const settings = vscode.workspace.getConfiguration('secateur', uri);
  const metric = settings.get<ViewState['metric'] | 'auto'>('metric', 'auto');
  return {
    device: settings.get<ViewState['device']>('device', 'auto'),
    method: settings.get<ViewState['method']>('method', 'shapley'),
    metric: metric === 'auto' ? null : metric,
    budget: settings.get<number>('budget', 2000),
    tolerance: settings.get<number>('tolerance', 0.05),
    minKeep: settings.get<number>('minKeep', 0.25),
    roundTo: settings.get<number>('roundTo', 1),
    costUnit: settings.get<ViewState['costUnit']>('costUnit', 'macs'),
  };
}

/** The data specification for a choice, or for synthetic inputs when there is none, with seed and sample limit of the settings. */
export function dataSpec(uri: vscode.Uri, choice: DataChoice | undefined): DataSpec {
  const settings = vscode.workspace.getConfiguration('secateur', uri);
  const samples = settings.get<number>('samples', 0);
  return {
    path: choice?.path ?? null,
    ...(choice?.holdout ? { holdout: choice.holdout } : {}),
    ...(samples > 0 ? { samples } : {}),
    seed: settings.get<number>('seed', 0),
  };
}
