package enricher

import (
	"bytes"
	"unicode/utf8"
)

// utmNames are the query parameters in the order of the columns
// (https://support.google.com/analytics/answer/10917952).
var utmNames = [5]string{"source", "medium", "campaign", "term", "content"}

// stepUTM takes the campaign that the client names; each part it leaves out
// is read from the page's query.
func stepUTM(r *row) {
	c := &r.ev.Campaign
	r.utm = [5][]byte{c.Source, c.Medium, c.Name, c.Term, c.Content}
	query := bytes.TrimPrefix(r.search, []byte("?"))
	if !bytes.Contains(query, []byte("utm_")) {
		return
	}
	for len(query) > 0 {
		pair := query
		if i := bytes.IndexByte(query, '&'); i >= 0 {
			pair, query = query[:i], query[i+1:]
		} else {
			query = nil
		}
		name, value, _ := bytes.Cut(pair, []byte("="))
		name, isUTM := bytes.CutPrefix(name, []byte("utm_"))
		if !isUTM || len(value) == 0 {
			continue
		}
		for i, want := range utmNames {
			if string(name) == want && len(r.utm[i]) == 0 {
				r.utm[i] = r.unescape(value)
			}
		}
	}
}

// unescape decodes a value of a query: percent signs and plus. A value that is
// not UTF-8 afterwards stays as it was sent.
func (r *row) unescape(s []byte) []byte {
	if bytes.IndexByte(s, '%') < 0 && bytes.IndexByte(s, '+') < 0 {
		return s
	}
	from := len(r.text)
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '+':
			c = ' '
		case c == '%' && i+2 < len(s) && unhex(s[i+1]) < 16 && unhex(s[i+2]) < 16:
			c = unhex(s[i+1])<<4 | unhex(s[i+2])
			i += 2
		}
		r.text = append(r.text, c)
	}
	decoded := r.text[from:len(r.text):len(r.text)]
	if !utf8.Valid(decoded) {
		r.text = r.text[:from]
		return s
	}
	return decoded
}

// unhex is the value of a hexadecimal digit, 16 or more for anything else.
func unhex(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 16
}
