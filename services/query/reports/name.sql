if(event = '', type, event)
