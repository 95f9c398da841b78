// Arithmetic on measurements.

/** @param {number[]} values at least one */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = Number(sorted[middle]);
  return sorted.length % 2 === 1 ? upper : (Number(sorted[middle - 1]) + upper) / 2;
}

/**
 * The ratio of the rates of two servers that were measured in turns: the median of the rounds' ratios, because other work
 * of the machine slows both servers of a round equally.
 *
 * @param {Rated} of
 * @param {Rated} by
 */
export function rateBy(of, by) {
  return median(of.rounds.map(({ rate }, round) => rate / Number(by.rounds[round]?.rate)));
}

/** @typedef {{ rate: number, rounds: { rate: number }[] }} Rated */

/** How much `y` rises for one of `x`, by least squares. @param {{ x: number, y: number }[]} points at least two */
export function slope(points) {
  const mean = (/** @type {number[]} */ values) =>
    values.reduce((sum, value) => sum + value, 0) / values.length;
  const x = mean(points.map((point) => point.x));
  const y = mean(points.map((point) => point.y));
  const covariance = points.reduce((sum, point) => sum + (point.x - x) * (point.y - y), 0);
  const variance = points.reduce((sum, point) => sum + (point.x - x) ** 2, 0);
  return covariance / variance;
}
