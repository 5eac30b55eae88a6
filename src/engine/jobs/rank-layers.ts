/** Whole groups as the players of one game: which layer matters. */
import { cachedGame, openLayerGame } from '../../evaluation/coalitions/index.ts';
import { SecateurError } from '../../errors.ts';
import type { GroupRanks } from '../../formats.ts';
import { rankGroup } from '../../ranking/registry.ts';
import type { RankMethod } from '../../ranking/types.ts';
import { severs } from '../../units/severs.ts';
import type { Group, Structure } from '../../units/types.ts';
import { coalitionCache } from './coalition-cache.ts';
import type { GroupJob, RankSource } from './rank-sources.ts';

/** Id of what stands for all groups in ranks of layers. */
export const LAYERS = 'layers';

/** @throws SecateurError 'usage' for a method or a share that whole layers cannot be ranked by */
export function checkLayerRanking(method: RankMethod, groups: readonly Group[], closing: number): void {
  if (method.needs !== 'game')
    throw new SecateurError(
      'usage',
      `Whole layers cannot be ranked by ${method.name}, which scores units.`,
      'Use shapley, leave-one-out or oracle.',
    );
  if (!(closing > 0 && closing <= 1))
    throw new SecateurError(
      'usage',
      `A share of ${closing} of a layer's units cannot be closed.`,
      'Give a number above 0 and up to 1.',
    );
  if (groups.length < 2)
    throw new SecateurError(
      'usage',
      `Layers are compared with each other, and there is only one: '${groups[0].id}'.`,
      'Name more groups, or rank its units.',
    );
}

/** A group whose units are the given groups: what a method needs to know of its players. */
export function layersGroup(groups: readonly Group[]): Group {
  return {
    id: LAYERS,
    kind: 'layer',
    size: groups.length,
    layers: groups.flatMap((g) => g.layers.slice(0, 1)),
    consumers: [],
    sites: [],
    prunable: true,
    atoms: new Int32Array(groups.length),
    weights: [],
  };
}

/**
 * The game over whole groups. Of a layer that is closed the units with the smallest weights are gone, that share of
 * them (`closing`; 1: all), or a random choice where units have no weights of their own.
 */
export async function openLayers(
  job: GroupJob,
  groups: readonly Group[],
  closing: number,
  signal: AbortSignal,
): Promise<RankSource> {
  const { model, structure, group, data, metric, device, warnings } = job;
  const players = await Promise.all(groups.map(async (g) => ({ group: g.id, closed: await whenClosed(g, closing) })));
  const options = { metric: metric!, reading: data.reading, device, signal };
  const open = await openLayerGame(structure, LAYERS, players, data.search, options);
  for (const note of open.info.notes) if (!warnings.includes(note)) warnings.push(note);
  const id = JSON.stringify([LAYERS, closing, groups.map((g) => g.id)]);
  const cache = await coalitionCache(model, data, metric!, device, { id, size: group.size });
  const game = cache ? cachedGame(open, cache) : open;
  return { gives: { game }, close: () => game.close() };
}

/** The units of a closed layer that are left open. */
async function whenClosed(group: Group, closing: number): Promise<Uint8Array> {
  const open = new Uint8Array(group.size);
  const gone = Math.min(group.size, Math.max(1, Math.round(closing * group.size)));
  if (gone === group.size) return open;
  const byNorm = rankGroup('magnitude-l2', { group }, { seed: 0 }).catch((thrown: unknown) => {
    if (thrown instanceof SecateurError && thrown.code === 'unsupported')
      return rankGroup('random', { group }, { seed: 0 });
    throw thrown;
  });
  const { units } = (await byNorm).ranks;
  const order = [...units].sort((a, b) => a.score - b.score || a.index - b.index);
  for (const { index } of order.slice(gone)) open[index] = 1;
  return open;
}

/** The ranks with the names of the layers. */
export function nameLayers(ranks: GroupRanks, groups: readonly Group[]): GroupRanks {
  return { ...ranks, units: ranks.units.map((u) => ({ ...u, name: groups[u.index].id })) };
}

/** What must be said of a ranking of whole layers, if anything. */
export function layerWarnings(structure: Structure, groups: readonly Group[], closing: number): string[] {
  const chain = closing === 1 ? groups.filter((g) => severs(structure, g)) : [];
  if (chain.length === 0) return [];
  const which = chain.length === groups.length ? 'any of these layers' : chain.map((g) => `'${g.id}'`).join(' or ');
  return [
    `Without ${which} the model gives the same answer whatever it is shown: close a share of the units instead, such as half of them (--closing 0.5).`,
  ];
}
