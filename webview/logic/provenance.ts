import type { Ranks } from '../../src/formats.ts';
import { plural, seconds } from './format.ts';
import { method, metricLabel } from './words.ts';

/** The run that made the ranks, so that every number can be traced. */
export function provenance(ranks: Ranks): string {
  const evaluations = ranks.groups.reduce((sum, g) => sum + g.evaluations, 0);
  const parts = [
    `${method(ranks.method).label}${ranks.metric ? ` of ${metricLabel(ranks.metric)}` : ''}`,
    ranks.layers ? plural(ranks.groups[0].size, 'layer') : plural(ranks.groups.length, 'group'),
    `${ranks.data.path.split(/[\\/]/).pop()}, ${plural(ranks.data.samples, 'sample')}`,
  ];
  if (evaluations > 0) parts.push(plural(evaluations, 'evaluation'));
  parts.push(seconds(ranks.seconds), `seed ${ranks.seed}`, ranks.device.toUpperCase());
  if (!ranks.complete) parts.push('stopped before the end');
  return parts.join(' · ');
}
