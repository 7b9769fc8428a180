package eventdb

import (
	"errors"
	"strings"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/clickhouse-go/v2"
)

// Class is what to do about an error of ClickHouse.
type Class uint8

const (
	// Unavailable means that no answer came (network, timeout, the process ended). The outcome of an insert is unknown: count, then
	// repeat. It is also the class of anything that is not known.
	Unavailable Class = iota
	// Busy means that the server answered that it cannot now (memory, disk, too many parts, too many queries, read-only, shutting
	// down, or a code that is not listed here). Nothing is wrong with the rows: repeat later.
	Busy
	// Setup means that the server refuses what would be refused for every row (no such table or column, wrong types, rights,
	// password). Repeating helps once a person has mended it: say so, keep trying slowly, and never touch the rows.
	Setup
	// Content means that the server refuses values that rows of this block hold. Bisecting the block finds them.
	Content
)

// String is the class in log lines and metric labels.
func (c Class) String() string {
	switch c {
	case Busy:
		return "busy"
	case Setup:
		return "setup"
	case Content:
		return "content"
	default:
		return "unavailable"
	}
}

// Classify tells what err, an error of ch-go or clickhouse-go, means for the rows of an insert. Only codes that
// ClickHouse raises while it evaluates values (DEFAULT, MATERIALIZED, CHECK, conversion to the column's type, skip
// indexes, partition key) are [Content]. Codes that it also raises before it has seen a value, such as 53 TYPE_MISMATCH,
// 43 ILLEGAL_TYPE_OF_ARGUMENT and 70 CANNOT_CONVERT_TYPE, are [Setup]: were they Content, a wrong ALTER TABLE would turn
// every event into a dead letter.
func Classify(err error) Class {
	code, ok := Code(err)
	if !ok {
		return Unavailable
	}
	switch code {
	case 6, // CANNOT_PARSE_TEXT
		25,  // CANNOT_PARSE_ESCAPE_SEQUENCE
		26,  // CANNOT_PARSE_QUOTED_STRING
		27,  // CANNOT_PARSE_INPUT_ASSERTION_FAILED
		38,  // CANNOT_PARSE_DATE
		41,  // CANNOT_PARSE_DATETIME
		69,  // ARGUMENT_OUT_OF_BOUND
		72,  // CANNOT_PARSE_NUMBER
		117, // INCORRECT_DATA
		128, // TOO_LARGE_ARRAY_SIZE
		131, // TOO_LARGE_STRING_SIZE
		153, // ILLEGAL_DIVISION
		321, // VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
		349, // CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
		376, // CANNOT_PARSE_UUID
		395, // FUNCTION_THROW_IF_VALUE_IS_NON_ZERO
		407, // DECIMAL_OVERFLOW
		427, // CANNOT_COMPILE_REGEXP
		441, // CANNOT_PARSE_DOMAIN_VALUE_FROM_STRING
		467, // CANNOT_PARSE_BOOL
		469, // VIOLATED_CONSTRAINT
		675, // CANNOT_PARSE_IPV4
		676, // CANNOT_PARSE_IPV6
		691: // UNKNOWN_ELEMENT_OF_ENUM
		return Content
	case 8, // THERE_IS_NO_COLUMN
		10,  // NOT_FOUND_COLUMN_IN_BLOCK
		16,  // NO_SUCH_COLUMN_IN_TABLE
		20,  // NUMBER_OF_COLUMNS_DOESNT_MATCH
		36,  // BAD_ARGUMENTS
		42,  // NUMBER_OF_ARGUMENTS_DOESNT_MATCH
		43,  // ILLEGAL_TYPE_OF_ARGUMENT
		44,  // ILLEGAL_COLUMN
		46,  // UNKNOWN_FUNCTION
		47,  // UNKNOWN_IDENTIFIER
		48,  // NOT_IMPLEMENTED
		50,  // UNKNOWN_TYPE
		53,  // TYPE_MISMATCH
		60,  // UNKNOWN_TABLE
		62,  // SYNTAX_ERROR
		70,  // CANNOT_CONVERT_TYPE
		80,  // INCORRECT_QUERY
		81,  // UNKNOWN_DATABASE
		115, // UNKNOWN_SETTING
		192, // UNKNOWN_USER
		193, // WRONG_PASSWORD
		194, // REQUIRED_PASSWORD
		195, // IP_ADDRESS_NOT_ALLOWED
		290, // LIMIT_EXCEEDED
		452, // SETTING_CONSTRAINT_VIOLATION
		497, // ACCESS_DENIED
		516: // AUTHENTICATION_FAILED
		return Setup
	case 32, // ATTEMPT_TO_READ_AFTER_EOF: toUInt32('')
		33: // CANNOT_READ_ALL_DATA
		// Also the codes of a broken file or a cut stream; an expression says that it is one.
		if strings.Contains(err.Error(), "while executing") {
			return Content
		}
	}
	return Busy
}

// Code returns the number of ClickHouse's exception, if err holds one.
func Code(err error) (int, bool) {
	if e, ok := errors.AsType[*ch.Exception](err); ok {
		return int(e.Code), true
	}
	if e, ok := errors.AsType[*clickhouse.Exception](err); ok {
		return int(e.Code), true
	}
	return 0, false
}
