/**
 * Time by two clocks: either may stand still (a machine asleep) or jump (somebody sets it), and a session's time goes on.
 * @typedef {{ wall: number, steady: number }} Instant
 */

/** The longest delay a timer takes; a longer one fires at once. */
const LONGEST_DELAY = 2 ** 31 - 1;

/** @returns {Instant} */
export const now = () => ({ wall: Date.now(), steady: performance.now() });

/**
 * Milliseconds since then, by the clock that says more.
 * @param {Instant} then
 */
export const since = (then) => Math.max(0, Date.now() - then.wall, performance.now() - then.steady);

/**
 * When the browser noted something down by its steady clock.
 * @param {number} steady
 * @returns {Instant}
 */
export const at = (steady) => ({ wall: Date.now() - performance.now() + steady, steady });

let drift = Date.now() - performance.now();

/** Whether one clock has gone on without the other since this was asked last: the machine slept, or a clock was set. */
export const jumped = () => {
  const before = drift;
  drift = Date.now() - performance.now();
  return Math.abs(drift - before) > 2000;
};

/**
 * A timer that is set anew each time. It may fire early, never late: who sets it looks at the clocks again.
 * @param {() => void} due
 * @returns {(delay?: number) => void} without a delay, it stops.
 */
export const timer = (due) => {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let running;
  return (delay) => {
    clearTimeout(running);
    if (delay != null) running = setTimeout(due, Math.min(Math.max(delay, 0), LONGEST_DELAY));
  };
};
