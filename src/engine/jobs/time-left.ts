/** Too early to tell before this. */
const SETTLED_MS = 5000;
/** Not worth saying below this. */
const SHORT_MS = 15_000;

/**
 * Tells how long a job will still take if it goes on at the pace so far, in words for a progress note: `about 12 min
 * left`; empty while it cannot be told or hardly matters. Time before the first fraction (reading files) does not count.
 */
export class TimeLeft {
  private first: { at: number; fraction: number } | null = null;

  /** @param fraction done, 0..1. @param now milliseconds of a clock that never goes back */
  words(fraction: number, now = performance.now()): string {
    this.first ??= { at: now, fraction };
    const [elapsed, done] = [now - this.first.at, fraction - this.first.fraction];
    if (elapsed < SETTLED_MS || done < 0.005 || fraction >= 1) return '';
    const left = (elapsed * (1 - fraction)) / done;
    if (left < SHORT_MS) return '';
    const minutes = left / 60_000;
    if (minutes < 1) return `about ${Math.round(left / 10_000) * 10} s left`;
    if (minutes < 90) return `about ${Math.round(minutes)} min left`;
    return `about ${(minutes / 60).toFixed(minutes < 600 ? 1 : 0)} h left`;
  }
}
