// What a browser has after an answer, by tough-cookie, which follows RFC 6265 to the letter: for each line with a JSON list of
// `Set-Cookie` fields one with a list of the values under `sid`, on whatever path.
import readline from "node:readline";
import { CookieJar } from "tough-cookie";

for await (const line of readline.createInterface({ input: process.stdin })) {
    const jar = new CookieJar();
    for (const field of JSON.parse(line)) {
        jar.setCookieSync(field, "http://app.example/account", { ignoreError: true });
    }
    const all = await jar.store.getAllCookies();
    const values = all.filter((cookie) => cookie.key === "sid" && cookie.TTL() > 0).map((cookie) => cookie.value);
    process.stdout.write(`${JSON.stringify(values.filter((value) => value !== ""))}\n`);
}
