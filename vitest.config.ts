import { defineConfig } from 'vitest/config';

// Read by onnxruntime from the real environment when it loads: it must be there before the workers are forked.
process.env.ORT_DISABLE_TELEMETRY = '1';

export default defineConfig({
  test: {
    include: ['test/unit/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
