// Checks every group of the zoo and writes docs/coverage.md.
import { spawnSync } from 'node:child_process';

const run = spawnSync('npx', ['vitest', 'run', 'test/unit/units/coverage.test.ts'], {
  stdio: 'inherit',
  env: { ...process.env, SECATEUR_COVERAGE: 'write' },
  shell: process.platform === 'win32',
});
process.exit(run.status ?? 1);
