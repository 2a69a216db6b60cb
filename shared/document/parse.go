package document

import (
	"bytes"
	"fmt"
	"slices"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/payload"
)

// Parse returns the canonical form of JSON text from outside. It copies: text may be reused.
//
// It fails with too_large above MaxSize, and with invalid_argument, naming the place, for text that is not JSON,
// invalid UTF-8, a name given twice in an object or an empty one, more than MaxDepth containers within each other, and
// numbers that have more than MaxDigits digits or are out of range.
func Parse(text []byte) (Value, error) { return parse(text, MaxDepth) }

func parse(text []byte, maxDepth int) (Value, error) {
	p := parser{text: text, out: make([]byte, 0, len(text)), members: make([]member, 0, 8), maxDepth: maxDepth}
	p.space()
	problem := p.value()
	if problem == nil {
		p.space()
		if p.pos < len(text) {
			problem = p.malformed("something follows the value")
		}
	}
	if problem != nil {
		return nil, problem.err()
	}
	return p.out, nil
}

// parser reads JSON text once and writes its canonical form as it goes.
type parser struct {
	text     []byte
	pos      int
	out      Value
	size     int
	depth    int
	maxDepth int
	members  []member // of the objects that are being read, the innermost's last
	sorted   []byte   // where sort works
}

// member is where a member of an object stands in out: its name from start to colon, all of it to end.
type member struct{ start, colon, end int }

// problem is what is wrong with a text, and where.
type problem struct {
	field, text string
	tooLarge    bool
}

func (p *problem) in(outer string) *problem {
	p.field = payload.Join(outer, p.field)
	return p
}

func (p *problem) err() error {
	if p.tooLarge {
		return tooLarge()
	}
	return errs.Invalid(errs.Detail{Field: p.field, Problem: p.text})
}

func tooLarge() error {
	return errs.New(errs.TooLarge, "the document is larger than %d bytes: split it", MaxSize)
}

func (p *parser) malformed(text string) *problem {
	if p.pos >= len(p.text) {
		return &problem{text: "is not valid JSON: it ends too early"}
	}
	return &problem{text: fmt.Sprintf("is not valid JSON: %s at byte %d", text, p.pos)}
}

func (p *parser) space() {
	for p.pos < len(p.text) {
		switch p.text[p.pos] {
		case ' ', '\n', '\t', '\r':
			p.pos++
		default:
			return
		}
	}
}

// next returns the next byte, 0 at the end.
func (p *parser) next() byte {
	if p.pos < len(p.text) {
		return p.text[p.pos]
	}
	return 0
}

// grow counts n bytes of the document's size.
func (p *parser) grow(n int) *problem {
	p.size += n
	if p.size > MaxSize {
		return &problem{tooLarge: true}
	}
	return nil
}

func (p *parser) value() *problem {
	switch c := p.next(); {
	case c == '"':
		return p.string()
	case c == '{' || c == '[':
		return p.container()
	case c == '-' || '0' <= c && c <= '9':
		return p.number()
	case c == 't':
		return p.literal("true")
	case c == 'f':
		return p.literal("false")
	case c == 'n':
		return p.literal("null")
	default:
		return p.malformed("there is no value")
	}
}

func (p *parser) literal(word string) *problem {
	if !bytes.HasPrefix(p.text[p.pos:], []byte(word)) {
		return p.malformed("there is no value")
	}
	p.pos += len(word)
	p.out = append(p.out, word...)
	return p.grow(scalarSize)
}

func (p *parser) container() *problem {
	p.depth++
	if p.depth > p.maxDepth {
		return &problem{text: fmt.Sprintf("lies within %d objects and arrays, which is as deep as it goes", p.maxDepth)}
	}
	opening := p.text[p.pos]
	p.out = append(p.out, opening)
	p.pos++
	p.space()
	var problem *problem
	if opening == '{' {
		problem = p.object()
	} else {
		problem = p.array()
	}
	if problem != nil {
		return problem
	}
	p.out = append(p.out, p.text[p.pos])
	p.pos++
	p.depth--
	return p.grow(containerSize)
}

// array reads the elements of an array, up to its end.
func (p *parser) array() *problem {
	if p.next() == ']' {
		return nil
	}
	for i := 0; ; i++ {
		if problem := p.value(); problem != nil {
			return problem.in(fmt.Sprintf("[%d]", i))
		}
		if problem := p.grow(elementSize); problem != nil {
			return problem
		}
		p.space()
		switch p.next() {
		case ']':
			return nil
		case ',':
			p.out = append(p.out, ',')
			p.pos++
			p.space()
		default:
			return p.malformed("a comma or the end of the array is missing")
		}
	}
}

// object reads the members of an object, up to its end, and puts them in order.
func (p *parser) object() *problem {
	if p.next() == '}' {
		return nil
	}
	first, sorted := len(p.members), true
	for {
		m, problem := p.member()
		if problem != nil {
			return problem
		}
		if n := len(p.members); n > first && sorted {
			order := compareNames(p.name(p.members[n-1]), p.name(m))
			if order == 0 {
				return p.repeated(m)
			}
			sorted = order < 0
		}
		p.members = append(p.members, m)
		p.space()
		switch p.next() {
		case '}':
			if !sorted {
				problem = p.sort(p.members[first:])
			}
			p.members = p.members[:first]
			return problem
		case ',':
			p.out = append(p.out, ',')
			p.pos++
			p.space()
		default:
			return p.malformed("a comma or the end of the object is missing")
		}
	}
}

