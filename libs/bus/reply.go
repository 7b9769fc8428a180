package bus

import "strings"

// MayAnswer says whether an answer may go to the subject that somebody named as the reply of a request. NATS does not
// check it: whoever may ask could name the subject of a stream, such as the ledger's, and the answer would be written there
// with the rights of the one who answers. So answers go to inboxes only: _INBOX.>, _INBOX_<user>.> of users that have a
// prefix of their own (see Config.InboxPrefix), and _R_.>, which a server puts there between accounts.
func MayAnswer(reply string) bool {
	first, rest, _ := strings.Cut(reply, ".")
	return rest != "" && (first == "_INBOX" || strings.HasPrefix(first, "_INBOX_") || first == "_R_")
}
