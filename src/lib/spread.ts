/** A random time around `ms`, up to this share of it shorter or longer: replicas that start together do not ask together. */
export const spread = (ms: number, share: number): number => ms * (1 + share * (2 * Math.random() - 1));
