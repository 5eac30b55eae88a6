import type { Features } from '../src/formats.ts';
import type { FeaturesParams, FeaturesPartial } from '../src/protocol.ts';
import { wireError } from './rpc.ts';
import type { Session } from './session.ts';

/** Runs the importance of input features, and keeps what came of it in the store. */
export class Explaining {
  private readonly session: Session;

  constructor(session: Session) {
    this.session = session;
  }

  /** Explains with what the view's controls say. Cancelling keeps what was computed. */
  async start(): Promise<void> {
    const { session } = this;
    const { store } = session;
    const { view, job } = store.state;
    if (job?.method === 'features' || !view.data) return;
    store.set({ featuresError: null, featuresNote: '', featuresPartial: null });
    const run = session.begin('features', 'explaining');
    try {
      const made = await session.rpc.request(
        'features',
        { ...this.params(), data: view.data },
        {
          signal: run.abort.signal,
          onProgress: (p) => {
            session.progress(run, p);
            const partial = p.partial as FeaturesPartial | undefined;
            if (partial && 'features' in partial) store.set({ featuresPartial: partial.features });
          },
        },
      );
      store.set({ features: made, featuresNote: made.complete ? '' : 'Stopped. What was computed by then is kept.' });
    } catch (thrown) {
      const error = wireError(thrown);
      if (error.code === 'cancelled') store.set({ featuresNote: 'Stopped before there was anything to show.' });
      else store.set({ featuresError: error });
    } finally {
      store.set({ featuresPartial: null });
      session.end(run);
    }
  }

  async save(features: Features): Promise<void> {
    const { store, rpc } = this.session;
    try {
      const { path } = await rpc.request('save-features', { features });
      store.set({ featuresNote: `Saved to ${path}` });
    } catch (thrown) {
      const error = wireError(thrown);
      if (error.code !== 'cancelled') store.set({ featuresError: error });
    }
  }

  private params(): Omit<FeaturesParams, 'model' | 'data'> {
    const { view, report } = this.session.store.state;
    const asked = view.features ?? {};
    const method = asked.method ?? 'qfit';
    return {
      method,
      mode: asked.sample === undefined && !asked.each ? 'global' : 'local',
      sample: asked.sample,
      input: asked.input,
      kind: asked.kind,
      patch: asked.kind === 'patches' ? asked.patch : undefined,
      baseline: asked.baseline,
      // Q-FIT takes the loss that suits the data: accuracy, the usual choice for ranks, has no gradient.
      metric: method === 'shapley' ? (view.metric ?? undefined) : undefined,
      select: asked.select,
      against: asked.against && report && !asked.each ? report.output : undefined,
      seed: view.data?.seed ?? 0,
      device: view.device,
    };
  }
}
