package enricher

import "bytes"

// stepURL cuts the page's address into path, host and search, where the client
// has not named them itself, and the referrer into its host.
func stepURL(r *row) {
	e := r.ev
	host, path, search := cutURL(e.PageURL)
	r.host = r.lower(host)
	r.path, r.search = path, search
	if len(e.PagePath) > 0 {
		r.path = e.PagePath
	}
	if len(e.PageSearch) > 0 {
		r.search = e.PageSearch
	}
	host, _, _ = cutURL(e.PageReferrer)
	r.referrerHost = r.lower(host)
}

// rootPath is what a browser asks for when nothing follows the host.
var rootPath = []byte("/")

// cutURL finds the parts of a URL (RFC 3986, appendix B) without judging it:
// the host without user and port, the path, and the query with its question
// mark. What is missing is empty.
func cutURL(url []byte) (host, path, search []byte) {
	if i := bytes.IndexByte(url, '#'); i >= 0 {
		url = url[:i]
	}
	if i := bytes.IndexByte(url, '?'); i >= 0 {
		url, search = url[:i], url[i:]
	}
	rest, hasHost := afterScheme(url)
	if !hasHost {
		return nil, rest, search
	}
	end := bytes.IndexByte(rest, '/')
	if end < 0 {
		end = len(rest)
	}
	if i := bytes.IndexByte(rest[:end], '\\'); i >= 0 {
		end = i
	}
	host, path = rest[:end], rootPath
	if end < len(rest) {
		path = rest[end:]
	}
	if i := bytes.LastIndexByte(host, '@'); i >= 0 {
		host = host[i+1:]
	}
	if len(host) > 0 && host[0] == '[' { // IPv6
		if i := bytes.IndexByte(host, ']'); i > 0 {
			return host[:i+1], path, search
		}
	}
	if i := bytes.IndexByte(host, ':'); i >= 0 {
		host = host[:i]
	}
	return host, path, search
}

// afterScheme returns what follows `scheme://` or `//`; without them url is a
// path, unless another scheme (about:, data:, mailto:) says it is none.
func afterScheme(url []byte) (rest []byte, hasHost bool) {
	i := bytes.IndexByte(url, ':')
	if i >= 0 && isScheme(url[:i]) {
		if bytes.HasPrefix(url[i+1:], []byte("//")) {
			return url[i+3:], true
		}
		return nil, false
	}
	if bytes.HasPrefix(url, []byte("//")) {
		return url[2:], true
	}
	return url, false
}

func isScheme(s []byte) bool {
	for i, c := range s {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (i == 0 || (c < '0' || c > '9') && c != '+' && c != '-' && c != '.') {
			return false
		}
	}
	return len(s) > 0
}

// lower returns s in lower case (ASCII: host names are compared so).
func (r *row) lower(s []byte) []byte {
	upper := false
	for _, c := range s {
		upper = upper || c >= 'A' && c <= 'Z'
	}
	if !upper {
		return s
	}
	from := len(r.text)
	for _, c := range s {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		r.text = append(r.text, c)
	}
	return r.text[from:len(r.text):len(r.text)]
}
