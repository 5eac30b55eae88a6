/** One column of a table: its title and where its cells stand. */
export interface Column {
  title: string;
  align?: 'left' | 'right';
  /** Longer cells are cut in the middle. */
  max?: number;
}

/** A plain text table: a title row, a rule, the rows; columns two spaces apart. */
export function table(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const cells = rows.map((row) => columns.map((c, i) => shorten(row[i] ?? '', c.max ?? 60)));
  const widths = columns.map((c, i) => Math.max(width(c.title), ...cells.map((row) => width(row[i]))));
  const line = (row: readonly string[]) =>
    row
      .map((cell, i) => pad(cell, widths[i], columns[i].align ?? 'left'))
      .join('  ')
      .trimEnd();
  return [line(columns.map((c) => c.title)), widths.map((w) => '─'.repeat(w)).join('  '), ...cells.map(line)].join(
    '\n',
  );
}

/** `name: value` lines with the values under each other. */
export function facts(rows: readonly (readonly [string, string])[]): string {
  const widest = Math.max(...rows.map(([name]) => width(name)));
  return rows.map(([name, value]) => `${pad(name, widest, 'left')}  ${value}`).join('\n');
}

function width(text: string): number {
  return [...text].length;
}

function pad(text: string, to: number, align: 'left' | 'right'): string {
  const space = ' '.repeat(Math.max(0, to - width(text)));
  return align === 'left' ? text + space : space + text;
}

/** Keeps both ends of a long name: that is where names differ. */
function shorten(text: string, max: number): string {
  const letters = [...text];
  if (letters.length <= max) return text;
  const head = Math.floor((max - 1) / 2);
  return `${letters.slice(0, head).join('')}…${letters.slice(letters.length - (max - 1 - head)).join('')}`;
}
