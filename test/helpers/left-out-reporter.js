/** Says in one line, after the summary, what the tests did not cover on this machine. */
export default class LeftOutReporter {
  onRunComplete() {
    if (process.env.SEGUE_TEST_LEFT_OUT !== undefined)
      process.stderr.write(`\n${process.env.SEGUE_TEST_LEFT_OUT}\n`);
  }
}
