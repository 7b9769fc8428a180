if({by:String} = '', '',
    if({by:String} = 'name', toString({{name}}),
    if({by:String} = 'map', {by_map:Identifier}[{by_key:String}], toString({by_column:Identifier}))))
