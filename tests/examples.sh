#!/usr/bin/env bash
# Starts the examples and speaks to them with curl, as a user would: tests/examples.sh
# Scenarios run side by side, for most of their time is waiting for a session to end; fewer on a slow machine.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

cargo build --quiet --locked --all-features --example axum --example hyper || exit 1
pace=${PACE:-$(tests/pace)} || exit 1
idle=$((2 * pace)) absolute=$((6 * pace)) at_once=$((30 / pace))
programs=${CARGO_TARGET_DIR:-target}/debug/examples
work=$(mktemp -d)
servers=()
trap 'kill "${servers[@]}" 2>/dev/null; wait; rm -rf "$work"' EXIT

ok() { echo "ok - $label: ${scenario//_/ }: $1"; }
failed() { echo "FAILED - $label: ${scenario//_/ }: $1"; }
is() { if [[ $2 == "$3" ]]; then ok "$1"; else failed "$1: expected '$3', got '$2'"; fi; }
has() { if [[ $2 == *"$3"* ]]; then ok "$1"; else failed "$1: no '$3' in '$2'"; fi; }
lacks() { if [[ $2 != *"$3"* ]]; then ok "$1"; else failed "$1: '$3' in '$2'"; fi; }

# start PROGRAM [OPTIONS]: sets $server and $base.
start() {
    local output
    output=$(mktemp "$work/server.XXXXXX")
    "$programs/$1" --listen 127.0.0.1:0 "${@:2}" >"$output" 2>&1 &
    server=$!
    servers+=("$server")
    for _ in {1..600}; do
        base=$(sed -nE 's|^listening on (http://127\.0\.0\.1:[0-9]+)$|\1|p' "$output")
        [[ $base ]] && return
        sleep 0.05
    done
    failed "$1 ${*:2} does not start: $(<"$output")"
    exit 1
}

# ask METHOD PATH [CURL OPTIONS]: sets $status, $head, $body and when it was $answered.
ask() {
    status=$(curl --silent --max-time $((10 * pace)) "$protocol" --request "$1" --header "Cookie: $cookie" \
        --dump-header "$scratch.head" --output "$scratch.body" --write-out '%{http_code}' "${@:3}" "$base$2")
    answered=${EPOCHREALTIME/[.,]/}
    head=$(tr -d '\r' <"$scratch.head")
    # What is encoded is no text.
    { body=$(<"$scratch.body"); } 2>/dev/null
}
visit() { ask GET "$1" --header 'Accept: text/html' "${@:2}"; }
field() { sed -n "s/^$1: //Ip" <<<"$head"; }
new_cookie() { field set-cookie | grep -oE "^${1:-sid}=[0-9a-f]{32}"; }

log_in() {
    cookie=
    ask POST /login --data "user=ada"
    began=$answered
    cookie=$(new_cookie)
    is 'a log-in sets a cookie and leads on' "$status ${cookie%=*}" '303 sid'
}
# after TENTHS: waits until so many tenths of a second, at this pace, have passed since the log-in.
after() {
    local left=$((began + $1 * pace * 100000 - ${EPOCHREALTIME/[.,]/}))
    ((left <= 0)) || sleep "$(printf '%d.%06d' $((left / 1000000)) $((left % 1000000)))"
}
# statuses METHOD PATH TENTHS...: the status of the same request at each of these times.
statuses() {
    local tenths seen=()
    for tenths in "${@:3}"; do
        after "$tenths"
        ask "$1" "$2"
        seen+=("$status")
    done
    echo "${seen[*]}"
}

# What both programs do; they run with --idle 2 --absolute 6, at an ordinary machine's pace.

a_session_in_use_lives_until_the_absolute_timeout() {
    log_in
    is 'a request each second keeps the session alive' "$(statuses GET /api/me 10 20 30 40 50)" '200 200 200 200 200'
    after 62
    ask GET /api/me
    is 'after the absolute timeout it is over' "$status $(field session-ended)" '401 absolute'
}

