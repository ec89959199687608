ALTER TABLE messages ADD COLUMN written timestamptz NOT NULL DEFAULT now();
