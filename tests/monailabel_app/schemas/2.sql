CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;

CREATE TABLE images (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    path TEXT NOT NULL UNIQUE,              -- below the studies folder
    present INTEGER NOT NULL DEFAULT 0,     -- whether the file was there at the last look
    size INTEGER,
    mtime_ns INTEGER,
    sha256 TEXT,                            -- known once it was scored
    version INTEGER NOT NULL DEFAULT 0,     -- of the final label, 0 without one
    aside TEXT,                             -- 'skipped' or 'flagged'
    note TEXT,
    draw REAL NOT NULL,                     -- place in a fixed random order, in [0, 1)
    info TEXT NOT NULL DEFAULT '{}',
    state TEXT NOT NULL GENERATED ALWAYS AS (
        CASE WHEN NOT present THEN 'gone' WHEN version > 0 THEN 'labelled'
             WHEN aside IS NOT NULL THEN aside ELSE 'open' END
    ) STORED
);
CREATE INDEX images_by_draw ON images (state, draw);
CREATE INDEX images_by_content ON images (sha256);

CREATE TABLE labels (
    image INTEGER NOT NULL REFERENCES images (number) ON DELETE CASCADE,
    tag TEXT NOT NULL,
    file TEXT NOT NULL,                     -- name in labels/<tag>
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    version INTEGER NOT NULL,               -- 0 for maps, which have no versions
    info TEXT NOT NULL,
    PRIMARY KEY (image, tag)
) WITHOUT ROWID;

CREATE TABLE versions (
    image INTEGER NOT NULL REFERENCES images (number) ON DELETE CASCADE,
    tag TEXT NOT NULL,
    version INTEGER NOT NULL,
    suffix TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    time REAL NOT NULL,
    author TEXT,
    client_id TEXT,
    checkpoint_id TEXT,
    base_version INTEGER,
    conflict_with INTEGER,
    key TEXT,                               -- of the client, so that a retry saves nothing
    info TEXT NOT NULL,
    PRIMARY KEY (image, tag, version)
) WITHOUT ROWID;
CREATE UNIQUE INDEX versions_by_key ON versions (image, tag, key) WHERE key IS NOT NULL;

CREATE TABLE leases (
    image INTEGER PRIMARY KEY REFERENCES images (number) ON DELETE CASCADE,
    client_id TEXT NOT NULL,
    expires_at REAL NOT NULL
);

CREATE TABLE checkpoints (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    generation INTEGER NOT NULL DEFAULT -1  -- of the pool when all of it had been scored
);

CREATE TABLE results (
    checkpoint INTEGER NOT NULL REFERENCES checkpoints (number) ON DELETE CASCADE,
    sha256 TEXT NOT NULL,
    scores TEXT NOT NULL,
    unreadable TEXT,
    embedding BLOB,                         -- float32
    information BLOB,                       -- float32, packed upper triangle
    PRIMARY KEY (checkpoint, sha256)
);
CREATE INDEX results_unreadable ON results (checkpoint, sha256) WHERE unreadable IS NOT NULL;

CREATE TABLE ranking (
    checkpoint INTEGER NOT NULL REFERENCES checkpoints (number) ON DELETE CASCADE,
    name TEXT NOT NULL,
    open INTEGER NOT NULL,
    value REAL NOT NULL,
    image INTEGER NOT NULL REFERENCES images (number) ON DELETE CASCADE,
    PRIMARY KEY (checkpoint, name, open, value DESC, image)
) WITHOUT ROWID;
CREATE INDEX ranking_by_image ON ranking (image);

CREATE TABLE plans (
    checkpoint INTEGER NOT NULL REFERENCES checkpoints (number) ON DELETE CASCADE,
    strategy TEXT NOT NULL,
    place INTEGER NOT NULL,
    image INTEGER NOT NULL REFERENCES images (number) ON DELETE CASCADE,
    value REAL NOT NULL,
    PRIMARY KEY (checkpoint, strategy, place)
) WITHOUT ROWID;
CREATE INDEX plans_by_image ON plans (image);

CREATE TABLE plan_states (
    checkpoint INTEGER NOT NULL REFERENCES checkpoints (number) ON DELETE CASCADE,
    strategy TEXT NOT NULL,
    pool TEXT NOT NULL,                     -- what the plan was made from
    PRIMARY KEY (checkpoint, strategy)
) WITHOUT ROWID;

CREATE TABLE tallies (name TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID;

CREATE TRIGGER image_added AFTER INSERT ON images BEGIN
    INSERT INTO tallies VALUES ('state ' || NEW.state, 1)
        ON CONFLICT (name) DO UPDATE SET n = n + 1;
    INSERT INTO tallies VALUES ('generation', 1) ON CONFLICT (name) DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER image_removed AFTER DELETE ON images BEGIN
    UPDATE tallies SET n = n - 1 WHERE name = 'state ' || OLD.state;
END;
CREATE TRIGGER image_moved AFTER UPDATE ON images WHEN OLD.state <> NEW.state BEGIN
    UPDATE tallies SET n = n - 1 WHERE name = 'state ' || OLD.state;
    INSERT INTO tallies VALUES ('state ' || NEW.state, 1)
        ON CONFLICT (name) DO UPDATE SET n = n + 1;
    UPDATE ranking SET open = (NEW.state = 'open') WHERE image = NEW.number;
END;
CREATE TRIGGER image_labelled AFTER UPDATE ON images
    WHEN (OLD.state = 'labelled') <> (NEW.state = 'labelled') BEGIN
    INSERT INTO tallies VALUES ('labelling', 1) ON CONFLICT (name) DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER image_changed AFTER UPDATE ON images
    WHEN OLD.present < NEW.present OR (OLD.sha256 IS NOT NULL AND NEW.sha256 IS NULL) BEGIN
    INSERT INTO tallies VALUES ('generation', 1) ON CONFLICT (name) DO UPDATE SET n = n + 1;
    DELETE FROM ranking WHERE image = NEW.number AND NEW.sha256 IS NULL;
END;
CREATE TRIGGER label_added AFTER INSERT ON labels BEGIN
    INSERT INTO tallies VALUES ('label ' || NEW.tag, 1)
        ON CONFLICT (name) DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER label_removed AFTER DELETE ON labels BEGIN
    UPDATE tallies SET n = n - 1 WHERE name = 'label ' || OLD.tag;
END;
CREATE TRIGGER ranking_added AFTER INSERT ON ranking WHEN NEW.open BEGIN
    INSERT INTO tallies VALUES ('ranked ' || NEW.checkpoint || ' ' || NEW.name, 1)
        ON CONFLICT (name) DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER ranking_removed AFTER DELETE ON ranking WHEN OLD.open BEGIN
    UPDATE tallies SET n = n - 1
        WHERE name = 'ranked ' || OLD.checkpoint || ' ' || OLD.name;
END;
CREATE TRIGGER ranking_opened AFTER UPDATE OF open ON ranking WHEN OLD.open <> NEW.open BEGIN
    UPDATE tallies SET n = n + NEW.open - OLD.open
        WHERE name = 'ranked ' || NEW.checkpoint || ' ' || NEW.name;
    INSERT INTO tallies SELECT 'ranked ' || NEW.checkpoint || ' ' || NEW.name, NEW.open
        WHERE NOT EXISTS (SELECT 1 FROM tallies
            WHERE name = 'ranked ' || NEW.checkpoint || ' ' || NEW.name);
END;
