-- Whether there has ever been an event of a source. The key of the table says that there is none, or where one is: a block or
-- two are read, of one column, however many events there are.
SELECT source FROM events WHERE source = {source:String} LIMIT 1
