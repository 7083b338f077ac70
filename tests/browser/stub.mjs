// A server whose clock the test moves: pages under a strict Content-Security-Policy, and the endpoints of
// `client_endpoints("/_session-timeout")` as the layer answers them.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';

export const BASE = '/_session-timeout';
const script = (name) => readFileSync(new URL(`../../src/client/${name}`, import.meta.url));
const SCRIPTS = { 'client.js': script('client.min.js'), 'drafts.js': script('drafts.min.js') };
const CSP =
  "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'none'; form-action 'self'; base-uri 'none'; " +
  "require-trusted-types-for 'script'";

const digest = (purpose, text) => createHash('sha256').update(`${purpose}\0${text}`).digest();
export const userDigest = (user) => digest('user', user).subarray(0, 16).toString('base64url');

export const FORM = `<form id="form" data-session-draft="form" action="/save" method="post">
<label for="text">Text</label> <textarea id="text" name="text"></textarea>
<button id="save" name="how" value="plainly">Save</button></form>`;
export const LOGOUT = '<form id="logout" action="/logout" method="post"><button>Leave</button></form>';

export class Stub {
  now = 1_000_000_000;
  idle = 40_000;
  warn = 25_000;
  /** `null`: no absolute limit. */
  absolute = 120_000;
  /** Attributes of the script's tag. */
  attributes = 'data-login-url="/login" data-logout="form#logout"';
  lang = 'en';
  csp = CSP;
  sessions = new Map();
  log = [];
  inFlight = 0;
  /** By endpoint: answers instead of it, unless it returns `undefined`. */
  instead = {};
  pages = new Map();

  constructor(settings = {}) {
    Object.assign(this, settings);
    this.page('/', { body: `<h1>Home</h1><p id="secret">top secret</p>${FORM}${LOGOUT}` });
    this.page('/two', { body: `<h1>Two</h1>${LOGOUT}` });
    this.page('/login', {
      isPublic: true,
      body: (request) => `<h1>Sign in</h1><form id="login" action="/login" method="post">
<input type="hidden" name="next" value="${escape(request.url.searchParams.get('next') ?? '/')}">
<label for="user">Name</label> <input id="user" name="user"><button>Sign in</button></form>`,
    });
  }

  /** `body` may be a function of the request; `attributes`, `head`, `headers`, `status`, `isPublic`. */
  page(path, page) {
    this.pages.set(path, page);
  }

