-- Workloads that were forgotten on purpose: what is left of them in an engine is garbage, not to be taken up again.
CREATE TABLE tombstones (
    workload   TEXT PRIMARY KEY,
    service    TEXT NOT NULL,
    generation INTEGER NOT NULL,
    time       INTEGER NOT NULL
) STRICT;
