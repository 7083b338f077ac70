// Session libraries that split a long session over several cookies, as applications use them. For each line of JSON on the
// standard input, `{ library, what, cookie, size }`, one with what the application answers: `{ user, set_cookies }`.
//
// `what` is `log_in` (as somebody with a profile of `size` bytes), `visit`, `refresh` or `log_out`.
import path from "node:path";
import readline from "node:readline";
import { createRequire } from "node:module";
import { Auth } from "@auth/core";
import { RequestCookies, ResponseCookies } from "@edge-runtime/cookies";
import Credentials from "@auth/core/providers/credentials";
import { createServerClient } from "@supabase/ssr";
import { parse, serialize } from "cookie";

const require = createRequire(import.meta.url);
// next-auth's own handler, which it exports for Next.js alone.
const { AuthHandler } = require(path.join(import.meta.dirname, "node_modules/next-auth/core/index.js"));
// Not among what the package exports, which is for Next.js.
const { StatelessSessionStore } = await import(
    path.join(import.meta.dirname, "node_modules/@auth0/nextjs-auth0/dist/server/session/stateless-session-store.js")
);
const CredentialsV4 = require("next-auth/providers/credentials").default;

const SITE = "http://app.example";
const profile = (size) => "x".repeat(Number(size));
const jwtWithProfile = ({ token, user }) => (user ? { ...token, profile: profile(user.size) } : { ...token, at: Math.random() });
const signIn = ({ size }) => ({ id: "1", email: "ada@example.com", size });
const logger = { error: console.error, warn() {}, debug() {} };

const authJs = {
    basePath: "/auth",
    secret: "s".repeat(32),
    trustHost: true,
    logger,
    providers: [Credentials({ credentials: { size: {} }, authorize: signIn })],
    callbacks: { jwt: jwtWithProfile },
};

async function askAuthJs(what, cookie, size) {
    const ask = async (path, cookies, form) => {
        const headers = { cookie: cookies };
        if (form) headers["content-type"] = "application/x-www-form-urlencoded";
        const body = form && new URLSearchParams(form);
        const answer = await Auth(new Request(SITE + path, { method: form ? "POST" : "GET", headers, body }), authJs);
        return { text: await answer.text(), set_cookies: answer.headers.getSetCookie() };
    };
    if (what === "visit" || what === "refresh") {
        const { text, set_cookies } = await ask("/auth/session", cookie);
        return { user: JSON.parse(text)?.user?.email ?? null, set_cookies: what === "refresh" ? set_cookies : [] };
    }
    const csrf = await ask("/auth/csrf", cookie);
    const csrfCookies = csrf.set_cookies.map((set) => set.split(";")[0]);
    const { csrfToken } = JSON.parse(csrf.text);
    const cookies = [cookie, ...csrfCookies].filter(Boolean).join("; ");
    const path = what === "log_in" ? "/auth/callback/credentials" : "/auth/signout";
    return { user: null, set_cookies: (await ask(path, cookies, { csrfToken, size })).set_cookies };
}

const nextAuth = {
    secret: "s".repeat(32),
    logger,
    providers: [CredentialsV4({ credentials: { size: {} }, authorize: async (given) => signIn(given) })],
    session: { strategy: "jwt" },
    callbacks: { jwt: jwtWithProfile },
};

async function askNextAuth(what, cookie, size) {
    const ask = async (action, cookies, body = {}, providerId = undefined) => {
        const method = Object.keys(body).length > 0 ? "POST" : "GET";
        const req = { host: SITE, action, providerId, method, headers: {}, cookies: parse(cookies), body, query: {} };
        const answer = await AuthHandler({ req, options: nextAuth });
        const set_cookies = (answer.cookies ?? []).map(({ name, value, options }) => serialize(name, value, options));
        return { body: answer.body, set_cookies };
    };
    if (what === "visit" || what === "refresh") {
        const { body, set_cookies } = await ask("session", cookie);
        return { user: body?.user?.email ?? null, set_cookies: what === "refresh" ? set_cookies : [] };
    }
    const csrf = await ask("csrf", cookie);
    const cookies = [cookie, ...csrf.set_cookies.map((set) => set.split(";")[0])].filter(Boolean).join("; ");
    const body = { csrfToken: csrf.body.csrfToken, size, json: "true" };
    const answer = await (what === "log_in" ? ask("callback", cookies, body, "credentials") : ask("signout", cookies, body));
    return { user: null, set_cookies: answer.set_cookies };
}

/** Supabase's service, as far as it is asked. */
function supabaseService(size) {
    const segment = (part) => Buffer.from(JSON.stringify(part)).toString("base64url");
    const in_an_hour = Math.floor(Date.now() / 1000) + 3600;
    const user = { id: "1", aud: "authenticated", email: "ada@example.com", user_metadata: { profile: profile(size) } };
    return async (url) => {
        if (new URL(url).pathname.endsWith("/logout")) return new Response(null, { status: 204 });
        const access_token = `${segment({ alg: "HS256" })}.${segment({ sub: "1", exp: in_an_hour, at: Math.random() })}.c2ln`;
        const session = { access_token, token_type: "bearer", expires_in: 3600, expires_at: in_an_hour };
        return Response.json({ ...session, refresh_token: String(Math.random()), user });
    };
}

async function askSupabase(what, cookie, size) {
    const set_cookies = [];
    const client = createServerClient(SITE, "key", {
        cookieOptions: { name: "sb-app-auth-token" },
        global: { fetch: supabaseService(size) },
        // Node 20 has none, and nobody asks for it here.
        realtime: { transport: class {} },
        cookies: {
            getAll: () => Object.entries(parse(cookie)).map(([name, value]) => ({ name, value })),
            setAll: (all) => set_cookies.push(...all.map(({ name, value, options }) => serialize(name, value, options))),
        },
    });
    const user = (await client.auth.getSession()).data.session?.user.email ?? null;
    if (what === "log_in") await client.auth.signInWithPassword({ email: "ada@example.com", password: "p" });
    if (what === "refresh") await client.auth.refreshSession();
    if (what === "log_out") await client.auth.signOut({ scope: "local" });
    return { user, set_cookies };
}

const auth0 = new StatelessSessionStore({ secret: "s".repeat(64), cookieOptions: {} });

async function askAuth0(what, cookie, size) {
    const request = new RequestCookies(new Headers({ cookie }));
    const headers = new Headers();
    const answer = new ResponseCookies(headers);
    const session = await auth0.get(request);
    const now = Math.floor(Date.now() / 1000);
    const begun = {
        user: { sub: "1", email: "ada@example.com", profile: profile(size) },
        tokenSet: { accessToken: String(Math.random()), expiresAt: now + 3600 },
        internal: { sid: "s", createdAt: session?.internal.createdAt ?? now },
    };
    if (what === "log_in" || (what === "refresh" && session)) await auth0.set(request, answer, begun);
    if (what === "log_out") await auth0.delete(request, answer);
    return { user: session?.user.email ?? null, set_cookies: headers.getSetCookie() };
}

console.warn = () => {};
const libraries = { Auth0: askAuth0, "Auth.js": askAuthJs, "NextAuth.js": askNextAuth, Supabase: askSupabase };
for await (const line of readline.createInterface({ input: process.stdin })) {
    const { library, what, cookie, size } = JSON.parse(line);
    process.stdout.write(`${JSON.stringify(await libraries[library](what, cookie, String(size)))}\n`);
}
