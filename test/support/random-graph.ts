import type { Model } from '../../src/graph/ir.ts';
import { removeDeadNodes } from '../../src/graph/edit.ts';
import { layers } from './random-graph/layers.ts';
import { Maker, product, type Template, type Val } from './random-graph/maker.ts';
import { mixing } from './random-graph/mixing.ts';
import { moving } from './random-graph/moving.ts';
import { patterns } from './random-graph/patterns.ts';
import { pointwise } from './random-graph/pointwise.ts';

const TEMPLATES: readonly Template[] = [...layers, ...pointwise, ...moving, ...mixing, ...patterns];

const BATCH = 2;

/**
 * A valid random graph of about 6 to 25 nodes, the same for the same seed: an input, ops chosen from the templates that fit
 * what was made so far, several branches, a head on every value that nothing reads.
 */
export function randomGraph(seed: number): { model: Model; templates: string[] } {
  const g = new Maker(seed);
  g.pool.push(start(g));
  const templates: string[] = [];
  const most = g.int(4, 20);
  for (let tries = 0; g.b.graph.nodes.length < most && tries < 60; tries++) {
    const x = choose(g);
    const fitting = TEMPLATES.filter((t) => suits(t, x, g) && (!patterns.includes(t) || g.b.graph.nodes.length < 14));
    if (fitting.length === 0) continue;
    const template = weighted(fitting, g);
    const made = [template.make(x, g)].flat();
    for (const v of made) if (!g.pool.includes(v)) g.pool.push(v);
    templates.push(template.name);
  }
  finish(g);
  removeDeadNodes(g.b.model);
  return { model: g.b.build(), templates };
}

/** An input and a first layer, for nothing can be pruned before it. */
function start(g: Maker): Val {
  const inner = g.pick([[3, 8, 8], [3, 8, 8], [2, 6, 4], [6, 5], [8, 6], [10], [2, 4, 4, 2]]);
  const symbolic = g.chance(0.6);
  const dims = [symbolic || g.chance(0.5) ? BATCH : 1, ...inner];
  const value = g.b.input('x', symbolic ? ['N', ...inner] : dims);
  const x: Val = { value, dims, rows: symbolic ? 0 : -1 };
  const axis = inner.length === 2 && g.chance(0.6) ? 2 : 1;
  return g.linear(x, axis, g.pick([4, 6, 8, 12]));
}

/** Mostly what was made last, or what nothing reads yet. */
function choose(g: Maker): Val {
  const unread = g.pool.filter((v) => v.value.uses.length === 0);
  const form = g.random();
  if (form < 0.55 || unread.length === 0) return g.pool[g.pool.length - 1];
  return form < 0.8 ? g.pick(unread) : g.pick(g.pool);
}

function suits(t: Template, x: Val, g: Maker): boolean {
  const [first, last] = t.opset ?? [0];
  if (g.axes(x).length === 0) return false;
  if (x.dims.length > 5) return /^(Reshape|Transpose|reduction)$/.test(t.name) && x.dims.length > 1;
  return g.opset >= first && g.opset <= (last ?? Infinity) && (t.fits?.(x, g) ?? true);
}

function weighted(list: readonly Template[], g: Maker): Template {
  let at = g.random() * list.reduce((n, t) => n + (t.weight ?? 1), 0);
  return list.find((t) => (at -= t.weight ?? 1) < 0) ?? list[0];
}

/** Heads on all that nothing reads, summed where they can be. */
function finish(g: Maker): void {
  const heads: Val[] = [];
  const unread = g.pool.filter((x) => x.value.uses.length === 0);
  for (const v of unread.length ? unread : g.pool.slice(-1)) {
    const made = head(v, g);
    const at = heads.findIndex((h) => h.rows === made.rows && h.dims.join() === made.dims.join());
    if (at >= 0) heads[at] = g.like('Add', [heads[at], made], made);
    else heads.push(made);
  }
  g.b.output(...heads.map((h) => h.value));
}

/** All that a sample has, mixed into three numbers; now and then a mean, or the value as it is. */
function head(x: Val, g: Maker): Val {
  const form = g.random();
  if (form < 0.08) return x;
  if (form < 0.2 && g.axes(x).length > 0) return g.reduce('ReduceMean', x, g.axes(x), true);
  let y = x;
  if (y.rows > 0) {
    const others = g.axes(y);
    y = g.transpose(y, [y.rows, ...others]);
  }
  const axis = Math.min(1, y.dims.length);
  const flat: Val = g.emit('Flatten', [y], [y.dims[0], product(y.dims.slice(1))], y.rows, { axis });
  return g.linear(flat, 1, 3);
}