  async start() {
    this.server = createServer((request, response) => void this.#serve(request, response));
    await new Promise((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    this.url = `http://127.0.0.1:${this.server.address().port}`;
    return this;
  }

  async stop() {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  logIn(user, id = `${user ?? 'nobody'}-${this.sessions.size}`) {
    this.sessions.set(id, { id, user, started: this.now, last: this.now, ended: null });
    return id;
  }

  touch(id) {
    const session = this.sessions.get(id);
    if (this.#left(session) > 0) session.last = this.now;
  }

  end(id, reason = 'revoked') {
    this.sessions.get(id).ended ??= reason;
  }

  requests(name, method) {
    const path = name.startsWith('/') ? name : `${BASE}/${name}`;
    return this.log.filter((request) => request.path === path && (!method || request.method === method));
  }

  #left(session) {
    const idle = this.idle - (this.now - session.last);
    const absolute = this.absolute === null ? Infinity : this.absolute - (this.now - session.started);
    if (Math.min(idle, absolute) <= 0) session.ended ??= absolute <= 0 ? 'absolute' : 'idle';
    return session.ended ? 0 : Math.min(idle, absolute);
  }

  status(session) {
    const none = { v: 1, reason: null, limit: null, expires_in_ms: null, idle_ms: null, absolute_in_ms: null };
    const rest = { warn_ms: null, can_extend: false, session: null, user: null };
    if (!session) return { ...none, state: 'anonymous', ...rest };
    const left = this.#left(session);
    if (left <= 0) return { ...none, state: 'ended', ...rest, reason: session.ended };
    const absolute = this.absolute === null ? null : this.absolute - (this.now - session.started);
    const isAbsolute = absolute !== null && absolute <= this.idle - (this.now - session.last);
    return {
      v: 1,
      state: 'active',
      reason: null,
      limit: isAbsolute ? 'absolute' : 'idle',
      expires_in_ms: left,
      idle_ms: this.idle,
      absolute_in_ms: absolute,
      warn_ms: this.warn,
      can_extend: !isAbsolute,
      session: digest('session', session.id).subarray(0, 16).toString('base64url'),
      user: session.user ? userDigest(session.user) : null,
    };
  }

  timing(session) {
    const { expires_in_ms, idle_ms, absolute_in_ms, warn_ms, session: name, user } = this.status(session);
    return `st;dur=${expires_in_ms};desc="${idle_ms} ${absolute_in_ms ?? '-'} ${warn_ms} ${name} ${user ?? '-'}"`;
  }

  async #serve(incoming, response) {
    this.inFlight += 1;
    response.on('close', () => (this.inFlight -= 1));
    let body = '';
    for await (const chunk of incoming) body += chunk;
    const url = new URL(`http://stub${incoming.url.replace(/^\/{2,}/, '/')}`);
    const path = incoming.url.split('?')[0];
    const id = /(?:^|; *)sid=([^;]+)/.exec(incoming.headers.cookie ?? '')?.[1];
    const request = { method: incoming.method, path, url, body, headers: incoming.headers, at: this.now, id };
    this.log.push(request);
    const endpoint = path.startsWith(`${BASE}/`) ? path.slice(BASE.length + 1) : '';
    const answer =
      (await this.instead[endpoint || path]?.(request)) ??
      (endpoint ? this.#endpoint(endpoint, request) : this.#application(request));
    response.writeHead(answer.status ?? 200, answer.headers);
    response.end(answer.body ?? '');
  }

  #endpoint(name, { method, headers, id }) {
    if (name in SCRIPTS) return { headers: { 'Content-Type': 'text/javascript; charset=utf-8' }, body: SCRIPTS[name] };
    const session = this.sessions.get(id);
    const post = name === 'keep-alive' || name === 'sign-out';
    if ((method === 'POST') !== post) return { status: 405 };
    if (name !== 'status' && headers['sec-fetch-site'] !== 'same-origin') return { status: 403 };
    const isLive = session && this.#left(session) > 0;
    if (name === 'draft-key') {
      if (!isLive || !session.user) return { status: 403 };
      const user = headers['session-user'];
      if (user !== undefined && user !== this.status(session).user) return json(this.status(session), 409);
      return json({ v: 1, key: digest('draft', session.user).toString('base64url'), refers: 'referer' in headers });
    }
    if (name === 'keep-alive' && isLive) {
      const user = headers['session-user'];
      if (user !== undefined && user !== this.status(session).user) return json(this.status(session), 409);
      const ago = Math.min(Number(headers['session-idle-for'] ?? 0), this.idle);
      if (!Number.isInteger(ago) || ago < 0) return { status: 400 };
      session.last = Math.max(session.last, this.now - ago);
    }
    if (name === 'sign-out' && isLive) session.ended = 'signed_out';
    return json(this.status(session), 200, name === 'sign-out' ? { 'Set-Cookie': 'sid=; Path=/; Max-Age=0' } : {});
  }

  #application(request) {
    const { method, path, url, id } = request;
    const session = this.sessions.get(id);
    const isLive = session && this.#left(session) > 0;
    if (path === '/log' || path === '/favicon.ico') return { status: 204 };
    if (path === '/probe.js')
      return { headers: { 'Content-Type': 'text/javascript' }, body: this.probe ?? '' };
    if (path === '/login' && method === 'POST') {
      const form = new URLSearchParams(request.body);
      const next = /^\/(?![/\\])/.test(form.get('next') ?? '') ? form.get('next') : '/';
      return see(next, { 'Set-Cookie': `sid=${this.logIn(form.get('user'))}; Path=/; HttpOnly` });
    }
    if (path === '/logout' && method === 'POST') {
      if (isLive) session.ended = 'signed_out';
      return see('/login', { 'Set-Cookie': 'sid=; Path=/; Max-Age=0' });
    }
    const page = this.pages.get(path);
    const headers = {};
    if (isLive) {
      if (path !== '/poll') session.last = this.now;
      headers['Server-Timing'] = this.timing(session);
    } else if (page && !page.isPublic) {
      return see(`/login?next=${encodeURIComponent(path + url.search)}`, session ? { 'Set-Cookie': 'sid=; Path=/; Max-Age=0' } : {});
    } else if (session) {
      headers['Set-Cookie'] = 'sid=; Path=/; Max-Age=0';
    }
    if (path === '/save') return see('/done', headers);
    if (path === '/api' || path === '/poll') return { headers: { ...headers, 'Content-Type': 'application/json' }, body: '{}' };
    if (!page) return { status: 404, headers, body: 'Not Found' };
    return { status: page.status, headers: { ...headers, ...this.#htmlHeaders(), ...page.headers }, body: this.html(page, request) };
  }

  #htmlHeaders() {
    return { 'Content-Type': 'text/html; charset=utf-8', ...(this.csp ? { 'Content-Security-Policy': this.csp } : {}) };
  }

  html(page, request) {
    const body = typeof page.body === 'function' ? page.body(request) : page.body;
    const tag = `<script src="${BASE}/client.js" defer ${page.attributes ?? this.attributes}></script>`;
    return `<!DOCTYPE html><html lang="${page.lang ?? this.lang}"${page.dir ? ` dir="${page.dir}"` : ''}><head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>A page</title>${page.head ?? ''}
${page.tag ?? tag}</head><body><main>${body}</main></body></html>`;
  }
}

export function json(body, status = 200, headers = {}) {
  return { status, headers: { 'Content-Type': 'application/json', 'Cache-Control': 'no-store', ...headers }, body: JSON.stringify(body) };
}

export function see(location, headers = {}) {
  return { status: 303, headers: { ...headers, Location: location } };
}

function escape(text) {
  return text.replace(/&/g, '&amp;').replace(/"/g, '&quot;').replace(/</g, '&lt;');
}
