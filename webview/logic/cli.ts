import type { PruneReport } from '../../src/formats.ts';
import type { DataSpec } from '../../src/protocol.ts';

/** A word for a POSIX shell, quoted where it must be. Names that look like options get `./`. */
export function quote(word: string): string {
  const safe = word.startsWith('-') ? `./${word}` : word;
  return /^[\w@%+=:,./\\-]+$/.test(safe) && !safe.includes('\\') ? safe : `'${safe.replaceAll("'", `'\\''`)}'`;
}

/** `resnet8.onnx` → `resnet8.pruned.onnx` */
export function suggestName(name: string): string {
  return `${name.replace(/\.onnx$/i, '')}.pruned.onnx`;
}

/** The command that makes the same file again from the plan. */
export function pruneCommand(report: PruneReport, planPath: string, data: DataSpec | null): string {
  const words = ['secateur', 'prune', quote(report.model.path), '--plan', quote(planPath)];
  if (data?.path) words.push('--data', quote(data.path));
  if (data?.holdout) words.push('--holdout', quote(data.holdout));
  if (data?.samples !== undefined) words.push('--samples', String(data.samples));
  if (data?.output) words.push('--output', quote(data.output));
  for (const [name, value] of Object.entries(data?.constants ?? {})) words.push('--input', quote(`${name}=${value}`));
  if (data?.label) words.push('--label', quote(data.label));
  if (data) words.push('--seed', String(data.seed));
  words.push('--metric', report.metric, '--device', report.device, '--out', quote(report.output));
  return words.join(' ');
}
