package ingester

import "net/http"

// pixel is a transparent GIF of 1x1: what a page's <img> gets that carries an event in its address.
const pixel = "GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"

// takePixel stores the event of a pixel's address and answers the picture. There is no picture when the event is not
// stored, so that a page can tell (onerror).
func (s *Ingester) takePixel(w http.ResponseWriter, r *http.Request, to *route) (reply, error) {
	if r.Method == http.MethodHead { // whoever only looks whether it is there has no event
		return pixelReply(w), nil
	}
	if _, err := s.takeEvents(w, r, to); err != nil {
		return reply{}, err
	}
	return pixelReply(w), nil
}

func pixelReply(w http.ResponseWriter) reply {
	w.Header().Set("Cache-Control", "no-store")
	return reply{kind: "image/gif", body: []byte(pixel)}
}
