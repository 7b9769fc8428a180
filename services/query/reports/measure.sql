if({measure:String} = 'count', toFloat64(count()),
    if({measure:String} = 'users', toFloat64(uniqExact(person)),
    if({measure:String} = 'sum', sum(amount), avg(amount))))
