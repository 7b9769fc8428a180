package reader

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
)

// Stream runs one of our own statements in RowBinary and calls take for every row, which reads exactly that row. It returns
// nil only if the result was whole; what take was given before an error is void.
func (c *Client) Stream(ctx context.Context, q Question, take func(row *bufio.Reader) error) error {
	values := url.Values{}
	maps.Copy(values, q.Values)
	values.Set("default_format", "RowBinary")
	q.Values = values
	if q.ID == "" {
		q.ID = NewID()
	}
	res, err := c.Ask(ctx, q)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }() // what matters of it was read, or is not wanted
	watch := newCutWatch(res.Header.Get(HeaderExceptionTag))
	in := bufio.NewReaderSize(io.TeeReader(res.Body, watch), 64<<10)
	for err == nil {
		if _, err = in.Peek(1); errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = take(in)
		}
	}
	if !errors.Is(err, io.EOF) {
		_, _ = io.Copy(io.Discard, in) // what is left may tell why
	}
	switch {
	case watch.cut():
		return fmt.Errorf("%w: question %s failed in ClickHouse after its first rows: %s", ErrCut, q.ID, watch.message())
	case err == io.EOF: //nolint:errorlint // between two rows; one inside a row is wrapped or unexpected
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("question %s: %w", q.ID, context.Cause(ctx))
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: question %s: the connection ended before the result did", ErrCut, q.ID)
	}
	return fmt.Errorf("ClickHouse: %w: question %s: %w", ErrUnavailable, q.ID, err)
}
