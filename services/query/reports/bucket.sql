toInt32(
    if({interval:String} = 'minute', intDiv(toUnixTimestamp64Milli(timestamp), 60000) - intDiv(toUnixTimestamp64Milli({origin:DateTime64(3, 'UTC')}), 60000),
    if({interval:String} = 'hour', intDiv(toInt64(toUnixTimestamp(toStartOfHour(timestamp, {zone:String}))) - toInt64(toUnixTimestamp(toStartOfHour({origin:DateTime64(3, 'UTC')}, {zone:String}))), 3600),
    if({interval:String} = 'day', toInt64(toRelativeDayNum(timestamp, {zone:String})) - toInt64(toRelativeDayNum({origin:DateTime64(3, 'UTC')}, {zone:String})),
    if({interval:String} = 'week', toInt64(toRelativeWeekNum(timestamp, {zone:String})) - toInt64(toRelativeWeekNum({origin:DateTime64(3, 'UTC')}, {zone:String})),
        toInt64(toRelativeMonthNum(timestamp, {zone:String})) - toInt64(toRelativeMonthNum({origin:DateTime64(3, 'UTC')}, {zone:String})))))))
