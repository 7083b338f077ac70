import { at, now } from './clock.js';
import { onSite } from './dom.js';
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
 * @property {number} [status] of the answer, if it is an error's; else 200
 * @property {boolean} [isFresh] the server has just said so: out of a cache, it says whose the answer is, and no time
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

/** How the layer describes a session; what others call `st` is theirs. */
const MARK = /^(\d+) (\d+|-) (\d+) ([\w-]{22}) ([\w-]{22}|-)(?: ([45]\d\d))?$/;

/**
 * What an answer to the page, or to a request of its scripts, tells by the way.
 * @param {PerformanceResourceTiming | undefined} entry
 * @returns {Status | undefined}
 */
export const readTiming = (entry) => {
  // No other site tells.
  if (!entry || !onSite(entry.name)) return undefined;
  // A cache, of the browser or of a service worker, repeats what was true once. (An answer that the server only confirmed
  // counts as none of its body.)
  const isFresh =
    !entry.workerStart && !(/** @type {any} */ (entry).deliveryType) && entry.transferSize > entry.encodedBodySize;
  for (const { name, duration, description } of entry.serverTiming ?? []) {
    const mark = name === 'st' && MARK.exec(description);
    if (mark) {
      const [, idle, absolute, warn, session, user, error = 200] = mark;
      return {
        state: 'active',
        expires_in_ms: duration,
        idle_ms: +idle,
        warn_ms: +warn,
        can_extend: absolute === '-' || duration < +absolute,
        session,
        user: user === '-' ? null : user,
        asked: at(entry.requestStart || entry.startTime),
        isFresh,
        status: +error,
      };
    }
  }
  return undefined;
};
