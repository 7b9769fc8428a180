package cli

import (
	"context"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// answering is a transport whose input ends when all that was asked before its end is answered: the SDK cancels what runs
// as soon as nothing more can be read (seen with 1.8.0), and a client that is a pipe has nothing more to say.
type answering struct{ sdk.Transport }

// Connect implements sdk.Transport.
func (t answering) Connect(ctx context.Context) (sdk.Connection, error) {
	c, err := t.Transport.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &answeringConn{Connection: c, answered: make(chan struct{}, 1), closed: make(chan struct{})}, nil
}

type answeringConn struct {
	sdk.Connection
	answered chan struct{} // told of answers
	closed   chan struct{}
	once     sync.Once

	mu   sync.Mutex // guards open
	open int        // requests without an answer
}

// lastAnswers is how long answers may take behind the end of the input; the service lets no question run for longer.
const lastAnswers = 5 * time.Minute

// Read implements sdk.Connection.
func (c *answeringConn) Read(ctx context.Context) (jsonrpc.Message, error) {
	msg, err := c.Connection.Read(ctx)
	if req, ok := msg.(*jsonrpc.Request); ok && req.IsCall() {
		c.mu.Lock()
		c.open++
		c.mu.Unlock()
	}
	if err != nil {
		c.drain(ctx)
	}
	return msg, err
}

func (c *answeringConn) drain(ctx context.Context) {
	late := time.NewTimer(lastAnswers)
	defer late.Stop()
	for c.waits() {
		select {
		case <-c.answered:
		case <-late.C:
			return
		case <-ctx.Done():
			return
		case <-c.closed:
			return
		}
	}
}

func (c *answeringConn) waits() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open > 0
}

// Write implements sdk.Connection.
func (c *answeringConn) Write(ctx context.Context, msg jsonrpc.Message) error {
	err := c.Connection.Write(ctx, msg)
	if _, ok := msg.(*jsonrpc.Response); ok {
		c.mu.Lock()
		c.open--
		c.mu.Unlock()
		select {
		case c.answered <- struct{}{}:
		default:
		}
	}
	return err
}

// Close implements sdk.Connection.
func (c *answeringConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Connection.Close()
}