an_idle_session_ends() {
    log_in
    local old=$cookie
    after 30
    visit /account
    is 'a browser is sent to the log-in page' "$status $(field location)" '303 /login?next=%2Faccount'
    has 'and its cookie is removed' "$(field set-cookie)" 'sid=; '
    ask GET /api/me
    is 'a program hears 401' "$status $(field content-type)" '401 application/problem+json'
    has 'with a challenge' "$(field www-authenticate)" 'Session'
    is 'and the reason' "$(field session-ended)" idle
    visit /
    is 'the public page is there' "$status" 200
    has 'for a visitor' "$body" 'Nobody is signed in'
    visit /login
    is 'the log-in page is there' "$status" 200
    ask POST /login --data user=ada
    is 'a log-in with the dead cookie succeeds' "$status" 303
    cookie=$(new_cookie)
    lacks 'under a new id' "$cookie" "$old"
    ask GET /api/me
    has 'which works' "$status $body" "200 {\"remaining_seconds\":$idle,\"user\":\"ada\"}"
    cookie=$old
    ask GET /api/me
    is 'the old id does not come back' "$status" 401
}

a_made_up_id_is_refused() {
    cookie=sid=0123456789abcdef0123456789abcdef
    ask GET /api/me
    is 'a made-up id is refused' "$status" 401
    is 'without a reason' "$(field session-ended)" ''
    ask GET /api/me
    is 'and refused again: it created nothing' "$status" 401
    visit /account
    is 'a browser is sent to the log-in page for it' "$status $(field location)" '303 /login?next=%2Faccount'
}

a_log_out_ends_the_session() {
    log_in
    ask GET /api/me
    is 'before, it works' "$status" 200
    ask POST /logout
    is 'a log-out leads home' "$status $(field location)" '303 /'
    has 'and removes the cookie' "$(field set-cookie)" 'sid=; '
    ask GET /api/me
    is 'the old id does not work' "$status $(field session-ended)" '401 signed-out'
}

a_log_in_over_a_session_ends_it() {
    log_in
    local old=$cookie
    ask POST /login --data user=grace
    cookie=$(new_cookie)
    ask GET /api/me
    has 'a second log-in changes the user' "$status $body" '"user":"grace"'
    cookie=$old
    ask GET /api/me
    is 'and ends the session of the first' "$status" 401
}

visitors_are_visitors() {
    visit /
    has 'nobody is signed in' "$status $body" 'Nobody is signed in'
    ask GET /api/me
    is 'a visitor is refused' "$status" 401
    has 'with a challenge' "$(field www-authenticate)" 'Session'
    ask GET /nothing
    is 'there is no such page' "$status" 404
    ask POST /login --data user=
    is 'a name is needed to log in' "$status" 422
}

it_speaks_http_2() {
    ask GET / --http2-prior-knowledge
    has 'HTTP/2 is spoken' "$head" 'HTTP/2 200'
}

# What the axum example does besides.

polling_does_not_keep_a_session_alive() {
    log_in
    is 'a session that is only polled ends' "$(statuses GET /poll 5 10 15 22 27)" '200 200 200 401 401'
}

pages_are_protected() {
    local page
    for page in /account /notes; do
        visit $page
        is "a visitor to $page is sent to the log-in page" "$status $(field location)" "303 /login?next=%2F${page#/}"
    done
    for page in /poll /events; do
        ask GET $page
        is "a visitor to $page is refused" "$status" 401
    done
    ask POST /upload --data x
    is 'a visitor cannot upload' "$status" 401
    visit /
    has 'pages run scripts of this site only' "$(field content-security-policy)" "default-src 'none'; script-src 'self'; "
    has 'and none out of text' "$(field content-security-policy)" "require-trusted-types-for 'script'"
    lacks 'limits as short as these leave no time for a warning' "$body" '<script'
    ask GET /style.css
    is 'the stylesheet is public' "$status $(field content-type)" '200 text/css; charset=utf-8'
}

the_log_in_page_says_why() {
    log_in
    local old=$cookie
    visit /login
    lacks 'nothing has ended yet' "$status $body" 'You were signed out'
    after 25
    visit /account
    is 'the reason goes along' "$status $(field set-cookie | grep -o '^ended=[^;]*')" '303 ended=idle'
    cookie='ended=idle'
    visit /login
    has 'and is told' "$status $body" 'You were signed out because of inactivity.'
    has 'once' "$(field set-cookie)" 'ended=; Path=/login; Max-Age=0'
    cookie=$old
    visit /login
    has 'also to whoever comes by themselves' "$status $body" 'You were signed out because of inactivity.'
    cookie=
    visit /login
    lacks 'and to nobody else' "$status $body" 'You were signed out'
}

