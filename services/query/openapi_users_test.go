package query

import (
	"reflect"

	"github.com/millrace/millrace/services/query/users"
)

// userTypes are the schemas of what is told about a user.
func userTypes() map[string]reflect.Type {
	return map[string]reflect.Type{
		"UserContext": reflect.TypeFor[users.Context](), "UserIDs": reflect.TypeFor[users.IDs](), "UserProfile": reflect.TypeFor[users.Profile](),
		"UserCounts": reflect.TypeFor[users.Counts](), "UserSession": reflect.TypeFor[users.Session](), "UserEvent": reflect.TypeFor[users.Event](),
		"UserSince": reflect.TypeFor[users.Since](), "UserChange": reflect.TypeFor[users.Change](), "UserLack": reflect.TypeFor[users.Lack](),
	}
}
