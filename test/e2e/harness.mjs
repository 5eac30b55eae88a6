/** Named checks with TAP-like lines, and waiting without fixed pauses. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** All limits are multiplied by this: they are for machines that do nothing else. */
const PATIENCE = Number(process.env.SECATEUR_E2E_PATIENCE ?? 3);

/** Polls until `probe` returns something truthy. Errors of the probe count as "not yet". */
export async function until(what, probe, { timeout = 20_000, interval = 100 } = {}) {
  const limit = timeout * PATIENCE;
  const end = performance.now() + limit;
  let last;
  for (;;) {
    try {
      const value = await probe();
      if (value) return value;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (performance.now() > end) {
      throw new Error(
        `${what}: not within ${limit / 1000} s${last ? ` (${String(last.message).split('\n')[0]})` : ''}`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, interval));
  }
}

export class Harness {
  passed = 0;
  failed = 0;
  started = performance.now();

  /** @param artifacts folder for screenshots and logs */
  constructor(artifacts) {
    this.artifacts = artifacts;
    mkdirSync(artifacts, { recursive: true });
  }

  /** What a failed check leaves behind; set as soon as there is a window. */
  evidence = async () => ({});

  get seconds() {
    return ((performance.now() - this.started) / 1000).toFixed(1);
  }

  /**
   * Runs one check. A failure is reported and kept as evidence; the checks after it still run.
   * @returns the check's value, or undefined when it failed
   */
  async check(name, body) {
    const number = this.passed + this.failed + 1;
    try {
      const value = await body();
      this.passed++;
      console.log(`ok ${number} - ${name} # ${this.seconds} s`);
      return value ?? true;
    } catch (error) {
      this.failed++;
      console.log(`not ok ${number} - ${name} # ${this.seconds} s`);
      for (const line of String(error.stack ?? error)
        .split('\n')
        .slice(0, 12))
        console.log(`  ${line}`);
      await this.keepEvidence(number, name).catch((why) => console.log(`  no evidence kept: ${why.message}`));
      return undefined;
    }
  }

  async keepEvidence(number, name) {
    const stem = `failure-${number}-${name.replace(/[^a-z0-9]+/gi, '-').slice(0, 50)}`;
    for (const [kind, content] of Object.entries(await this.evidence())) {
      if (content) writeFileSync(join(this.artifacts, `${stem}.${kind}`), content);
    }
    console.log(`  evidence: ${join(this.artifacts, stem)}.*`);
  }

  /** The closing line; true when nothing failed. */
  summary() {
    console.log(`# ${this.seconds} s`);
    console.log(`${this.passed} passed, ${this.failed} failed`);
    return this.failed === 0;
  }
}
