package limits

import (
	"container/list"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Bucket lets so many requests a second through, and more after a pause: a token bucket.
type Bucket struct{ limiter *rate.Limiter }

// NewBucket returns a full bucket.
func NewBucket(perSecond, burst int) Bucket {
	return Bucket{rate.NewLimiter(rate.Limit(perSecond), burst)}
}

// Take takes a request through at a time, and returns 0; or how long it would have to wait, when there are too many.
func (b Bucket) Take(now time.Time) (wait time.Duration) {
	if b.limiter.AllowN(now, 1) {
		return 0
	}
	missing := 1 - b.limiter.TokensAt(now)
	return max(1, time.Duration(missing/float64(b.limiter.Limit())*float64(time.Second)))
}

// maxClients is how many clients are remembered. Who is forgotten begins with a full bucket.
const maxClients = 1 << 16

// Clients has a Bucket for each client.
type Clients struct {
	perSecond int

	mu       sync.Mutex
	elements map[netip.Addr]*list.Element // of recent
	recent   *list.List                   // of *clientBucket, the last one seen first
}

type clientBucket struct {
	client netip.Addr
	Bucket
}

// NewClients returns buckets of perSecond requests a second, and twice as many after a pause.
func NewClients(perSecond int) *Clients {
	return &Clients{perSecond: perSecond, elements: make(map[netip.Addr]*list.Element), recent: list.New()}
}

// Take is Bucket.Take for the client at an address, host:port.
func (c *Clients) Take(address string, now time.Time) (wait time.Duration) {
	return c.bucket(clientOf(address)).Take(now)
}

func (c *Clients) bucket(client netip.Addr) Bucket {
	c.mu.Lock()
	defer c.mu.Unlock()
	if found, ok := c.elements[client]; ok {
		c.recent.MoveToFront(found)
		return found.Value.(*clientBucket).Bucket
	}
	if c.recent.Len() == maxClients {
		oldest := c.recent.Remove(c.recent.Back()).(*clientBucket)
		delete(c.elements, oldest.client)
	}
	added := &clientBucket{client, NewBucket(c.perSecond, 2*c.perSecond)}
	c.elements[client] = c.recent.PushFront(added)
	return added.Bucket
}
