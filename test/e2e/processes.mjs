import { readFileSync, readdirSync } from 'node:fs';

/** Engine processes of this test: those whose home is ours. */
export function enginesOf(home) {
  return readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid))
    .filter((pid) => {
      try {
        return (
          readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('engine.cjs') &&
          readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(`HOME=${home}`)
        );
      } catch {
        return false;
      }
    })
    .map(Number);
}
