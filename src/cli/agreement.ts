import type { MethodAgreement } from '../formats.ts';
import { table } from './table.ts';

/** How far every two methods agree, as a table with a row for each group. */
export function describeAgreement(agreement: readonly MethodAgreement[]): string {
  const number = (value: number | null): string => (value === null ? '–' : value.toFixed(2).replace('-', '−'));
  const percent = (share: number): string => `${Math.round(100 * share)} %`;
  const rows = agreement.flatMap(({ methods: [a, b], groups }) =>
    groups.map((group) => [
      `${a} – ${b}`,
      group.id,
      number(group.spearman),
      number(group.kendall),
      `${percent(group.topOverlap)} of ${group.k}`,
      [
        group.noSignal ? `no signal by ${group.noSignal.join(' and ')}: this says nothing` : '',
        group.oracle
          ? `oracle score ${percent(group.oracle.keep)} to keep, ${percent(group.oracle.remove)} to remove`
          : '',
      ]
        .filter(Boolean)
        .join('; '),
    ]),
  );
  const text = table(
    [
      { title: 'methods' },
      { title: 'group' },
      { title: 'Spearman', align: 'right' },
      { title: 'Kendall τ-b', align: 'right' },
      { title: 'same best', align: 'right' },
      { title: '', max: 90 },
    ],
    rows,
  );
  return `== agreement ==\n${text}`;
}
