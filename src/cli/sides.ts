import type { SideReport } from '../formats.ts';
import { bytes, change, count, duration, metricChange, metricValue } from './numbers.ts';
import { table } from './table.ts';

/** The table of two models: MACs, parameters, bytes, metric on calibration and on held-out data, latency. */
export function sidesTable(
  left: { title: string; side: SideReport },
  right: { title: string; side: SideReport },
  about: { metric: string; valueTitle: string; samples: number; holdoutSamples?: number },
): string {
  const { metric } = about;
  const [a, b] = [left.side, right.side];
  const rows = [
    ['MACs', count(a.macs), count(b.macs), change(a.macs, b.macs)],
    ['parameters', count(a.parameters), count(b.parameters), change(a.parameters, b.parameters)],
    ['file size', bytes(a.bytes), bytes(b.bytes), change(a.bytes, b.bytes)],
  ];
  const metricRow = (title: string, x: number | null, y: number | null, samples: number): void => {
    if (x !== null || y !== null)
      rows.push([
        title,
        metricValue(metric, x, samples),
        metricValue(metric, y, samples),
        metricChange(metric, x, y, samples),
      ]);
  };
  metricRow(about.valueTitle, a.value, b.value, about.samples);
  metricRow(`${metric}, held out`, a.holdout, b.holdout, about.holdoutSamples ?? about.samples);
  if (a.latencyMs !== null && b.latencyMs !== null)
    rows.push(['latency', duration(a.latencyMs), duration(b.latencyMs), change(a.latencyMs, b.latencyMs)]);
  return table(
    [
      { title: '' },
      { title: left.title, align: 'right', max: 30 },
      { title: right.title, align: 'right', max: 30 },
      { title: 'change', align: 'right' },
    ],
    rows,
  );
}
