import { availableParallelism } from 'node:os';

/**
 * Three tiers, told apart by the files' names: `*.unit.spec.ts` touches nothing outside the process,
 * `*.medium.spec.ts` runs on real databases, `*.e2e.spec.ts` starts the built programs.
 */
const tier = (name) => ({
  displayName: name,
  testMatch: [`<rootDir>/**/*.${name}.spec.ts`],
  testPathIgnorePatterns: ['/node_modules/', '/dist/'],
  modulePathIgnorePatterns: ['<rootDir>/dist/'],
  extensionsToTreatAsEsm: ['.ts'],
  // Not of a package's data: there is a metadata.min.json.js beside the JSON itself.
  moduleNameMapper: { '^(\\.{1,2}/.*(?<!\\.json))\\.js$': '$1' },
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      {
        jsc: {
          target: 'es2022',
          parser: { syntax: 'typescript', decorators: true },
          transform: {
            legacyDecorator: true,
            decoratorMetadata: true,
            useDefineForClassFields: false,
          },
        },
        module: { type: 'es6' },
      },
    ],
  },
});

// In development graphql asks of each value whether it is of another copy of itself, which takes a sixth of the time.
process.env.NODE_ENV = 'production';

export default {
  projects: ['unit', 'medium', 'e2e'].map(tier),
  globalSetup: '<rootDir>/test/helpers/find-databases.js',
  testSequencer: '<rootDir>/test/helpers/slowest-first.js',
  reporters: ['default', '<rootDir>/test/helpers/left-out-reporter.js'],
  // One more than there are cores: most tests wait for a database or a process of their own.
  maxWorkers: availableParallelism() + 1,
  // No test asserts a time; this one only ends what hangs.
  testTimeout: 180_000,
};
