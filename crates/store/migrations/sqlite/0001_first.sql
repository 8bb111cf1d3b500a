-- The first form of the store. Times are milliseconds since the Unix epoch. A migration that was released is
-- never edited: add the next one.

-- Marks the file as ours ("Port" in ASCII), so that another program's database is never migrated by mistake.
PRAGMA application_id = 1349481076;

CREATE TABLE keys (
    id              TEXT PRIMARY KEY NOT NULL,
    label           TEXT NOT NULL UNIQUE,
    principal       TEXT NOT NULL,
    user_id         TEXT NOT NULL,
    tier            TEXT NOT NULL,
    roles           TEXT NOT NULL CHECK (json_valid(roles)),
    rate_per_minute INTEGER CHECK (rate_per_minute >= 0),
    enabled         INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    created_at      INTEGER NOT NULL,
    expires_at      INTEGER,
    revoked_at      INTEGER,
    last_used_at    INTEGER,
    version         INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The slots sort as they are shown: primary, secondary.
CREATE TABLE key_secrets (
    key_id     TEXT NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    slot       TEXT NOT NULL CHECK (slot IN ('primary', 'secondary')),
    hash       TEXT NOT NULL UNIQUE,
    prefix     TEXT NOT NULL,
    expires_at INTEGER,
    PRIMARY KEY (key_id, slot)
) STRICT, WITHOUT ROWID;

-- No reference to keys: a credential that is no key (the local socket) is counted too.
CREATE TABLE usage_by_day (
    key_id TEXT NOT NULL,
    day    TEXT NOT NULL CHECK (day GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]'),
    calls  INTEGER NOT NULL CHECK (calls >= 0),
    PRIMARY KEY (key_id, day)
) STRICT, WITHOUT ROWID;

-- No answer yet: the work is going on, or its process died.
CREATE TABLE ledger (
    principal        TEXT NOT NULL,
    tool             TEXT NOT NULL,
    idempotency_key  TEXT NOT NULL,
    arguments_digest TEXT NOT NULL,
    answer_json      TEXT,
    claimed_at       INTEGER NOT NULL,
    expires_at       INTEGER NOT NULL,
    UNIQUE (principal, tool, idempotency_key)
) STRICT;

CREATE INDEX ledger_by_expiry ON ledger (expires_at);

CREATE TABLE artefacts (
    number      INTEGER PRIMARY KEY,
    handle      TEXT NOT NULL UNIQUE,
    principal   TEXT NOT NULL,
    tool        TEXT NOT NULL,
    total_bytes INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL
) STRICT;

CREATE INDEX artefacts_by_age ON artefacts (created_at);

-- The content in pieces of 65536 bytes (the last one shorter), so that a slice touches no more than it needs:
-- SQLite reads a blob as a whole even for its substr().
CREATE TABLE artefact_pieces (
    artefact INTEGER NOT NULL REFERENCES artefacts (number) ON DELETE CASCADE,
    piece    INTEGER NOT NULL,
    bytes    BLOB NOT NULL CHECK (length(bytes) BETWEEN 1 AND 65536),
    PRIMARY KEY (artefact, piece)
) STRICT;

CREATE TABLE changes (
    number           INTEGER PRIMARY KEY,
    id               TEXT NOT NULL UNIQUE,
    state            TEXT NOT NULL,
    tool             TEXT NOT NULL,
    requester        TEXT NOT NULL,
    requester_owner  TEXT,
    arguments        TEXT NOT NULL,
    arguments_digest TEXT NOT NULL,
    plan_target      TEXT NOT NULL,
    plan_summary     TEXT NOT NULL,
    plan_diff        TEXT NOT NULL,
    plan_risk        TEXT NOT NULL,
    plan_before      TEXT NOT NULL,
    plan_after       TEXT NOT NULL,
    plan_payload     TEXT NOT NULL,
    plan_digest      TEXT NOT NULL,
    rules_hash       TEXT NOT NULL,
    four_eyes        INTEGER NOT NULL CHECK (four_eyes IN (0, 1)),
    created_at       INTEGER NOT NULL,
    expires_at       INTEGER NOT NULL,
    decision         TEXT,
    ended_at         INTEGER,
    outcome          TEXT,
    request_id       TEXT NOT NULL,
    version          INTEGER NOT NULL
) STRICT;

CREATE INDEX changes_by_age ON changes (created_at);
CREATE INDEX changes_by_state ON changes (state, created_at);
CREATE INDEX changes_by_requester ON changes (requester, created_at);

CREATE TABLE change_journal (
    number    INTEGER PRIMARY KEY,
    change_id TEXT NOT NULL REFERENCES changes (id),
    at        INTEGER NOT NULL,
    event     TEXT NOT NULL,
    detail    TEXT NOT NULL
) STRICT;

CREATE INDEX change_journal_by_change ON change_journal (change_id, number);

CREATE TRIGGER change_journal_keeps_its_lines BEFORE UPDATE ON change_journal
BEGIN
    SELECT RAISE(ABORT, 'the journal is only ever added to');
END;

CREATE TRIGGER change_journal_loses_no_line BEFORE DELETE ON change_journal
BEGIN
    SELECT RAISE(ABORT, 'the journal is only ever added to');
END;