pages_have_the_script_that_warns() {
    visit /login
    local script
    script=$(grep -o 'src="/_session-timeout/client.js?v=[0-9a-f]*"' <<<"$body" | cut -d'"' -f2)
    has 'it says for how long sessions last' "$status $body" 'for 40 seconds'
    has 'a page has the script' "$status $script" '200 /_session-timeout/client.js?v='
    ask GET "$script"
    is 'it is one' "$status $(field content-type)" '200 text/javascript; charset=utf-8'
    has 'and stays in the browser' "$(field cache-control)" immutable
    ask GET "/_session-timeout/drafts.js?${script#*\?}" --header 'Accept-Encoding: br'
    is 'so does its second part' "$status $(field content-encoding) $(field cache-control)" \
        '200 br public, max-age=31536000, immutable'
    log_in
    visit /account
    has 'a page says when it is to warn' "$(field server-timing)" 'st;dur=40000;desc="40000 '
    ask GET /_session-timeout/status
    has 'and can ask' "$status $body" '"state":"active"'
    visit /notes
    has 'the note has a draft' "$status $body" 'data-session-draft="note"'
}

log_in_leads_to_this_site_only() {
    local next
    for next in //evil.example 'https://evil.example/' '/\evil.example' '/%2Fevil.example' ''; do
        visit '/login' --get --data-urlencode "next=$next"
        has "the form does not keep next=$next" "$body" 'name="next" value="/account"'
        ask POST /login --data user=ada --data-urlencode "next=$next"
        is "next=$next is not followed" "$status $(field location)" '303 /account'
    done
    visit /login --get --data-urlencode 'next=/notes?a="b"'
    has 'the form keeps a safe next' "$body" 'name="next" value="/notes?a=&quot;b&quot;"'
    ask POST /login --data user=ada --data-urlencode 'next=/notes?a=b'
    is 'a safe next is followed' "$status $(field location)" '303 /notes?a=b'
    has 'the cookie is for this site and no script' "$(field set-cookie)" '; Path=/; HttpOnly; SameSite=Lax'
    ask POST /login --data user= --data next=/notes
    has 'an empty name is said to be wrong' "$status $body" 'Enter a name'
    has 'and next is not lost over it' "$body" 'name="next" value="/notes"'
}

names_are_escaped() {
    ask POST /login --data-urlencode 'user=<i>"&'\'
    cookie=$(new_cookie)
    visit /account
    has 'a name is text' "$status $body" '<dd>&lt;i&gt;&quot;&amp;&#39;</dd>'
}

a_note_is_kept() {
    log_in
    ask POST /notes --data-urlencode $'text=\nfor </textarea>'
    is 'a note is taken' "$status $(field location)" '303 /notes'
    visit /notes
    has 'and kept as it was' "$body" $'rows="8">\n\nfor &lt;/textarea&gt;</textarea>'
    ask POST /login --data user=grace
    cookie=$(new_cookie)
    visit /notes
    lacks 'for its user alone' "$status $body" 'for &lt;'
    is 'others have their own' "$status" 200
}

an_upload_may_be_long() {
    log_in
    head -c 5000000 /dev/zero >"$scratch.upload"
    ask POST /upload --header 'Content-Type: application/octet-stream' --data-binary "@$scratch.upload"
    is 'an upload of known length arrives whole' "$status $body" '200 {"length":5000000}'
    ask POST /upload --header 'Transfer-Encoding: chunked' --data-binary "@$scratch.upload"
    is 'and one in chunks' "$status $body" '200 {"length":5000000}'
}

an_upload_longer_than_the_idle_timeout_keeps_its_session() {
    log_in
    head -c 300000 /dev/zero >"$scratch.upload"
    ask POST /upload --limit-rate $((100000 / pace)) --data-binary "@$scratch.upload"
    is 'a slow upload arrives' "$status $body" '200 {"length":300000}'
    is 'it took longer than the idle timeout' "$((${EPOCHREALTIME/[.,]/} - began > idle * 1200000))" 1
    ask GET /api/me
    is 'and the session lives' "$status" 200
}

