package localdb

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"github.com/ebitengine/purego"
)

// envChild makes a process a host of ClickHouse; its value is the engine's kind. The arguments say the rest.
const envChild = "MILLRACE_LOCALDB_CHILD"

// envGuard describes the guard of the native port, as JSON.
const envGuard = "MILLRACE_LOCALDB_GUARD"

type guardSetup struct {
	Engine string            // host:port
	Users  map[string]string // hex SHA-256 of the password by user
}

const (
	childLibrary = "library" // <libchdb.so> <arguments of clickhouse local>...
	childBinary  = "binary"  // <clickhouse> <arguments>...
)

// The files that a child inherits. The pipe comes twice: one end is read by the query (libchdb) or nobody, one by
// the watch below.
const (
	fdQuery = 3
	fdWatch = 4
	fdLock  = 5
	fdPid   = 6
	fdGuard = 7 // the listener; only with libchdb
)

// shutdownLimit ends a child that has lost its parent and does not come to an end by itself.
const shutdownLimit = 30 * time.Second

// init turns the process into ClickHouse before main, and before the flags of main are parsed, when [Start] of another
// process asked for it. The package documentation says why.
func init() {
	kind := os.Getenv(envChild)
	if kind == "" || len(os.Args) < 2 {
		return
	}
	// Not for the children of this one.
	_ = os.Unsetenv(envChild) // only an invalid name fails
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	// Neither may leak into processes that the engine starts; the lock shall.
	syscall.CloseOnExec(fdWatch)
	syscall.CloseOnExec(fdPid)
	var err error
	switch kind {
	case childLibrary:
		err = guardPort()
		if err == nil {
			err = hostLibrary(os.Args[1], os.Args[2:])
		}
	case childBinary:
		err = keepBinary(os.Args[1], os.Args[2:])
	default:
		err = fmt.Errorf("%s=%s is unknown", envChild, kind)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// guardPort starts the guard, which lives until the parent lets go of the pipe.
func guardPort() error {
	var setup guardSetup
	if err := json.Unmarshal([]byte(os.Getenv(envGuard)), &setup); err != nil {
		return fmt.Errorf("%s: %w", envGuard, err)
	}
	_ = os.Unsetenv(envGuard)
	f := os.NewFile(fdGuard, "native port")
	l, err := net.FileListener(f)
	if err != nil {
		return fmt.Errorf("listen on the native port: %w", err)
	}
	_ = f.Close()
	g := newGuard(setup.Engine, setup.Users)
	go g.serve(l)
	go func() {
		waitForParent()
		_ = l.Close()
		g.close()
		time.Sleep(shutdownLimit)
		os.Exit(3)
	}()
	return nil
}

// waitForParent returns when the write end of the pipe is closed: the parent asked for the end, or is gone.
func waitForParent() {
	_ = syscall.SetNonblock(fdWatch, false)
	buf := make([]byte, 1)
	for {
		n, err := syscall.Read(fdWatch, buf)
		if err == syscall.EINTR || n > 0 {
			continue
		}
		return
	}
}

// hostLibrary runs clickhouse-local from the library until its last query ends. It is called from init, so on the main
// thread, whose stack is large enough for the engine.
func hostLibrary(path string, args []string) error {
	lib, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return fmt.Errorf("load %s: %w", path, err)
	}
	var run func(argc int32, argv unsafe.Pointer) unsafe.Pointer
	var failure func(result unsafe.Pointer) string
	purego.RegisterLibFunc(&run, lib, "chdb_query_cmdline")
	purego.RegisterLibFunc(&failure, lib, "chdb_result_error")

	argv := make([]*byte, 0, len(args)+2)
	for _, arg := range append([]string{"clickhouse"}, args...) {
		p, err := syscall.BytePtrFromString(arg)
		if err != nil {
			return fmt.Errorf("argument %q: %w", arg, err)
		}
		argv = append(argv, p)
	}
	argv = append(argv, nil)
	var pin runtime.Pinner
	defer pin.Unpin()
	for _, p := range argv[:len(argv)-1] {
		pin.Pin(p)
	}
	// The query must block on the pipe: inherited files may be non-blocking.
	_ = syscall.SetNonblock(fdQuery, false)
	result := run(int32(len(argv)-1), unsafe.Pointer(&argv[0]))
	if result == nil {
		return fmt.Errorf("libchdb gave no result")
	}
	if text := failure(result); text != "" {
		return fmt.Errorf("libchdb: %s", text)
	}
	return nil
}

// keepBinary starts the clickhouse binary, which does not watch a pipe, and does it for it: the end of the parent
// becomes a SIGTERM. The parent learns the binary's process id through fdPid.
func keepBinary(path string, args []string) error {
	// Linux ties the death signal to the thread that starts the process; init has the main thread, which lives as
	// long as this process.
	cmd := exec.Command(path, args...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = binaryAttributes()
	cmd.ExtraFiles = []*os.File{os.NewFile(fdLock, "lock")}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", path, err)
	}
	pid := os.NewFile(fdPid, "pid")
	fmt.Fprintln(pid, cmd.Process.Pid)
	_ = pid.Close()
	go func() {
		waitForParent()
		_ = cmd.Process.Signal(syscall.SIGTERM) // gone already: Wait below returns
		time.Sleep(shutdownLimit)
		_ = cmd.Process.Kill()
	}()
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
