// What Node's parsers read, and the libraries that join chunks: line by line as parsers.py.
import { createRequire } from "node:module";
import path from "node:path";
import readline from "node:readline";
import { combineChunks } from "@supabase/ssr";
import * as cookie1 from "cookie";
import * as cookie04 from "cookie-0.4";
import * as cookie05 from "cookie-0.5";
import * as cookie07 from "cookie-0.7";
import lightcookie from "lightcookie";

const require = createRequire(import.meta.url);
// Not among what the packages export.
const inside = (name, file) => path.join(import.meta.dirname, "node_modules", name, file);
const { SessionStore: AuthJs } = await import(inside("@auth/core", "lib/utils/cookie.js"));
const { SessionStore: NextAuth } = require(inside("next-auth", "core/lib/cookie.js"));

const { getChunkedCookie } = await import(inside("@auth0/nextjs-auth0", "dist/server/cookies.js"));

// It takes a pair without "=" for a name and a value; it decodes, and goes on with the next field where that failed.
const light = (field) => {
    try {
        const pairs = Object.entries(lightcookie.parse(field)).filter(([, value]) => value !== null);
        return Object.fromEntries(pairs.map(([name, value]) => [name, value.trim()]));
    } catch {
        lightcookie.parse("");
        return {};
    }
};

const parsers = {
    "cookie 0.4": cookie04.parse ?? cookie04.default.parse,
    "cookie 0.5": cookie05.parse ?? cookie05.default.parse,
    "cookie 0.7": cookie07.parse ?? cookie07.default.parse,
    "cookie 1": cookie1.parse,
    lightcookie: light,
};
const joiners = {
    "Auth.js": (name, cookies) => new AuthJs({ name }, cookies, console).value,
    "NextAuth.js": (name, cookies) => new NextAuth({ name }, { cookies }, console).value,
    Auth0: (name, cookies) => {
        const all = Object.entries(cookies).map(([name, value]) => ({ name, value }));
        const jar = { get: (name) => all.find((cookie) => cookie.name === name), getAll: () => all };
        return getChunkedCookie(name, jar) ?? getChunkedCookie("appSession", jar, true);
    },
    Supabase: (name, cookies) => combineChunks(name, async (chunk) => cookies[chunk] ?? null),
};

const hex = (text) => Buffer.from(text, "utf-8").toString("hex");
for await (const line of readline.createInterface({ input: process.stdin })) {
    const [name, bytes, joiner] = line.split("\t");
    const field = Buffer.from(bytes, "hex").toString("latin1");
    const found = [];
    for (const [parser, parse] of Object.entries(parsers)) {
        const cookies = parse(field);
        if (joiner) {
            const joined = await joiners[joiner](name, cookies);
            if (joined) found.push(`${joiner}, ${parser}:${hex(joined)}`);
        } else if (Object.hasOwn(cookies, name)) {
            found.push(`${parser}:${hex(cookies[name])}`);
        }
    }
    process.stdout.write(`${found.join("\t")}\n`);
}
