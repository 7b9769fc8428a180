(empty({sources:Array(String)}) OR source IN {sources:Array(String)})
    AND event_date >= toDate32({from:DateTime64(3, 'UTC')})
    AND event_date <= toDate32(subtractMilliseconds({to:DateTime64(3, 'UTC')}, 1))
    AND timestamp >= {from:DateTime64(3, 'UTC')} AND timestamp < {to:DateTime64(3, 'UTC')}
    AND (empty({events:Array(String)}) OR event IN {events:Array(String)} OR (event = '' AND type IN {events:Array(String)}))
    AND ({sample:UInt32} = 10000 OR xxHash64({{person}}) % 10000 < {sample:UInt32}){{where}}
