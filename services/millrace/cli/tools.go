package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/spf13/cobra"

	"github.com/millrace/millrace/libs/svc"
	"github.com/millrace/millrace/services/millrace/client"
	"github.com/millrace/millrace/services/query/mcp"
)

func (a *app) tools() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "mcp",
		Short: "Let a desktop client ask questions (MCP over standard input and output)",
		Long: `Hand the tools of the query service (reports, one user, SQL, named queries) to a
client that starts this command and speaks the Model Context Protocol with it on
standard input and output. Every tool only reads; what the key may not ask is
not there. A client that speaks HTTP needs no command: POST /mcp.`,
		Example: `  millrace mcp
  millrace mcp --query-url https://query.example.com --api-key KEY`,
		Args: noArguments,
	}
	var t target
	s := newSettings(cmd, false, t.registerQuery)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if done, err := a.fill(s); done || err != nil {
			return err
		}
		c, err := t.counter(0, nil)
		if err != nil {
			return err
		}
		defer c.Close()
		tools := c.Tools(svc.Version())
		defer func() { _ = tools.Close() }() // nothing is lost with it
		server := sdk.NewServer(mcp.About(svc.Version()), mcp.Options())
		server.AddReceivingMiddleware(forward(tools, &t))
		err = server.Run(cmd.Context(), answering{&sdk.IOTransport{Reader: io.NopCloser(a.stdin), Writer: unclosed{a.stdout}}})
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("standard input and output: %w", err)
		}
		return nil
	}
	return cmd
}

// unclosed is standard output, which is not ours to close.
type unclosed struct{ io.Writer }

func (unclosed) Close() error { return nil }

// forward lets the query service answer what is about tools. It need not be there yet when a client starts this command:
// what is asked meanwhile says so.
func forward(tools *client.Tools, t *target) sdk.Middleware {
	return func(next sdk.MethodHandler) sdk.MethodHandler {
		return func(ctx context.Context, method string, req sdk.Request) (sdk.Result, error) {
			switch req := req.(type) {
			case *sdk.ListToolsRequest:
				res, err := tools.List(ctx, req.Params)
				if err != nil {
					return nil, err
				}
				return res, nil
			case *sdk.CallToolRequest:
				res, err := tools.Call(ctx, &sdk.CallToolParams{Name: req.Params.Name, Arguments: t.ofSource(req.Params.Name, req.Params.Arguments)})
				var refused *jsonrpc.Error
				switch {
				case errors.As(err, &refused):
					return nil, refused
				case err != nil:
					return failedCall(err), nil
				}
				return res, nil
			}
			return next(ctx, method, req)
		}
	}
}

// ofSource are the arguments of a call; of a user without a source they get that of the installation of --dir, as
// `millrace user` does. It may have been started since.
func (t *target) ofSource(tool string, given json.RawMessage) json.RawMessage {
	running := t.running()
	var args map[string]json.RawMessage
	if tool != "user" || running.Source == "" || t.query != "" && t.query != running.Query ||
		json.Unmarshal(given, &args) != nil || args == nil || args["source"] != nil {
		return given
	}
	var err error
	if args["source"], err = json.Marshal(running.Source); err != nil {
		return given
	}
	filled, err := json.Marshal(args)
	if err != nil {
		return given
	}
	return filled
}

// failedCall is a result in which a model reads what is wrong.
func failedCall(err error) *sdk.CallToolResult {
	return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: err.Error()}}, IsError: true}
}
