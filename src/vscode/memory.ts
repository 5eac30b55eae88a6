import type * as vscode from 'vscode';
import type { Features, MethodName, PruneReport, Ranks } from '../formats.ts';
import type { DataSpec, ViewState } from '../protocol.ts';
import { dataToBeginWith, proposeData } from './data-choices.ts';
import { ModelStore } from './model-store.ts';
import { dataSpec } from './settings.ts';

export interface StoredRanks {
  /** The method that was run last. */
  last: MethodName | null;
  byMethod: Partial<Record<MethodName, Ranks>>;
  /** The last ranks of whole layers, whatever the method. */
  layers?: Ranks;
}

/** What the extension remembers of each model in this workspace. */
export class Memory {
  /** What the editor looked like when it was last seen. */
  readonly views: ModelStore<ViewState>;
  readonly ranks: ModelStore<StoredRanks>;
  /** Of the last prune. */
  readonly reports: ModelStore<PruneReport>;
  /** The last importance of input features. */
  readonly features: ModelStore<Features>;

  constructor(context: vscode.ExtensionContext, log: vscode.LogOutputChannel) {
    this.views = new ModelStore(context, 'views', log);
    this.ranks = new ModelStore(context, 'ranks', log);
    this.reports = new ModelStore(context, 'reports', log);
    this.features = new ModelStore(context, 'features', log);
  }

  /** The data that was last chosen for a model, or what its editor would begin with. */
  async currentData(model: vscode.Uri): Promise<DataSpec> {
    const saved = await this.views.load(model.fsPath);
    return saved?.data ?? dataSpec(model, dataToBeginWith(await proposeData(model.fsPath)));
  }
}
