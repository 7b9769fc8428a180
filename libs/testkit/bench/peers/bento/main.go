// Command bento is Bento with the components that the comparison of
// `make bench-peers` needs, as its documentation says to build one's own. It is
// a module outside of the workspace: what it requires is no concern of ours,
// and it takes minutes to build.
package main

import (
	"context"

	"github.com/warpstreamlabs/bento/public/service"

	_ "github.com/warpstreamlabs/bento/public/components/io"
	_ "github.com/warpstreamlabs/bento/public/components/nats"
	_ "github.com/warpstreamlabs/bento/public/components/pure"
	_ "github.com/warpstreamlabs/bento/public/components/sql"
)

func main() { service.RunCLI(context.Background()) }
