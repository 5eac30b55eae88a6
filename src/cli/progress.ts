import type { Progress } from '../protocol.ts';

/** Shows how far a job is: a bar that redraws itself on a terminal, now and then a line elsewhere. Only on stderr. */
export class ProgressDisplay {
  private readonly stream: NodeJS.WriteStream;
  private readonly isTerminal: boolean;
  private lastDraw = 0;
  private lastStep = -1;
  private lastNote = '';
  private drawn = false;

  constructor(stream: NodeJS.WriteStream = process.stderr) {
    this.stream = stream;
    this.isTerminal = Boolean(stream.isTTY);
    // Short jobs leave no lines in a log.
    if (!this.isTerminal) this.lastDraw = performance.now();
  }

  update({ fraction, note }: Progress): void {
    if (!note) return;
    const now = performance.now();
    if (this.isTerminal) {
      if (now - this.lastDraw < 80 && fraction !== 1) return;
      this.lastDraw = now;
      this.draw(fraction, note);
      return;
    }
    if (fraction === 1) return;
    const step = fraction === null ? -1 : Math.floor(fraction * 10);
    const newStage = note.split(/[\d,:(]/)[0] !== this.lastNote;
    if (now - this.lastDraw < (newStage || step !== this.lastStep ? 2000 : 15_000)) return;
    this.lastDraw = now;
    this.lastStep = step;
    this.lastNote = note.split(/[\d,:(]/)[0];
    this.stream.write(`${fraction === null ? '' : `${Math.round(fraction * 100)} % `}${note}\n`);
  }

  /** Takes the bar away, so that what is printed next starts on a clean line. */
  clear(): void {
    if (!this.drawn) return;
    this.stream.write('\r\u001b[K');
    this.drawn = false;
  }

  private draw(fraction: number | null, note: string): void {
    const columns = this.stream.columns || 80;
    let text = note;
    if (fraction !== null) {
      const length = Math.min(24, Math.max(8, columns - 50));
      const full = Math.round(Math.min(1, Math.max(0, fraction)) * length);
      text = `${'█'.repeat(full)}${'░'.repeat(length - full)} ${String(Math.round(fraction * 100)).padStart(3)} %  ${note}`;
    }
    const letters = [...text];
    if (letters.length >= columns) text = `${letters.slice(0, columns - 2).join('')}…`;
    this.stream.write(`\r\u001b[K${text}`);
    this.drawn = true;
  }
}
