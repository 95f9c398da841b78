/** The CPU time that this process has used so far. Unlike the time on a clock, it hardly depends on what else runs. Milliseconds. */
export function cpuTime(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}
