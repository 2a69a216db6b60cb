package live

import "encoding/binary"

// The opcodes of the WebSocket messages that this package writes itself.
const (
	opText = 0x1
	opPing = 0x9
	opPong = 0xA
)

const maxHeader = 10 // bytes of the header of a message from a server

// appendMessage appends a whole WebSocket message as a server writes it: unmasked, in one frame.
func appendMessage(wire []byte, opcode byte, payload []byte) []byte {
	const final = 0x80
	wire = append(wire, final|opcode)
	switch n := len(payload); {
	case n < 126:
		wire = append(wire, byte(n))
	case n < 1<<16:
		wire = binary.BigEndian.AppendUint16(append(wire, 126), uint16(n))
	default:
		wire = binary.BigEndian.AppendUint64(append(wire, 127), uint64(n))
	}
	return append(wire, payload...)
}
