(user_id = {person:String} OR (user_id = '' AND anonymous_id = {person:String}))
