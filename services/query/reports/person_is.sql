(user_id = {person:String} OR (user_id = '' AND anonymous_id = {person:String}))
    AND if(empty(user_id), concat('a', anonymous_id), concat('u', user_id)) IN (concat('a', {person:String}), concat('u', {person:String}))
