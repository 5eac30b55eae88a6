/**
 * What a value has to do with the experts of one router. Tags are made at the router's logits and handed on from op to op.
 *
 * - `axis`: has one position per expert along `axis` (−1: somewhere, the place was lost); `chosen`: the gates of experts
 *   that were not chosen are closed in it.
 * - `index`: holds numbers of experts, as TopK gives them.
 * - `hits`: a list, along `axis`, of the numbers of experts that some token chose.
 * - `slots`: belongs to the chosen experts, place by place, without saying which they are.
 * - `expert`: belongs to one expert alone; {@link EACH}: to the one whose turn it is in a loop.
 * - `product`: what experts with stacked weights gave, before the gates.
 * - `mixed`: what several experts gave, put together; nothing more is learnt from it.
 */
export type Tag =
  | { kind: 'axis'; axis: number; chosen: boolean }
  | { kind: 'index' }
  | { kind: 'hits'; axis: number }
  | { kind: 'slots' }
  | { kind: 'expert'; expert: number }
  | { kind: 'product' }
  | { kind: 'mixed' };

/** Number of the expert whose turn it is in a Loop or Scan over experts. */
export const EACH = -1;

export const MIXED: Tag = { kind: 'mixed' };
export const SLOTS: Tag = { kind: 'slots' };
export const INDEX: Tag = { kind: 'index' };
export const PRODUCT: Tag = { kind: 'product' };

/** An input of an op: its tag, and the ranks that say where an axis lands. */
export interface Tagged {
  tag: Tag;
  rank: number | undefined;
}

/**
 * The tag of the result of an op that works element by element (or of which nothing else is known), with `rank` axes:
 * axes are aligned from the right, as broadcasting does.
 */
export function combine(inputs: readonly Tagged[], rank: number | undefined): Tag | undefined {
  const tags = inputs.map((i) => i.tag);
  if (tags.length === 0) return undefined;
  if (tags.some((t) => t.kind === 'mixed')) return MIXED;
  const experts = new Set(tags.flatMap((t) => (t.kind === 'expert' ? [t.expert] : [])));
  if (experts.size > 1) return MIXED;
  if (experts.size === 1) return { kind: 'expert', expert: [...experts][0] };
  if (tags.some((t) => t.kind === 'product')) return PRODUCT;
  const places = inputs.flatMap((i) => (i.tag.kind === 'axis' ? [{ tag: i.tag, rank: i.rank }] : []));
  if (places.length > 0) {
    const axes = new Set(places.map((p) => aligned(p.tag.axis, p.rank, rank)));
    const chosen = places.some((p) => p.tag.chosen) || tags.some((t) => t.kind === 'slots');
    return { kind: 'axis', axis: axes.size === 1 ? [...axes][0] : -1, chosen };
  }
  return tags.find((t) => t.kind === 'slots') ?? tags.find((t) => t.kind === 'hits') ?? INDEX;
}

function aligned(axis: number, from: number | undefined, to: number | undefined): number {
  return axis < 0 || from === undefined || to === undefined ? -1 : axis + to - from;
}
