package reader

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/millrace/millrace/libs/bus"
)

// Question is one statement for ClickHouse.
type Question struct {
	ID     string // names it in ClickHouse's logs and in answers; "" gets a new one
	Asker  string // who chose the ID, if somebody did
	SQL    string
	Values url.Values // default_format, param_<name> and settings of our own choice
	// Sources are those whose rows the question sees. Every source is said by All, so that a forgotten field shows nothing.
	Sources []string
	All     bool
}

// NewID names a question in ClickHouse's logs and in our answers.
func NewID() string { return "millrace-" + strings.ToLower(rand.Text()) }

// idMark parts the id of a question from the sources that it may see; an id of ours never holds it.
const idMark = "@"

// errNoSources says that a question would see nothing.
var errNoSources = errors.New("a question without sources")

// uniqueID is the id in ClickHouse, where two questions of one id cannot run at once: chosen ids are told apart by who chose
// them. No chosen id holds a dot.
func (q Question) uniqueID() string {
	if q.Asker == "" {
		return q.ID
	}
	sum := sha256.Sum256([]byte(q.Asker))
	return q.ID + "." + hex.EncodeToString(sum[:4])
}

// scopedID is the id by which the row policies know the sources.
func (q Question) scopedID() (string, error) {
	if len(q.Sources) == 0 {
		return "", errNoSources
	}
	if strings.Contains(q.ID, idMark) {
		return "", fmt.Errorf("the id %q of a question holds %q", q.ID, idMark)
	}
	for _, s := range q.Sources {
		if err := bus.ValidSource(s); err != nil { // letters, digits, - and _: no comma
			return "", err
		}
	}
	return q.uniqueID() + idMark + strings.Join(q.Sources, ","), nil
}

// Param writes a value as ClickHouse reads the values of parameters: as a field of TSV.
func Param(value string) string { return tsv.Replace(value) }

var tsv = strings.NewReplacer(`\`, `\\`, "\t", `\t`, "\n", `\n`, "\r", `\r`, "\x00", `\0`, "\b", `\b`, "\f", `\f`)
