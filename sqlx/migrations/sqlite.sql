CREATE TABLE IF NOT EXISTS "session_timeout" (
    key        BLOB    PRIMARY KEY NOT NULL, -- a hash, of which no session id can be made
    record     BLOB    NOT NULL,
    expires_at INTEGER NOT NULL              -- seconds since 1970
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS "session_timeout_expires_at" ON "session_timeout" (expires_at);

CREATE TABLE IF NOT EXISTS "session_timeout_owner" (
    owner    BLOB    NOT NULL, -- a hash, too
    session  BLOB    NOT NULL,
    check_at INTEGER NOT NULL, -- when to look whether the session is over
    PRIMARY KEY (owner, session)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS "session_timeout_owner_due" ON "session_timeout_owner" (owner, check_at);
CREATE INDEX IF NOT EXISTS "session_timeout_due" ON "session_timeout_owner" (check_at);
