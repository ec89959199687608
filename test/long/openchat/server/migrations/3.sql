CREATE TABLE reactions (message bigint REFERENCES messages, sign text);
ALTER TABLE message ADD COLUMN reactions int;
