/**
 * Analysis of graphs of 5 000 nodes as `inspect` does it: opening the file, the structure (shape inference and dimension
 * flow), costs. `npm run bench analyse`. Each measurement is a process of its own: "first" is what a user waits for, "warm"
 * the median of the runs after it. The same graph at a quarter of the size tells whether the time grows with the nodes
 * alone. Times are processor times where these are shorter: others use the machine too. Exits with 1 when an engine that
 * runs ("warm") takes a second for a graph, or the time grows much faster than the graph. The first graph of a new process
 * ("first") takes longer by what compiling the code takes.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { modelCost } from '../src/graph/cost.ts';
import { loadModel } from '../src/graph/load.ts';
import { inferShapes } from '../src/graph/shapes/index.ts';
import { analyseStructure } from '../src/units/analyse.ts';
import { costTerms } from '../src/units/cost-terms.ts';
import { KINDS, operators, writeGraph } from './large-graphs.ts';

const NODES = 5000;
const PROCESSES = 3;
const RUNS = 5;
const MOST_SECONDS = 1;
/** Time of the whole graph over that of a quarter of it; 4 is linear. */
const MOST_GROWTH = 7;

const PARTS = ['open', 'structure', 'costs'] as const;
type Times = Record<(typeof PARTS)[number] | 'shapes' | 'total', number>;
interface Report {
  nodes: number;
  operators: string;
  groups: number;
  prunable: number;
  runs: Times[];
}

/** Milliseconds that a task takes while nothing else uses the machine, about. */
function timed<T>(task: () => T): { result: T; time: number } {
  const [wall, processor] = [performance.now(), process.cpuUsage()];
  const result = task();
  const { user, system } = process.cpuUsage(processor);
  return { result, time: Math.min(performance.now() - wall, (user + system) / 1000) };
}

function child(file: string): void {
  const runs: Times[] = [];
  let report: Omit<Report, 'runs'> | undefined;
  for (let i = 0; i < RUNS; i++) {
    const { result: model, time: open } = timed(() => loadModel(file));
    const { result: structure, time: analysed } = timed(() => analyseStructure(model));
    const { time: costs } = timed(() => {
      modelCost(structure.model);
      costTerms(structure);
    });
    // The baseline: a part of the structure's time, on a model of its own.
    const again = loadModel(file);
    const { time: shapes } = timed(() => inferShapes(again));
    runs.push({ open, structure: analysed, costs, shapes, total: open + analysed + costs });
    report ??= {
      nodes: model.graph.nodes.length,
      operators: operators(model.graph.nodes),
      groups: structure.groups.length,
      prunable: structure.groups.filter((g) => g.prunable).length,
    };
  }
  console.log(JSON.stringify({ ...report, runs }));
}

function measure(file: string): Report[] {
  return Array.from({ length: PROCESSES }, () => {
    const { stdout, stderr, status } = spawnSync(process.execPath, [process.argv[1], '--child', file], {
      encoding: 'utf8',
    });
    if (status !== 0) throw new Error(stderr);
    return JSON.parse(stdout) as Report;
  });
}

function median(values: number[]): number {
  const sorted = values.sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

const KEYS = [...PARTS, 'total', 'shapes'] as const;
const medians = (runs: Times[]) => Object.fromEntries(KEYS.map((k) => [k, median(runs.map((r) => r[k]))])) as Times;
const cells = (t: Times) => KEYS.map((k) => t[k].toFixed(0).padStart(10)).join('');

function parent(kinds: readonly (typeof KINDS)[number][]): void {
  const folder = mkdtempSync(path.join(tmpdir(), 'secateur-analyse-'));
  const missed: string[] = [];
  try {
    for (const kind of kinds) {
      const reports = measure(writeGraph(kind, NODES, folder));
      const quarter = measure(writeGraph(kind, NODES / 4, folder));
      const first = medians(reports.map((r) => r.runs[0]));
      const warm = medians(reports.flatMap((r) => r.runs.slice(1)));
      const small = medians(quarter.flatMap((r) => r.runs.slice(1)));
      const [{ nodes, groups, prunable, operators: ops }] = reports;
      console.log(`\n${kind}: ${nodes} nodes, ${groups} groups, ${prunable} of them prunable\n  ${ops}`);
      console.log(`  milliseconds          ${KEYS.map((k) => k.padStart(10)).join('')}`);
      console.log(`  first                 ${cells(first)}`);
      console.log(`  warm                  ${cells(warm)}`);
      console.log(`  warm, ${String(quarter[0].nodes).padStart(5)} nodes     ${cells(small)}`);
      const growth = warm.total / small.total / (nodes / quarter[0].nodes / 4);
      console.log(
        `  total is ${(warm.total / warm.shapes).toFixed(1)} times shape inference alone; ` +
          `${growth.toFixed(1)} times a quarter of the graph (linear: 4, required: < ${MOST_GROWTH}); ` +
          `warm ${(warm.total / 1000).toFixed(2)} s (required: < ${MOST_SECONDS})`,
      );
      if (warm.total >= 1000 * MOST_SECONDS) missed.push(`${kind}: ${(warm.total / 1000).toFixed(2)} s`);
      if (growth >= MOST_GROWTH) missed.push(`${kind}: grows ${growth.toFixed(1)} times`);
    }
    console.log(missed.length ? `\nrequirements missed: ${missed.join('; ')}` : '\nall requirements met');
    process.exitCode = missed.length ? 1 : 0;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const at = process.argv.indexOf('--child');
if (at >= 0) child(process.argv[at + 1]);
else {
  const wanted = KINDS.filter((k) => process.argv.includes(k));
  parent(wanted.length ? wanted : KINDS);
}
