-- The schema of pcv.sqlite, version 4. Comments stand inside CREATE TABLE, which SQLite keeps: see `.schema`.
-- Times are UTC, ISO 8601 with a Z, unless a column's name ends in _ns. Digests are SHA-256 in hexadecimal.

CREATE TABLE environments ( -- What builds ran in: versions, platform, flags. One row for each that differs.
    id          INTEGER PRIMARY KEY,  -- row number
    digest      TEXT NOT NULL UNIQUE, -- of the description: equal environments have equal digests
    description TEXT NOT NULL,        -- JSON object, keys sorted
    first_seen  TEXT NOT NULL         -- when a round first ran in it
) STRICT;

CREATE TABLE targets ( -- Declared entry points, also those that are declared no more.
    id         INTEGER PRIMARY KEY,  -- row number
    entry      TEXT NOT NULL UNIQUE, -- the target's name, models/mlp.py:forward
    args       TEXT NOT NULL,        -- JSON: list of shapes and entries, one entry for all, or null
    file       TEXT,                 -- where it is declared: pcv.toml or the model
    line       INTEGER,              -- the line of the declaration in that file, from 1
    active     INTEGER NOT NULL CHECK (active IN (0, 1)), -- 1 where the last declaration named it
    first_seen TEXT NOT NULL,        -- when it was first declared or judged
    last_seen  TEXT NOT NULL         -- when it was judged last, or named when others were declared than before
) STRICT;

CREATE INDEX targets_active ON targets (entry) WHERE active = 1;

CREATE TABLE reads ( -- What builds read, once for all targets that read it alike.
    id     INTEGER PRIMARY KEY, -- row number
    kind   TEXT NOT NULL,  -- file (also one looked for in vain), env, version, setting or program
    name   ANY NOT NULL,   -- absolute path (or another name of pcvd.core.looks) or variable; a BLOB where the path is not UTF-8
    digest TEXT            -- of what was read; NULL where it is not known
) STRICT;

CREATE UNIQUE INDEX reads_once ON reads (name, kind, ifnull(digest, ''));

CREATE TABLE readers ( -- What a target's builds read in the last round that recorded it.
    target INTEGER PRIMARY KEY REFERENCES targets, -- who read it
    reads  TEXT NOT NULL -- JSON list: row numbers of reads, by kind and name
) STRICT;

CREATE TABLE discoveries ( -- What a model file declared when it was imported to be asked, where that went well.
    file    TEXT NOT NULL PRIMARY KEY, -- relative to the root
    targets TEXT NOT NULL, -- JSON list of objects: its targets
    reads   TEXT NOT NULL  -- JSON list: row numbers of what it read meanwhile, and of what builds rest on
) STRICT;

CREATE VIEW dependencies (target, kind, name, digest) AS -- What targets read, read by read.
    SELECT readers.target, reads.kind, reads.name, reads.digest
    FROM readers, json_each(readers.reads) AS listed JOIN reads ON reads.id = listed.value;

CREATE TABLE rounds ( -- One validation of a set of targets, recorded when it had ended.
    id          INTEGER PRIMARY KEY, -- row number: rounds are ordered by it, not by time
    started_at  TEXT NOT NULL,       -- when its first build was submitted
    finished_at TEXT NOT NULL,       -- when its verdicts stood
    why         TEXT NOT NULL,       -- what caused it, for people
    cohort      TEXT NOT NULL,       -- JSON list: the targets that one process built, in order
    environment INTEGER NOT NULL REFERENCES environments, -- what the reference ran in
    outcome     TEXT NOT NULL        -- the gravest of its verdicts; inconclusive where it has none
) STRICT;

CREATE TABLE runs ( -- One schedule carried out over a round's cohort.
    id             INTEGER PRIMARY KEY, -- row number
    round          INTEGER NOT NULL REFERENCES rounds, -- the round it is part of
    schedule       TEXT NOT NULL,    -- serial, control, threads:N or processes:N; or the variation that was tried
    submission     TEXT NOT NULL,    -- JSON list: targets as builds were submitted, copies included
    zygote         TEXT NOT NULL,    -- the process that the workers were forked from
    hash_seed      INTEGER NOT NULL, -- PYTHONHASHSEED of that process
    affinity       TEXT NOT NULL,    -- JSON list: the CPUs that the workers might use
    environments   TEXT NOT NULL,    -- JSON list: digest of each worker's environment
    culprits       TEXT NOT NULL,    -- JSON list: targets in flight when a worker died or ran past a deadline
    peak_in_flight INTEGER NOT NULL, -- the largest number of builds under way at one moment
    wall_ns        INTEGER NOT NULL  -- nanoseconds during which builds were under way
) STRICT;

