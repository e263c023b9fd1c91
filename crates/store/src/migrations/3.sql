-- Images that this agent brought to an engine: what nobody needs of them any more is collected, those of others are not.
CREATE TABLE images (
    runtime  TEXT NOT NULL,
    id       TEXT NOT NULL,
    time     INTEGER NOT NULL,
    unwanted INTEGER,
    PRIMARY KEY (runtime, id)
) STRICT;
