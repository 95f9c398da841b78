/** Milliseconds. */
const LOOK_EVERY = 250;

/**
 * Resolves when the shell that npx has put between itself and the gateway is gone: it dies of a SIGTERM to npx
 * without passing it on, and the gateway would run on with nobody to stop it. Never resolves where npx is not in play.
 */
export function launcherGone(): Promise<string> {
  return new Promise((resolve) => {
    if (process.env.npm_command !== "exec") return;
    const launcher = process.ppid;
    const look = setInterval(() => {
      if (process.ppid === launcher) return;
      clearInterval(look);
      resolve("npx is gone");
    }, LOOK_EVERY);
    look.unref();
  });
}
