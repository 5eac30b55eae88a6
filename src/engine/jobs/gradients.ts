import { SecateurError } from '../../errors.ts';
import {
  chooseLoss,
  gateGradients,
  openSampleLoss,
  type GateGradients,
  type GradientSubject,
  type LossKind,
} from '../../evaluation/gradients/index.ts';
import type { DeviceName } from '../../formats.ts';
import type { GateDerivatives, GradientSource } from '../../ranking/types.ts';
import type { Group, Structure } from '../../units/types.ts';
import type { OpenData } from './data.ts';

/** Derivatives of one backward pass over all groups of a model. */
interface FinishedPass extends GateGradients {
  loss: LossKind;
  draws: number;
  exact: boolean;
  note?: string;
}

/** Finished passes, so that the groups of a job and the methods of a command share them. The oldest goes first. */
const finished = new Map<string, FinishedPass>();
const MOST_FINISHED = 6;

export interface GradientPassOptions {
  /** Of the model and all that it is read with. */
  key: string;
  structure: Structure;
  data: OpenData;
  device: DeviceName;
  seed: number;
  /** Sentences for the result; passes add to them. */
  warnings: string[];
}

/** Derivatives by gates of groups, of which all that can be ranked together take one backward pass. */
export class GradientPasses implements GradientSource {
  private readonly options: GradientPassOptions;

  constructor(options: GradientPassOptions) {
    this.options = options;
  }

  lossOf(subject: GradientSubject): LossKind {
    const { search, reading } = this.options.data;
    return chooseLoss(search, reading, subject).kind;
  }

  async derivatives(
    group: Group,
    subject: GradientSubject,
    signal?: AbortSignal,
    onProgress?: (done: number, planned: number) => void,
  ): Promise<GateDerivatives> {
    const { key, data, device, seed, warnings } = this.options;
    const blocks = group.kind === 'block';
    const id = JSON.stringify([key, data.key, device, subject, seed, blocks]);
    let pass = finished.get(id);
    if (!pass) {
      pass = await this.run(blocks, subject, signal, onProgress);
      finished.set(id, pass);
      for (const old of finished.keys()) if (finished.size > MOST_FINISHED) finished.delete(old);
    }
    for (const note of [pass.note, ...pass.notes]) if (note && !warnings.includes(note)) warnings.push(note);
    const moments = pass.moments.get(group.id);
    if (!moments) throw this.noGradient(group, pass);
    const { loss, draws, exact } = pass;
    return { moments, loss, draws, exact };
  }

  /** Blocks make all that follows them depend on gates and are rarely asked for: they have passes of their own. */
  private async run(
    blocks: boolean,
    subject: GradientSubject,
    signal?: AbortSignal,
    onProgress?: (done: number, planned: number) => void,
  ): Promise<FinishedPass> {
    const { structure, data, device, seed } = this.options;
    const ids = structure.groups.filter((g) => g.prunable && (g.kind === 'block') === blocks).map((g) => g.id);
    const { kind, note } = chooseLoss(data.search, data.reading, subject);
    const loss = await openSampleLoss(structure, data.search, {
      loss: kind,
      reading: data.reading,
      device,
      seed,
      signal,
    });
    const gradients = await gateGradients(structure, ids, data.search, loss, { device, signal, onProgress });
    return { ...gradients, loss: kind, draws: loss.draws, exact: loss.exact, note };
  }

  private noGradient(group: Group, pass: FinishedPass): SecateurError {
    const failure = pass.failures.get(group.id);
    if (!failure) return new SecateurError('internal', `There are no gradients for group '${group.id}'.`);
    const names = [...pass.moments.keys()].map((id) => `'${id}'`);
    const some = names.slice(0, 3).join(', ') + (names.length > 3 ? ', …' : '');
    return new SecateurError(
      'unsupported',
      `Group '${group.id}' cannot be ranked by gradients. ${failure.message}`,
      `${some ? `Groups that can: ${some}. ` : ''}Shapley, leave-one-out, activation and magnitude need no gradients.`,
    );
  }
}
