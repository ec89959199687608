import * as pulumi from "@pulumi/pulumi";

/** How often something is said, in seconds. */
const EVERY = 30;

/**
 * Hooks for an operation that takes minutes, in which its provider says nothing: between the two, a line every half a minute says how long
 * it has taken. They never keep the run alive.
 *
 * @param what  that is made or changed, such as `the database cluster`
 * @param usually  how long that takes
 */
export function tellWhile(
  name: string,
  what: string,
  usually: string,
): { begin: pulumi.ResourceHook; end: pulumi.ResourceHook } {
  let timer: NodeJS.Timeout | undefined;
  const end = () => {
    clearInterval(timer);
  };
  const begin = () => {
    end();
    const since = Date.now();
    timer = setInterval(() => {
      const seconds = Math.round((Date.now() - since) / 1000);
      void pulumi.log.info(`${what}: DigitalOcean has been at work for ${seconds} s, ${usually}`);
    }, EVERY * 1000).unref();
  };
  return { begin: new pulumi.ResourceHook(`${name}-begin`, begin), end: new pulumi.ResourceHook(`${name}-end`, end) };
}
