-- +goose NO TRANSACTION
-- +goose Up

-- One person's history: the columns that it counts, sorted by person, and where in its part each row is, by which ClickHouse
-- finds the rows that it shows. A projection lies inside the part of its rows: it cannot lack one, after any kill -9.
-- user_id before anonymous_id serves both sides of a history: rows of a user, and rows of a device without a user.
--
-- lightweight_mutation_projection_mode: without it, DELETE FROM events is refused.
--
-- Merges build it, not inserts, where ClickHouse can do that: see lateProjections in libs/eventdb. Figures:
-- docs/decisions/0009-by-person.md.
-- +goose StatementBegin
ALTER TABLE events MODIFY SETTING lightweight_mutation_projection_mode = 'rebuild';
-- +goose StatementEnd
-- +goose StatementBegin
ALTER TABLE events ADD PROJECTION IF NOT EXISTS by_person
(
    SELECT source, user_id, anonymous_id, previous_id, type, event, timestamp, event_date, _shard, _seq, _part_offset
    ORDER BY source, user_id, anonymous_id, timestamp
);
-- +goose StatementEnd

-- +goose Down
ALTER TABLE events DROP PROJECTION IF EXISTS by_person;