func (p *parser) member() (m member, _ *problem) {
	m.start = len(p.out)
	if p.next() != '"' {
		return m, p.malformed("the name of a member is missing")
	}
	if problem := p.string(); problem != nil {
		return m, problem
	}
	m.colon = len(p.out)
	if m.colon == m.start+len(`""`) {
		return m, &problem{text: "has a member without a name, which cannot be stored"}
	}
	p.space()
	if p.next() != ':' {
		return m, p.malformed("a colon is missing")
	}
	p.out = append(p.out, ':')
	p.pos++
	p.space()
	if problem := p.value(); problem != nil {
		return m, problem.in(unquote(p.name(m)))
	}
	m.end = len(p.out)
	return m, p.grow(elementSize)
}

func (p *parser) name(m member) []byte { return p.out[m.start:m.colon] }

func (p *parser) repeated(m member) *problem {
	return &problem{field: unquote(p.name(m)), text: "is given twice"}
}

// sort puts the members of one object, which are all that out holds since the first of them, in order.
func (p *parser) sort(members []member) *problem {
	start := members[0].start
	slices.SortFunc(members, func(a, b member) int { return compareNames(p.name(a), p.name(b)) })
	sorted := slices.Grow(p.sorted[:0], len(p.out)-start)
	for i, m := range members {
		if i > 0 {
			if compareNames(p.name(members[i-1]), p.name(m)) == 0 {
				return p.repeated(m)
			}
			sorted = append(sorted, ',')
		}
		sorted = append(sorted, p.out[m.start:m.end]...)
	}
	copy(p.out[start:], sorted)
	p.sorted = sorted
	return nil
}

func (p *parser) number() *problem {
	n := numberExtent(p.text[p.pos:])
	if n == 0 {
		return p.malformed("there is no valid number")
	}
	number := p.text[p.pos : p.pos+n]
	p.pos += n
	if isSmallInteger(number) {
		p.out = append(p.out, number...)
		return p.grow(numberSize(digitsIn(number)))
	}
	var digits [MaxDigits]byte
	d, ok := readNumber(number, digits[:0])
	if !ok {
		return &problem{text: fmt.Sprintf("is a number of more than %d significant digits", MaxDigits)}
	}
	if !d.inRange() {
		return &problem{text: "is a number out of range: its magnitude must be from 1e-130 up to below 1e126, or 0"}
	}
	p.out = d.appendTo(p.out)
	return p.grow(numberSize(len(d.digits)))
}

// isSmallInteger reports whether a number is plainly canonical as it stands.
func isSmallInteger(number []byte) bool {
	return len(number) <= 18 && number[0] != '-' && digitsAt(number, 0) == len(number)
}

func (p *parser) string() *problem {
	start, from := len(p.out), p.pos
	escapes := 0
	p.out = append(p.out, '"')
	p.pos++
	for plain := p.pos; ; {
		p.pos += plainExtent(p.text[p.pos:])
		switch c := p.next(); {
		case c == '"':
			p.out = append(append(p.out, p.text[plain:p.pos]...), '"')
			p.pos++
			if escapes == 0 {
				return p.grow(p.pos - from - len(`""`))
			}
			return p.grow(stringSize(p.out[start:]))
		case c == '\\':
			p.out = append(p.out, p.text[plain:p.pos]...)
			if problem := p.escape(); problem != nil {
				return problem
			}
			plain = p.pos
			escapes++
		case c < ' ':
			return p.malformed("a string holds a raw control character")
		default:
			r, n := utf8.DecodeRune(p.text[p.pos:])
			if r == utf8.RuneError && n == 1 {
				return p.malformed("a string is not UTF-8")
			}
			p.pos += n
		}
	}
}

// plainExtent returns how many ASCII characters text begins with that stand for themselves in a string.
func plainExtent(text []byte) int {
	for i, c := range text {
		if c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return i
		}
	}
	return len(text)
}

// escape reads one escape of a string.
func (p *parser) escape() *problem {
	rest := p.text[p.pos:]
	if len(rest) < 2 {
		p.pos = len(p.text)
		return p.malformed("")
	}
	c := rest[1]
	switch c {
	case '"', '\\', '/':
	case 'b':
		c = '\b'
	case 'f':
		c = '\f'
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 't':
		c = '\t'
	case 'u':
		r, n := unicodeEscape(rest)
		if n == 0 {
			return p.malformed("a string holds an invalid \\u escape")
		}
		p.pos += n
		if r >= utf8.RuneSelf {
			p.out = utf8.AppendRune(p.out, r)
		} else {
			p.out = appendEscaped(p.out, byte(r))
		}
		return nil
	default:
		return p.malformed("a string holds an invalid escape")
	}
	p.pos += 2
	p.out = appendEscaped(p.out, c)
	return nil
}

// unicodeEscape returns the character of the \uXXXX, or pair of them, that text begins with, and its length: 0 when it
// is invalid, such as half a pair.
func unicodeEscape(text []byte) (r rune, n int) {
	r, ok := hex4(text)
	if !ok {
		return 0, 0
	}
	if !utf16.IsSurrogate(r) {
		return r, 6
	}
	low, ok := hex4(text[6:])
	if r = utf16.DecodeRune(r, low); !ok || r == utf8.RuneError {
		return 0, 0
	}
	return r, 12
}

func hex4(text []byte) (r rune, ok bool) {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	for _, c := range text[2:6] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}
