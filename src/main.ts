import { runCli } from './cli/run-cli.js';

process.exitCode = await runCli(['serve', ...process.argv.slice(2)]);
