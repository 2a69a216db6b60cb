package gateway

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics is what /_eddy/metrics shows. Counts that the parts keep themselves are read when they are asked for.
type metrics struct {
	handler  http.Handler
	requests *prometheus.CounterVec
	refused  *prometheus.CounterVec
	duration prometheus.Histogram
}

func newMetrics(g *Gateway) *metrics {
	registry := prometheus.NewRegistry()
	m := &metrics{
		handler: promhttp.HandlerFor(registry, promhttp.HandlerOpts{}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "eddy_http_requests_total", Help: "HTTP requests by status.",
		}, []string{"status"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "eddy_http_rate_limited_total", Help: "HTTP requests above a rate, by whose: the route's or the client's.",
		}, []string{"of"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "eddy_http_request_seconds", Help: "Time from the head of a request to the end of its response.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 30},
		}),
	}
	registry.MustRegister(m.requests, m.refused, m.duration, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &parts{g})
	return m
}

// request counts one answered request. A status of 0 is a connection that became a WebSocket.
func (m *metrics) request(status int, took time.Duration) {
	m.requests.WithLabelValues(strconv.Itoa(status)).Inc()
	m.duration.Observe(took.Seconds())
}

// limited counts one request that was above the rate of its route, or of its client.
func (m *metrics) limited(of string) { m.refused.WithLabelValues(of).Inc() }

// parts collects from the store, the reactions and the hub.
type parts struct{ g *Gateway }

// Describe sends nothing: the collector is unchecked, since its metrics are named once, where they are collected.
func (p *parts) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (p *parts) Collect(out chan<- prometheus.Metric) {
	gauge := func(name, help string, value float64) {
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, nil, nil), prometheus.GaugeValue, value)
	}
	counter := func(name, help string, value float64) {
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, nil, nil), prometheus.CounterValue, value)
	}
	connections := p.g.connections.Stats()
	gauge("eddy_connections", "Open connections, WebSockets included.", float64(connections.Open))
	gauge("eddy_http_in_flight", "HTTP requests being answered.", float64(connections.InFlight))
	counter("eddy_connections_refused_total", "Connections that were one too many.", float64(connections.Refused))
	counter("eddy_connections_evicted_total", "Idle connections that were closed to make room.", float64(connections.Evicted))
	counter("eddy_http_busy_total", "HTTP requests refused because too many were in flight.", float64(connections.Busy))

	sockets := p.g.hub.Stats()
	gauge("eddy_sockets", "Open WebSocket connections.", float64(sockets.Connections))
	gauge("eddy_subscriptions", "Subscriptions of open connections.", float64(sockets.Subscriptions))
	gauge("eddy_stream_lanes", "Stream groups with subscribers.", float64(sockets.Lanes))
	counter("eddy_frames_sent_total", "Frames handed to sockets.", float64(sockets.Frames))
	counter("eddy_slow_sockets_total", "Sockets closed because they read too slowly.", float64(sockets.Slow))

	store := p.g.engine.Stats()
	counter("eddy_store_commits_total", "Commits made durable.", float64(store.Commits))
	counter("eddy_store_groups_total", "Groups of commits: one sync each, or less.", float64(store.Groups))
	counter("eddy_store_written_bytes_total", "Bytes written to disk, compactions included.", float64(store.WrittenBytes))
	gauge("eddy_store_disk_bytes", "Bytes on disk.", float64(store.DiskBytes))
	gauge("eddy_store_log_records", "Records in the log, waiting for reactions or for the next trim.", float64(store.LogLength))

	p.collectReactions(out)
	p.collectSchedules(out)
}

func (p *parts) collectSchedules(out chan<- prometheus.Metric) {
	by := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, []string{"function", "schedule"}, nil)
	}
	next := by("eddy_schedule_next_timestamp_seconds", "When the next tick is due, in seconds of the Unix epoch.")
	ticks := by("eddy_schedule_ticks_total", "Ticks handed out.")
	missed := by("eddy_schedule_missed_total", "Ticks that were due while nothing ran, and are counted by a later one.")
	for _, s := range p.g.engine.Schedules() {
		out <- prometheus.MustNewConstMetric(next, prometheus.GaugeValue, float64(s.Next.Unix()), s.Function, s.Schedule)
		out <- prometheus.MustNewConstMetric(ticks, prometheus.CounterValue, float64(s.Ticks), s.Function, s.Schedule)
		out <- prometheus.MustNewConstMetric(missed, prometheus.CounterValue, float64(s.Missed), s.Function, s.Schedule)
	}
}

func (p *parts) collectReactions(out chan<- prometheus.Metric) {
	by := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, []string{"function"}, nil)
	}
	owed := by("eddy_deliveries_owed", "Deliveries that have not ended, as far as they were read from the log.")
	lag := by("eddy_deliveries_lag_records", "Records of the log between what is handled and its head.")
	ended := by("eddy_deliveries_total", "Deliveries that have ended: taken effect, or become a dead letter.")
	retried := by("eddy_delivery_retries_total", "Attempts that did not end their delivery.")
	for _, s := range p.g.engine.Reactions() {
		out <- prometheus.MustNewConstMetric(owed, prometheus.GaugeValue, float64(s.Owed), s.Function)
		out <- prometheus.MustNewConstMetric(lag, prometheus.GaugeValue, float64(s.Lag), s.Function)
		out <- prometheus.MustNewConstMetric(ended, prometheus.CounterValue, float64(s.Ended), s.Function)
		out <- prometheus.MustNewConstMetric(retried, prometheus.CounterValue, float64(s.Retries), s.Function)
	}
}
