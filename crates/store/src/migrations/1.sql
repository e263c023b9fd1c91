CREATE TABLE services (
    name    TEXT PRIMARY KEY,
    record  TEXT NOT NULL
) STRICT;

CREATE TABLE desired (
    name    TEXT PRIMARY KEY,
    record  TEXT NOT NULL
) STRICT;

CREATE TABLE observed (
    name    TEXT PRIMARY KEY REFERENCES desired (name) ON DELETE CASCADE,
    record  TEXT NOT NULL
) STRICT;

CREATE TABLE events (
    cursor   INTEGER PRIMARY KEY AUTOINCREMENT,
    time     TEXT NOT NULL,
    runtime  TEXT,
    service  TEXT,
    workload TEXT,
    kind     TEXT NOT NULL,
    message  TEXT NOT NULL,
    details  TEXT NOT NULL
) STRICT;

CREATE TABLE operations (
    id      TEXT PRIMARY KEY,
    started TEXT NOT NULL,
    record  TEXT NOT NULL
) STRICT;

CREATE TABLE cursors (
    runtime TEXT PRIMARY KEY,
    cursor  TEXT NOT NULL
) STRICT;
