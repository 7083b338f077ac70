import { at, now } from './clock.js';
import { base } from './options.js';

/**
 * What the server says of the session, and since when that counts: the moment before it was asked.
 * @typedef {object} Status
 * @property {'active' | 'ended' | 'anonymous'} state
 * @property {string | null} [reason]
 * @property {number} expires_in_ms
 * @property {number} idle_ms
 * @property {number} warn_ms
 * @property {boolean} can_extend
 * @property {string | null} session
 * @property {string | null} user
 * @property {import('./clock.js').Instant} asked
 */

/**
 * Asks the server. Whatever is no clear answer is none: no network, a captive portal's page, a redirect to a log-in.
 * @param {string} endpoint
 * @param {RequestInit} [init]
 * @returns {Promise<Status | undefined>}
 */
export const ask = async (endpoint, init) => {
  const asked = now();
  try {
    const answer = await fetch(base + endpoint, {
      cache: 'no-store',
      redirect: 'manual',
      signal: AbortSignal.timeout(10_000),
      ...init,
    });
    if (answer.status === 200 || answer.status === 409) {
      const told = await answer.json();
      if (told.v === 1) return { ...told, asked };
    }
  } catch {
    // Nobody knows.
  }
  return undefined;
};

/**
 * What an answer to the page, or to a request of its scripts, tells by the way.
 * @param {PerformanceResourceTiming | undefined} entry
 * @returns {Status | undefined}
 */
export const readTiming = (entry) => {
  // An answer out of the cache repeats what was true once.
  const timing = entry && entry.transferSize > 0 && entry.serverTiming?.find(({ name }) => name === 'st');
  if (!timing) return undefined;
  const [idle, absolute, warn, session, user] = timing.description.split(' ');
  return {
    state: 'active',
    expires_in_ms: timing.duration,
    idle_ms: +idle,
    warn_ms: +warn,
    can_extend: absolute === '-' || timing.duration < +absolute,
    session,
    user: user === '-' ? null : user,
    asked: at(entry.requestStart || entry.startTime),
  };
};
