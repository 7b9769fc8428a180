package enricher

// stepIP takes the address that the client names, since a server that forwards
// its users' events has an address of its own; else that of the request.
func stepIP(r *row) {
	if r.ip = r.ev.IP; len(r.ip) == 0 {
		r.ip = r.doorIP
	}
}
