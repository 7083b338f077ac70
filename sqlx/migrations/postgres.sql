CREATE TABLE IF NOT EXISTS "session_timeout" (
    key        bytea       PRIMARY KEY, -- a hash, of which no session id can be made
    record     bytea       NOT NULL,
    expires_at timestamptz NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX IF NOT EXISTS "session_timeout_expires_at" ON "session_timeout" (expires_at);

CREATE TABLE IF NOT EXISTS "session_timeout_owner" (
    owner    bytea       NOT NULL, -- a hash, too
    session  bytea       NOT NULL,
    check_at timestamptz NOT NULL, -- when to look whether the session is over
    PRIMARY KEY (owner, session)
);
CREATE INDEX IF NOT EXISTS "session_timeout_owner_due" ON "session_timeout_owner" (owner, check_at);
CREATE INDEX IF NOT EXISTS "session_timeout_due" ON "session_timeout_owner" (check_at);
