const LOOK_EVERY_MS = 250;

/**
 * Resolves when the shell between npx and the gateway has ended. A SIGTERM to npx ends that shell, which does not pass the
 * signal on, so without this the gateway would keep running. Never resolves if the gateway was not started by npx.
 */
export function launcherGone(): Promise<string> {
  return new Promise((resolve) => {
    if (process.env.npm_command !== "exec") return;
    const launcher = process.ppid;
    const look = setInterval(() => {
      if (process.ppid === launcher) return;
      clearInterval(look);
      resolve("npx is gone");
    }, LOOK_EVERY_MS);
    look.unref();
  });
}
