-- +goose NO TRANSACTION
-- +goose Up

-- One person's history: the columns that it counts, sorted by person, and where in its part each row is, by which ClickHouse
-- finds the rows that it shows. A projection lies inside the part of its rows: it cannot lack one, after any kill -9.
--
-- A person is a user, or a device without one, in one expression, which is not of the table's own key: conditions on user_id
-- made ClickHouse look through the key of the whole table before it came to the projection, twice the CPU of a history.
-- empty(), because ClickHouse writes = '' so before it compares a question with a projection.
--
-- lightweight_mutation_projection_mode: without it, DELETE FROM events is refused.
--
-- Merges build it, not inserts, where ClickHouse can do that, and parts that are there already get it in the background: see
-- lateProjections and oldProjections in libs/eventdb. Figures:
-- docs/decisions/0009-by-person.md.
-- +goose StatementBegin
ALTER TABLE events MODIFY SETTING lightweight_mutation_projection_mode = 'rebuild';
-- +goose StatementEnd
-- +goose StatementBegin
ALTER TABLE events ADD PROJECTION IF NOT EXISTS by_person
(
    SELECT
        source, if(empty(user_id), concat('a', anonymous_id), concat('u', user_id)), anonymous_id, previous_id,
        type, event, timestamp, event_date, _shard, _seq, _part_offset
    ORDER BY source, if(empty(user_id), concat('a', anonymous_id), concat('u', user_id)), timestamp
);
-- +goose StatementEnd

-- +goose Down
ALTER TABLE events DROP PROJECTION IF EXISTS by_person;
