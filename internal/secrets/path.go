package secrets

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Limits that hold for every store, so that what one accepts the other accepts.
const (
	// MaxPathBytes is the longest path. Together with the depth it keeps file names and URLs well within bounds.
	MaxPathBytes = 512
	// MaxSegmentBytes is the longest segment of a path: a file name (255) with room for what is added to it.
	MaxSegmentBytes = 200
	// MaxPathDepth is the largest number of segments.
	MaxPathDepth = 16
	// MaxValueBytes is the largest value, keys and values added up; Vault's storage takes no more than 512 KiB.
	MaxValueBytes = 256 << 10
	// maxKeyBytes is the longest name of a field of a value.
	maxKeyBytes = 256
)

// ValidatePath returns nil if path names a secret in any store, else an error wrapping [ErrInvalid].
func ValidatePath(path string) error {
	switch {
	case path == "":
		return fmt.Errorf("%w: the path is empty", ErrInvalid)
	case len(path) > MaxPathBytes:
		return fmt.Errorf("%w: the path is longer than %d bytes", ErrInvalid, MaxPathBytes)
	case strings.Count(path, "/") >= MaxPathDepth:
		return fmt.Errorf("%w: the path has more than %d segments", ErrInvalid, MaxPathDepth)
	}

	for segment := range strings.SplitSeq(path, "/") {
		if err := validateSegment(segment); err != nil {
			return err
		}
	}

	return nil
}

func validateSegment(segment string) error {
	switch {
	case segment == "":
		return fmt.Errorf("%w: the path has an empty segment", ErrInvalid)
	case segment == "." || strings.Contains(segment, ".."): // Vault refuses ".." anywhere in a path
		return fmt.Errorf("%w: the path has a relative segment", ErrInvalid)
	case len(segment) > MaxSegmentBytes:
		return fmt.Errorf("%w: a segment of the path is longer than %d bytes", ErrInvalid, MaxSegmentBytes)
	}

	for i := range len(segment) {
		if !isPathByte(segment[i]) {
			return fmt.Errorf("%w: the path has a byte outside of [A-Za-z0-9._-]", ErrInvalid)
		}
	}

	return nil
}

func isPathByte(b byte) bool {
	switch {
	case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b >= '0' && b <= '9':
		return true
	default:
		return b == '.' || b == '_' || b == '-'
	}
}

// cleanPrefix checks a prefix of [Store.List] and returns it without its trailing slash.
func cleanPrefix(prefix string) (string, error) {
	prefix = strings.TrimSuffix(prefix, "/")
	if prefix == "" {
		return "", nil
	}

	return prefix, ValidatePath(prefix)
}

// validateValue refuses what JSON would rewrite (invalid UTF-8) and what a store would refuse later, less clearly.
func validateValue(value map[string]string) error {
	size := 0

	for key, text := range value {
		if key == "" || len(key) > maxKeyBytes {
			return fmt.Errorf("%w: a field's name must have 1 to %d bytes", ErrInvalid, maxKeyBytes)
		}

		if !utf8.ValidString(key) || !utf8.ValidString(text) {
			return fmt.Errorf("%w: the value is not UTF-8", ErrInvalid)
		}

		size += len(key) + len(text)
	}

	if size > MaxValueBytes {
		return fmt.Errorf("%w: the value is larger than %d bytes", ErrInvalid, MaxValueBytes)
	}

	return nil
}

func validatePut(path string, value map[string]string) error {
	if err := ValidatePath(path); err != nil {
		return err
	}

	return validateValue(value)
}

func validateVersion(version int) error {
	if version < 0 {
		return fmt.Errorf("%w: a version cannot be negative", ErrInvalid)
	}

	return nil
}

func validateGet(path string, version int) error {
	if err := validateVersion(version); err != nil {
		return err
	}

	return ValidatePath(path)
}

func validateDestroyVersions(path string, versions []int) error {
	for _, version := range versions {
		if version <= 0 {
			return fmt.Errorf("%w: versions count from 1", ErrInvalid)
		}
	}

	return ValidatePath(path)
}
