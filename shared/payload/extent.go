package payload

// Extent returns the length of the JSON value that text begins with, -1 when it ends too early or there is none. It
// does not say that the value is valid: it pairs brackets without regard to their kind. What it returns, when the
// value is valid, is exactly the value, without whitespace around it.
func Extent(text []byte) int {
	if len(text) == 0 {
		return -1
	}
	switch text[0] {
	case '"':
		return stringExtent(text)
	case '{', '[':
		return containerExtent(text)
	default:
		return scalarExtent(text)
	}
}

func stringExtent(text []byte) int {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

func containerExtent(text []byte) int {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
			if depth == 0 {
				return i + 1
			}
		case '"':
			n := stringExtent(text[i:])
			if n < 0 {
				return -1
			}
			i += n - 1
		}
	}
	return -1
}

func scalarExtent(text []byte) int {
	for i, c := range text {
		switch c {
		case ' ', '\n', '\t', '\r', ',', ':', ']', '}', '{', '[', '"':
			if i == 0 {
				return -1
			}
			return i
		}
	}
	return len(text)
}
