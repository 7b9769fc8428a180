if(user_id = '', anonymous_id, user_id)
