/** A cache of at most `capacity` things that take memory or native handles. The least recently used goes first, closed. */
export class Cache<T> {
  private readonly entries = new Map<string, { value: Promise<T>; users: number; evicted: boolean }>();
  private readonly capacity: number;
  private readonly close: (value: T) => unknown;

  constructor(capacity: number, close: (value: T) => unknown = () => undefined) {
    this.capacity = capacity;
    this.close = close;
  }

  /**
   * Runs `use` with the thing of that key, made by `make` if it is not there (once, also for callers at the same
   * time; what failed is not kept). It is not closed while it is in use, even when it is evicted meanwhile.
   */
  async use<R>(key: string, make: () => Promise<T>, use: (value: T) => R | Promise<R>): Promise<R> {
    let entry = this.entries.get(key);
    if (entry) {
      this.entries.delete(key);
    } else {
      entry = { value: make(), users: 0, evicted: false };
      const made = entry;
      made.value.catch(() => this.entries.get(key) === made && this.entries.delete(key));
    }
    this.entries.set(key, entry);
    entry.users++;
    this.evict();
    try {
      return await use(await entry.value);
    } finally {
      entry.users--;
      if (entry.evicted) this.dispose(entry);
    }
  }

  /** The thing of that key, for things that need no closing. */
  get(key: string, make: () => Promise<T>): Promise<T> {
    return this.use(key, make, (value) => value);
  }

  private evict(): void {
    for (const [key, entry] of this.entries) {
      if (this.entries.size <= this.capacity) return;
      this.entries.delete(key);
      entry.evicted = true;
      this.dispose(entry);
    }
  }

  private dispose(entry: { value: Promise<T>; users: number }): void {
    if (entry.users > 0) return;
    entry.value.then((value) => this.close(value)).catch(() => undefined);
  }
}
