#!/usr/bin/env node
import { runCli } from './cli/run-cli.js';

// Whoever reads the output may have seen enough: `segue quarantine list | head`.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(1);
});

process.exitCode = await runCli(process.argv.slice(2));
