-- Highest number that a snapshot of a workload ever had: one that was removed does not give it to another.
CREATE TABLE snapshot_numbers (
    repository TEXT PRIMARY KEY,
    number     INTEGER NOT NULL
) STRICT;
