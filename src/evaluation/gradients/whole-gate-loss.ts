import { addGradients } from '../../autodiff/gradient.ts';
import { SecateurError, checkSignal } from '../../errors.ts';
import { removeDeadNodes, sortTopologically } from '../../graph/edit.ts';
import { DataType } from '../../onnx/data-type.ts';
import { float32Tensor, toFloat32 } from '../../runtime/host-tensor.ts';
import { createSession, type Session } from '../../runtime/session.ts';
import { gateModel } from '../../units/gating.ts';
import type { Structure } from '../../units/types.ts';
import type { Dataset } from '../data/dataset.ts';
import { openSampleLoss, type SampleLoss, type SampleLossOptions } from './sample-loss.ts';
import type { LossBatch } from '../types.ts';
import { dropUnusedInputs, setOutputs, keepOutputs } from '../../graph/outputs.ts';
import { GraphBuilder } from '../coalitions/graph-builder.ts';
import type { Range } from '../coalitions/sums.ts';

const WEIGHTS = 'secateur_weights';

/** Names of inputs and outputs of the graph. */
interface Names {
  gates: string;
  loss: string;
  gradient: string;
}

/**
 * The loss under gates, and its gradient, of the whole gated model: one gate vector and one batch of samples per run. For
 * models whose samples share a batch but whose gates cannot differ by row, and for those that take one sample at a time.
 */
export class WholeGateLoss {
  private constructor(
    private readonly session: Session,
    private readonly names: Names,
    private readonly loss: SampleLoss,
    private readonly dataset: Dataset,
    private readonly size: number,
    private readonly rows: number,
  ) {}

  /**
   * @param rows samples of a run, at most
   * @throws SecateurError 'unsupported' naming the operator that has no gradient rule; as openSampleLoss
   */
  static async open(
    structure: Structure,
    groupId: string,
    dataset: Dataset,
    options: SampleLossOptions,
    rows: number,
  ): Promise<WholeGateLoss> {
    const loss = await openSampleLoss(structure, dataset, options);
    const { model, gates } = gateModel(structure, [groupId]);
    const { graph } = model;
    keepOutputs(graph, loss.outputs);
    removeDeadNodes(model);
    const [{ input, size }] = gates;
    const losses = loss.addTo(model);
    const b = new GraphBuilder(model);
    // Rows that only fill up a batch weigh nothing.
    const weighted = b.op('Mul', [losses, b.input(WEIGHTS, DataType.FLOAT, ['secateur_rows'])]);
    const total = b.op('ReduceSum', [weighted], { keepdims: 0 });
    input.type = { kind: 'tensor', elemType: DataType.FLOAT, shape: [1, size] };
    const gradient = b.op('Identity', [addGradients(model, total, [input]).gradients.get(input)!]);
    setOutputs(graph, [total, gradient]);
    removeDeadNodes(model);
    dropUnusedInputs(graph);
    sortTopologically(graph);
    const names = { gates: input.name, loss: total.name, gradient: gradient.name };
    const session = await createSession(model, { device: options.device });
    return new WholeGateLoss(session, names, loss, dataset, size, rows);
  }

  /** Mean losses and their gradients, as GateLoss.evaluate. @throws SecateurError 'cancelled' between two runs */
  async evaluate(gates: Float64Array, count: number, { from, to }: Range, signal?: AbortSignal): Promise<LossBatch> {
    const { size, names, dataset } = this;
    const losses = new Float64Array(count);
    const gradients = new Float64Array(count * size);
    const samples = Int32Array.from({ length: to - from }, (_, i) => from + i);
    for (const batch of dataset.batches(samples, this.rows)) {
      const weights = Float32Array.from(batch.indices, (_, row) => (row < batch.count ? 1 / samples.length : 0));
      const shared = {
        ...dataset.feeds(batch.indices),
        ...this.loss.feeds(batch.indices),
        [WEIGHTS]: float32Tensor([weights.length], weights),
      };
      for (let k = 0; k < count; k++) {
        checkSignal(signal);
        const own = Float32Array.from(gates.subarray(k * size, (k + 1) * size));
        const feeds = { ...shared, [names.gates]: float32Tensor([1, size], own) };
        const results = await this.session.run(feeds, [names.loss, names.gradient]);
        losses[k] += toFloat32(results[names.loss])[0];
        toFloat32(results[names.gradient]).forEach((g, i) => (gradients[k * size + i] += g));
      }
    }
    return { losses, gradients };
  }

  close(): Promise<void> {
    return this.session.release();
  }
}

/** The same, or the sentence that says which operator has no gradient rule. */
export async function tryWholeGateLoss(
  ...args: Parameters<typeof WholeGateLoss.open>
): Promise<WholeGateLoss | string> {
  try {
    return await WholeGateLoss.open(...args);
  } catch (thrown) {
    if (thrown instanceof SecateurError && thrown.code === 'unsupported') return thrown.message;
    throw thrown;
  }
}
