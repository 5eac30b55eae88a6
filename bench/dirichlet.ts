/**
 * Scalings of the Dirichlet switch on trained networks whose every eighth unit has lost its outgoing weights:
 * `npm run bench dirichlet [kl|cross-entropy]` prints, by group and scaling, n·E[s] of these units (the prior's is 1; mean
 * and spread), and how many useful units end below one of them. Useful is a unit whose removal alone costs more than a
 * hundredth of what the most useful one costs.
 */
import { openGateLoss } from '../src/evaluation/gradients/index.ts';
import { openDataset } from '../src/evaluation/data/index.ts';
import { readOutput } from '../src/evaluation/metrics/index.ts';
import type { GateLoss } from '../src/evaluation/types.ts';
import type { MetricName, SwitchScaling } from '../src/formats.ts';
import { loadModel } from '../src/graph/load.ts';
import { rankGroup } from '../src/ranking/registry.ts';
import { analyseStructure } from '../src/units/analyse.ts';
import { silenceUnits } from '../test/support/silent-units.ts';

const EXAMPLES = ['lenet5', 'digits'];
const SCALINGS: SwitchScaling[] = ['saturating', 'mean-one', 'max-one', 'simplex'];
const metric = (process.argv[2] ?? 'kl') as MetricName;

/** What closing each unit alone adds to the loss. */
async function costs(loss: GateLoss): Promise<number[]> {
  const { size, samples } = loss;
  const gates = new Float64Array((size + 1) * size).fill(1);
  for (let i = 0; i < size; i++) gates[i * size + i] = 0;
  const { losses } = await loss.evaluate(gates, size + 1, { from: 0, to: samples });
  return [...losses.subarray(0, size)].map((l) => l - losses[size]);
}

console.log(`| group | ${SCALINGS.join(' | ')} |`);
console.log(`| --- |${' --- |'.repeat(SCALINGS.length)}`);
for (const example of EXAMPLES) {
  const ids = analyseStructure(loadModel(`examples/${example}/model.onnx`))
    .groups.filter((g) => g.prunable && g.kind !== 'block')
    .map((g) => g.id);
  for (const id of ids) {
    const structure = analyseStructure(loadModel(`examples/${example}/model.onnx`));
    const group = structure.groups.find((g) => g.id === id)!;
    const n = group.size;
    const silent = Array.from({ length: n >> 3 }, (_, i) => 8 * i + 4);
    silenceUnits(structure, id, silent);
    const dataset = await openDataset(structure.model, { path: `examples/${example}/calib.npz`, seed: 0 });
    const reading = await readOutput(structure.model, dataset);
    const loss = await openGateLoss(structure, id, dataset, { metric, reading, device: 'cpu', seed: 0 });
    const cost = await costs(loss);
    const most = Math.max(...cost);
    const useful = cost.flatMap((c, i) => (c > 0.01 * most && !silent.includes(i) ? [i] : []));
    const cells: string[] = [];
    for (const scaling of SCALINGS) {
      const { ranks } = await rankGroup('dirichlet', { group, loss }, { seed: 0, scaling });
      const share = ranks.units.map((u) => n * u.score);
      const theirs = silent.map((i) => share[i]);
      const top = Math.max(...theirs);
      const mean = theirs.reduce((a, b) => a + b, 0) / theirs.length;
      const spread = (top - Math.min(...theirs)) / 2;
      const below = useful.filter((i) => share[i] < top).length;
      cells.push(`${mean.toFixed(2)} ± ${spread.toFixed(3)}, ${below} of ${useful.length}`);
    }
    await loss.close();
    console.log(`| ${example} ${id} | ${cells.join(' | ')} |`);
  }
}