CREATE INDEX runs_round ON runs (round);

CREATE TABLE builds ( -- One target built once under one schedule. Pruned with time; verdicts stay.
    id         INTEGER PRIMARY KEY, -- row number
    run        INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE, -- the run it is part of
    target     INTEGER NOT NULL REFERENCES targets, -- what was built
    copy       INTEGER NOT NULL, -- 0 for the first build of the target in its run, 1 for the next
    worker     INTEGER NOT NULL, -- process id of the worker
    thread     TEXT NOT NULL,    -- name of the thread that built
    began_ns   INTEGER NOT NULL, -- monotonic clock, before tracing
    lowered_ns INTEGER NOT NULL, -- monotonic clock, when StableHLO was there; 0 where it never was
    compiling_ns INTEGER NOT NULL, -- monotonic clock, when the compiler was called; 0 where it never was
    ended_ns   INTEGER NOT NULL, -- monotonic clock, when the executable was there; 0 where it never was
    inputs     TEXT NOT NULL,    -- digest of the argument values; empty where they were never made
    repeats    INTEGER CHECK (repeats IN (0, 1)), -- 1: a second run gave the same bits; NULL: not run
    failure    TEXT              -- JSON object: why the build gave nothing; NULL where it succeeded
) STRICT;

CREATE INDEX builds_run ON builds (run, target);
CREATE INDEX builds_target ON builds (target);

CREATE TABLE kernels ( -- What a build is of that is of no whole target: one kernel, or all of them, linked.
    build    INTEGER PRIMARY KEY REFERENCES builds ON DELETE CASCADE, -- the build
    name     TEXT NOT NULL,   -- kernel_ and the beginning of its digest; or linked
    digest   TEXT NOT NULL,   -- tells equal programs from others; empty where it is linked
    function TEXT NOT NULL,   -- the user's name for it, or empty
    file     TEXT,            -- where it comes from; relative to the root where it lies under it
    line     INTEGER,         -- the line in that file, from 1
    uses     INTEGER NOT NULL -- the steps of the program in which it runs; of all kernels where it is linked
) STRICT;

CREATE TABLE stages ( -- What one build left at one stage: an artifact, or the reason why there is none.
    id        INTEGER PRIMARY KEY, -- row number
    build     INTEGER NOT NULL REFERENCES builds ON DELETE CASCADE, -- the build it came from
    stage     TEXT NOT NULL, -- jaxpr, stablehlo, hlo, llvm, object, executable, output; or locations
    raw       TEXT,          -- digest of the bytes as the compiler gave them; NULL where absent
    canonical TEXT,          -- digest after named rules removed what carries no meaning; NULL where absent
    absent    TEXT,          -- why there is no artifact; NULL where there is one
    size      INTEGER NOT NULL, -- raw bytes of all parts
    UNIQUE (build, stage),
    CHECK ((raw IS NULL) = (canonical IS NULL) AND (raw IS NULL) = (absent IS NOT NULL))
) STRICT;

CREATE TABLE parts ( -- The pieces of an artifact: an object file, a leaf of the outputs, a stage's text.
    stage     INTEGER NOT NULL REFERENCES stages ON DELETE CASCADE, -- the artifact it belongs to
    position  INTEGER NOT NULL, -- place within the artifact, from 0
    name      TEXT NOT NULL,    -- the kernel, the leaf's path, or the file
    label     TEXT NOT NULL,    -- what the bytes are where the name does not tell, f32[32,64]
    raw       TEXT NOT NULL,    -- digest of the bytes as the compiler gave them
    canonical TEXT NOT NULL,    -- digest after the rules
    size      INTEGER NOT NULL, -- raw bytes
    rules     TEXT NOT NULL,    -- JSON list: the rules that changed something
    PRIMARY KEY (stage, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE verdicts ( -- The verdict on each target of each round, kept for good.
    id          INTEGER PRIMARY KEY, -- row number: a target's latest verdict has its largest
    round       INTEGER NOT NULL REFERENCES rounds,  -- the round that gave it
    target      INTEGER NOT NULL REFERENCES targets, -- what was judged
    verdict     TEXT NOT NULL,    -- the word
    reason      TEXT,             -- why, where the word alone does not tell
    first_stage TEXT,             -- the first stage that differs; NULL where none does
    differing   TEXT NOT NULL,    -- JSON list: all stages that differ
    detail      TEXT NOT NULL,    -- JSON object: the whole judgement, as status shows it
    checked_at  TEXT NOT NULL,    -- when the verdict stood
    UNIQUE (round, target),
    CHECK (verdict IN ('agree', 'equivalent', 'diverged', 'unstable', 'inconclusive'))
) STRICT;

CREATE INDEX verdicts_target ON verdicts (target);
