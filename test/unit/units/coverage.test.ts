import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import * as prettier from 'prettier';
import { afterAll, describe, expect, it } from 'vitest';
import { analyseStructure } from '../../../src/units/analyse.ts';
import { coverageOf, type Coverage } from '../../support/coverage.ts';
import { checkInvariant } from '../../support/invariant.ts';
import { loadZoo, zooFeeds, zooModels, type ZooEntry } from '../../support/zoo.ts';

/*
 * What the analysis covers of the zoo (scripts/zoo), against docs/coverage.md. `npm run coverage` checks every group
 * and writes that page; the ordinary run checks all groups together and a few alone.
 */
const PAGE = 'docs/coverage.md';
const write = process.env.SECATEUR_COVERAGE === 'write';
const only = process.env.SECATEUR_ZOO?.split(',');
const models = zooModels().filter((e) => !only || only.some((name) => name === e.name || name === e.model));
const rows: string[][] = [];

const percent = (share: number) => `${(100 * share).toFixed(1)} %`;

function row(entry: ZooEntry, found: Coverage): string[] {
  const frozen = [...found.frozen].sort(([a], [b]) => (a < b ? -1 : 1)).map(([why, n]) => `${n} × ${why}`);
  return [
    entry.name.split('.')[0],
    entry.exporter,
    String(entry.opset),
    String(entry.nodes),
    String(found.groups),
    String(found.prunable),
    percent(found.parameters),
    percent(found.macs),
    frozen.join('; ').replaceAll('|', '/') || '–',
  ];
}

/** Rows of the page, without the last column: differences vary with the machine. */
const written = new Map(
  (existsSync(PAGE) ? readFileSync(PAGE, 'utf8') : '')
    .split('\n')
    .filter((line) => line.startsWith('| '))
    .map((line) => line.split('|').slice(1, -2).map(unescaped))
    .map((cells): [string, string[]] => [cells.slice(0, 3).join(), cells]),
);

function unescaped(cell: string): string {
  return cell.trim().replace(/\\([_*<>])/g, '$1');
}

describe('coverage of the zoo', () => {
  it.each(models.map((e) => [e.name, e] as const))(
    '%s',
    async (name, entry) => {
      const structure = analyseStructure(loadZoo(name));
      const cells = row(entry, coverageOf(structure));
      const feeds = zooFeeds(entry);
      const { results, tolerance } = await checkInvariant(structure, {
        feeds,
        seed: 3,
        // A share of none keeps one unit.
        shares: write ? [0.25, 0.5, 0] : [0.5],
        most: write ? undefined : 2,
        together: 2,
      });
      const worst = Math.max(0, ...results.map((r) => r.diff));
      rows.push([...cells, worst === 0 ? '0' : Number.isFinite(worst) ? worst.toExponential(1) : 'shapes differ']);
      const failed = results.filter((r) => !(r.diff <= tolerance));
      expect(
        failed.map((r) => `${r.group} keeping ${r.kept} of ${r.size}: ${r.diff} > ${tolerance}`),
        `${name}: pruned = gated`,
      ).toEqual([]);
      if (!write) expect(cells, `${name} in ${PAGE} (npm run coverage)`).toEqual(written.get(cells.slice(0, 3).join()));
    },
    600_000,
  );
});

const HEAD = [
  'model',
  'exporter',
  'opset',
  'nodes',
  'groups',
  'prunable',
  'parameters',
  'MACs',
  'frozen groups',
  'worst difference',
];

afterAll(async () => {
  if (!write || only) return;
  const line = (cells: string[]) => `| ${cells.join(' | ')} |`;
  const text = `# Coverage

What the structure analysis finds in the networks of the zoo (\`scripts/zoo\`: every family, small, random weights), exported by
torch's two exporters. This page is made by \`npm run coverage\`, which prunes every group to 25 %, to 50 % and to one unit, and all
groups together, and compares with the gated model in onnxruntime.

- **groups**, **prunable**: groups found, and those that may lose units.
- **parameters**: the share of the parameters that lie in prunable groups: elements of the weights of which an axis holds units of a
  prunable group, over those of all weights. Embedding tables (what a Gather picks rows of) and the last layer (nodes whose result
  reaches a model output without another layer with weights) are left out on both sides. Residual blocks, which can go whole, do
  not count.
- **MACs**: the same for multiply-accumulates, by layer.
- **frozen groups**: how many, and why they cannot be pruned: the group …
- **worst difference**: max|a−b| / max|b| of pruned and gated model, the worst of all checks.

${line(HEAD)}
${line(HEAD.map(() => '---'))}
${rows.map((cells) => line(cells)).join('\n')}
`;
  const options = await prettier.resolveConfig(PAGE);
  writeFileSync(PAGE, await prettier.format(text, { ...options, filepath: PAGE }));
});