sessions_elsewhere_can_be_ended() {
    local here there
    ask POST /login --data user=everywhere
    there=$(new_cookie)
    ask POST /login --data user=everywhere
    here=$(new_cookie)
    cookie=$here
    visit /account
    is 'the account page lists both' "$(grep -c '<tr><td>' <<<"$body")" 2
    ask POST /account/end-session --data "tag=$(grep -oE 'name="tag" value="[0-9a-f]+' <<<"$body" | grep -oE '[0-9a-f]+$')"
    is 'one can be ended' "$status $(field location)" '303 /account'
    cookie=$there
    ask GET /api/me
    is 'it is over' "$status $(field session-ended)" '401 revoked'
    cookie=
    ask POST /login --data user=everywhere
    there=$(new_cookie)
    cookie=$here
    ask POST /account/end-others
    is 'all others can be ended' "$status" 303
    ask GET /api/me
    is 'but for this one' "$status" 200
    cookie=$there
    ask GET /api/me
    is 'they are over' "$status" 401
}

events_come_twice_a_second() {
    log_in
    ask GET /events --no-buffer --max-time $((3 * pace))
    is 'it is an event stream' "$status $(field content-type)" '200 text/event-stream'
    is 'with two events a second' "$(grep '^data: ' <<<"$body" | head -n 3 | tr '\n' ' ')" 'data: 1 data: 2 data: 3 '
}

an_event_stream_ends_with_its_session() {
    log_in
    ask GET /events --max-time $((6 * pace))
    local tenths=$(((${EPOCHREALTIME/[.,]/} - began) / pace / 100000))
    is 'it is cut, not torn' "$status $([[ $body == *'data: 4'* ]] && echo whole)" '200 whole'
    is "at the idle timeout of 2 s, at $tenths tenths at this pace" "$((tenths >= 19 && tenths <= 35))" 1
    ask GET /api/me
    is 'which was the end of the session' "$status $(field session-ended)" '401 idle'
}

an_event_stream_lasts_as_long_as_other_requests_renew() {
    log_in
    local tenths began_at=$began scratch_of_stream=$scratch.stream
    (scratch=$scratch_of_stream; ask GET /events --max-time $((8 * pace)); echo "${EPOCHREALTIME/[.,]/}" >"$scratch.ended") &
    local stream=$!
    is 'other requests go on' "$(statuses GET /api/me 10 20 30)" '200 200 200'
    wait "$stream"
    tenths=$((($(<"$scratch_of_stream.ended") - began_at) / pace / 100000))
    is "the stream is cut 2 s after the last of them, at $tenths tenths" "$((tenths >= 49 && tenths <= 65))" 1
    ask GET /api/me
    is 'with the session' "$status $(field session-ended)" '401 idle'
}

a_look_at_the_log_out_page_ends_nothing() {
    log_in
    visit /logout
    has 'GET /logout asks' "$status $body" '<form method="post" action="/logout">'
    ask GET /api/me
    is 'and ends nothing' "$status" 200
}

a_secure_cookie_is_a_host_cookie() {
    ask POST /login --data user=ada
    cookie=$(new_cookie __Host-sid)
    has 'the cookie is __Host-sid and Secure' "$(field set-cookie)" '; Path=/; HttpOnly; SameSite=Lax; Secure'
    ask GET /api/me
    is 'it works' "$status" 200
    ask POST /logout
    has 'and is removed as Secure' "$(field set-cookie)" '__Host-sid=; '
    has 'as browsers demand' "$(field set-cookie)" 'Secure'
    ask GET /api/me
    is 'it is over' "$status" 401
}

it_stops_when_told_to() {
    start axum
    log_in
    ask GET /events --max-time $((8 * pace)) &
    local stream=$!
    sleep "$pace"
    kill -TERM "$server"
    { sleep $((6 * pace)) && kill -KILL "$server"; } 2>/dev/null &
    local impatience=$!
    wait "$server" 2>/dev/null
    is 'SIGTERM is heeded, open stream or not' "$?" 0
    kill "$stream" "$impatience" 2>/dev/null
}

