-- What the Model Context Protocol needs remembered: tasks, and the sessions of its older revisions.

CREATE TABLE tasks (
    number     INTEGER PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    principal  TEXT NOT NULL,
    tool       TEXT NOT NULL,
    status     TEXT NOT NULL CHECK (status IN ('working', 'input_required', 'completed', 'failed', 'cancelled')),
    message    TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    expires_at INTEGER,
    poll_ms    INTEGER CHECK (poll_ms >= 0),
    result     TEXT,
    error      TEXT,
    change     TEXT,
    version    INTEGER NOT NULL CHECK (version >= 0)
) STRICT;

CREATE INDEX tasks_by_principal ON tasks (principal);
CREATE INDEX tasks_by_expiry ON tasks (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX tasks_unfinished ON tasks (created_at) WHERE status IN ('working', 'input_required');

-- The id itself is a secret of the client's; only its hash is here.
CREATE TABLE sessions (
    id_hash    TEXT NOT NULL UNIQUE,
    principal  TEXT NOT NULL,
    credential TEXT NOT NULL,
    protocol   TEXT NOT NULL,
    initialize TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    used_at    INTEGER NOT NULL
) STRICT;

CREATE INDEX sessions_by_principal ON sessions (principal);
CREATE INDEX sessions_by_use ON sessions (used_at);
