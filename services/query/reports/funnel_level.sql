windowFunnel({window:UInt64})(at,
        name = {steps:Array(String)}[1], name = {steps:Array(String)}[2], name = {steps:Array(String)}[3],
        name = {steps:Array(String)}[4], name = {steps:Array(String)}[5], name = {steps:Array(String)}[6],
        name = {steps:Array(String)}[7], name = {steps:Array(String)}[8], name = {steps:Array(String)}[9],
        name = {steps:Array(String)}[10])