a_deploy_logs_nobody_out() {
    local file=$scratch.snapshot/sessions gone kept
    mkdir -p "${file%/*}"
    start axum --snapshot "$file"
    log_in
    gone=$cookie
    ask POST /logout
    log_in
    kill -TERM "$server"
    wait "$server" 2>/dev/null
    is 'the sessions are in a file for its owner alone' "$(stat -c %a "$file")" 600
    lacks 'that holds no id' "$(<"$file")" "${cookie#*=}"
    start axum --snapshot "$file"
    ask GET /api/me
    is 'the next process knows the session' "$status" 200
    cookie=$gone
    ask GET /api/me
    is 'and the log-out' "$status $(field session-ended)" '401 signed-out'
    log_in
    kept=$cookie
    kill -INT "$server"
    wait "$server" 2>/dev/null
    is 'Ctrl-C keeps them as well' "$(stat -c %a "$file")" 600
    start axum --snapshot "$file"
    log_in
    gone=$cookie
    kill -KILL "$server"
    wait "$server" 2>/dev/null
    start axum --snapshot "$file"
    cookie=$gone
    ask GET /api/me
    is 'a process that is killed takes its own sessions with it' "$status" 401
    cookie=$kept
    ask GET /api/me
    is 'and not those it had taken over' "$status" 200
    ask POST /logout
    kill -KILL "$server"
    wait "$server" 2>/dev/null
    start axum --snapshot "$file"
    cookie=$kept
    ask GET /api/me
    is 'nor does a log-out go with it' "$status $(field session-ended)" '401 signed-out'
    kill -INT "$server"
    wait "$server" 2>/dev/null
    is 'and no other file is left' "$(ls -A "${file%/*}")" sessions
    echo nonsense >"$file"
    is 'a damaged file is refused' "$("$programs/axum" --snapshot "$file" 2>&1 | head -1)" \
        'cannot take over the sessions: the file with the sessions is damaged'
}

# Sets $redis, and where it is: $store.
start_redis() {
    local port
    # Here before anybody looks into it: the shell that becomes the server makes it only once it runs.
    : >"$scratch.redis"
    for _ in {1..20}; do
        port=$((20000 + RANDOM % 12000))
        redis-server --port "$port" --bind 127.0.0.1 --save '' >"$scratch.redis" 2>&1 &
        redis=$!
        for _ in {1..100}; do
            grep -q 'Ready to accept connections' "$scratch.redis" && break 2
            kill -0 "$redis" 2>/dev/null || break
            sleep 0.05
        done
    done
    servers+=("$redis")
    store=redis://127.0.0.1:$port
}

two_processes_share_a_redis() {
    local redis store first
    start_redis
    start axum --store "$store"
    first=$base
    log_in
    start axum --store "$store"
    ask GET /api/me
    is 'the other process knows the session' "$status" 200
    ask GET /account
    has 'and lists it' "$body" 'this one'
    ask POST /logout
    base=$first ask GET /api/me
    is 'what ended at one is over at the other' "$status $(field session-ended)" '401 signed-out'
    log_in
    kill -KILL "$redis"
    wait "$redis" 2>/dev/null
    ask GET /api/me
    is 'while the store is away, nobody is signed out' "$status $(field retry-after)" '503 5'
    lacks 'and the browser keeps its cookie' "$head" 'set-cookie'
}

two_processes_share_a_file_and_their_sessions_outlive_a_crash() {
    local store=sqlite:$scratch.db first_server
    start axum --store "$store"
    first_server=$server
    log_in
    start axum --store "$store"
    ask GET /api/me
    is 'the other process knows the session' "$status" 200
    kill -KILL "$first_server" "$server"
    wait "$first_server" "$server" 2>/dev/null
    start axum --store "$store"
    ask GET /api/me
    is 'after a crash it is there' "$status" 200
    ask GET /account
    has 'and listed' "$body" 'this one'
    ask POST /logout
    start axum --store "$store"
    ask GET /api/me
    is 'what has ended stays so' "$status $(field session-ended)" '401 signed-out'
}

browsers_keep_their_sessions_themselves() {
    export SESSION_KEY=a-key-of-32-bytes-for-this-test--
    start axum --store stateless
    log_in
    cookie=$(field set-cookie | sed 's/;.*//' | paste -sd ';')
    kill -KILL "$server"
    wait "$server" 2>/dev/null
    start axum --store stateless
    ask GET /api/me
    is 'a process that has never seen the session knows it' "$status" 200
    ask GET /account
    is 'the account page has no list' "$status $(grep -c 'this one' <<<"$body")" '200 0'
    SESSION_KEY=another-key-of-32-bytes-for-this-test
    start axum --store stateless
    ask GET /api/me
    is 'one with another key does not' "$status" 401
}

mistakes_on_the_command_line_are_explained() {
    local program said
    for program in axum hyper; do
        said=$("$programs/$program" --ilde 5 2>&1)
        is "$program refuses an unknown option" "$? ${said%%$'\n'*}" '2 unknown option "--ilde"'
        said=$("$programs/$program" --idle soon 2>&1)
        is "$program refuses what is no number" "$? ${said%%$'\n'*}" '2 "soon" is no number of seconds'
        said=$("$programs/$program" --idle 2>&1)
        is "$program misses a value" "$? ${said%%$'\n'*}" '2 --idle needs a value'
        said=$("$programs/$program" --idle 9 --absolute 3 2>&1)
        has "$program refuses limits that cannot be" "$? $said" '2 the idle timeout of 9s is longer'
    done
    said=$("$programs/axum" --store nowhere 2>&1)
    is 'axum refuses an unknown store' "$? ${said%%$'\n'*}" '2 there is no store "nowhere"'
    said=$("$programs/axum" --help)
    has 'axum explains itself' "$? $said" '0 Usage: axum'
}

# run LABEL PROTOCOL SCENARIO...: starts these against $base.
# alone SCENARIO: in a shell of its own, with what it starts.
alone() {
    servers=()
    "$1"
    ((${#servers[@]} == 0)) || kill "${servers[@]}" 2>/dev/null
}

scenarios=()
calls=()
logs=()
run() {
    local label=$1 protocol=$2 cookie='' scenario scratch
    for scenario in "${@:3}"; do
        while (($(jobs -rp | wc -l) - ${#servers[@]} >= at_once)); do wait -n; done
        scratch=$(mktemp "$work/scenario.XXXXXX")
        alone "$scenario" >"$scratch" 2>&1 &
        scenarios+=($!)
        calls+=("$label|$protocol|$base|$scenario")
        logs+=("$scratch")
    done
}

passed() { grep -q '^ok' "$1" && ! grep -qv '^ok' "$1"; }

# again INDEX: what failed in company on a slow machine is tried once more, alone.
again() {
    local label protocol base scenario scratch=${logs[$1]} cookie=''
    IFS='|' read -r label protocol base scenario <<<"${calls[$1]}"
    grep -v '^ok' "$scratch" | sed 's/^/to be tried again, for this machine is slow: /'
    (alone "$scenario" >"$scratch" 2>&1)
}

common=(
    a_session_in_use_lives_until_the_absolute_timeout
    an_idle_session_ends
    a_made_up_id_is_refused
    a_log_out_ends_the_session
    a_log_in_over_a_session_ends_it
    visitors_are_visitors
)
label=start scenario=${0##*/}
start axum --idle $idle --absolute $absolute --warn 0.5
run axum --http1.1 "${common[@]}" polling_does_not_keep_a_session_alive pages_are_protected the_log_in_page_says_why \
    log_in_leads_to_this_site_only names_are_escaped a_note_is_kept an_upload_may_be_long \
    an_upload_longer_than_the_idle_timeout_keeps_its_session sessions_elsewhere_can_be_ended \
    an_event_stream_ends_with_its_session an_event_stream_lasts_as_long_as_other_requests_renew \
    events_come_twice_a_second a_look_at_the_log_out_page_ends_nothing it_stops_when_told_to \
    a_deploy_logs_nobody_out two_processes_share_a_redis \
    two_processes_share_a_file_and_their_sessions_outlive_a_crash browsers_keep_their_sessions_themselves
start axum --idle 40 --warn 25
run 'axum --warn 25' --http1.1 pages_have_the_script_that_warns
start axum --secure
run 'axum --secure' --http1.1 a_secure_cookie_is_a_host_cookie
start hyper --idle $idle --absolute $absolute
run 'hyper, HTTP/1.1' --http1.1 "${common[@]}"
run 'hyper, HTTP/2' --http2-prior-knowledge "${common[@]}" it_speaks_http_2
run 'command line' --http1.1 mistakes_on_the_command_line_are_explained

broken=0
for index in "${!scenarios[@]}"; do
    wait "${scenarios[index]}" || true
done
for index in "${!scenarios[@]}"; do
    passed "${logs[index]}" || ((pace == 1)) || again "$index"
    cat "${logs[index]}"
    passed "${logs[index]}" || broken=$((broken + 1))
done
echo "${#scenarios[@]} scenarios, $broken of them failed"
((broken == 0))
