import type { Progress } from '../../protocol.ts';

/**
 * Lets through at most one batch of progress per interval. Within an interval the latest message wins, per group for
 * partial ranks, so that the last state of every group arrives. `flush` sends what is held back: call it before the
 * answer, so that nothing arrives after it.
 */
export class ProgressThrottle {
  private readonly held = new Map<string, Progress>();
  private timer: NodeJS.Timeout | null = null;
  private last = -Infinity;
  private readonly send: (progress: Progress) => void;
  private readonly intervalMs: number;

  constructor(send: (progress: Progress) => void, intervalMs = 60) {
    this.send = send;
    this.intervalMs = intervalMs;
  }

  push(progress: Progress): void {
    const key = progress.partial && 'id' in progress.partial ? progress.partial.id : '';
    // Deleted first, so that the newest message is also the last one of the batch.
    this.held.delete(key);
    this.held.set(key, progress);
    const wait = this.last + this.intervalMs - performance.now();
    if (wait <= 0) this.flush();
    else this.timer ??= setTimeout(() => this.flush(), wait);
  }

  flush(): void {
    if (this.timer) clearTimeout(this.timer);
    this.timer = null;
    this.last = performance.now();
    const batch = [...this.held.values()];
    this.held.clear();
    for (const progress of batch) this.send(progress);
  }
}
