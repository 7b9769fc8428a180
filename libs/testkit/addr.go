package testkit

import (
	"fmt"
	"testing"

	"github.com/millrace/millrace/libs/testkit/ports"
)

// FreeAddr is an address for a server that a test starts as a process, or
// stops and starts again; see [ports.Free].
func FreeAddr(t testing.TB) string {
	t.Helper()
	port, err := ports.Free()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}
