// The Go peer: net/http, a goroutine for each request. It takes the same job and prints the same report as the Rust
// clients (src/job.rs and src/pace.rs): KIND WARMUP_MS BUDGET_MS HOST,HOST,...
package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	inFlight       = 32
	requestTimeout = 10 * time.Second
	// As in src/pace.rs: every loop is bounded.
	maxSingle = 2_000
	maxBulk   = 20_000
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 4 {
		return errors.New("usage: KIND WARMUP_MS BUDGET_MS HOST,HOST,...")
	}
	warmup, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	budget, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	c := &client{http: newHTTP(), hosts: strings.Split(args[3], ",")}
	phase := c.single
	switch args[0] {
	case "once":
		return c.create(c.nextID())
	case "bulk":
		phase = c.bulk
	}

	if _, err := phase(time.Duration(warmup) * time.Millisecond); err != nil {
		return err
	}
	groups, cpu, start := c.groups, cpuTime(), time.Now()
	latencies, err := phase(time.Duration(budget) * time.Millisecond)
	if err != nil {
		return err
	}
	elapsed, cpu := time.Since(start), cpuTime()-cpu
	fmt.Printf("{\"latencies_us\":[%s],\"groups\":%d,\"elapsed_us\":%d,\"cpu_us\":%d,\"peak_kib\":%d}\n",
		strings.Join(latencies, ","), c.groups-groups, elapsed.Microseconds(), cpu.Microseconds(), peakKiB())
	return nil
}

type client struct {
	http   *http.Client
	hosts  []string
	groups int
}

// The default transport keeps two idle connections for each host and a hundred in all: too few for this job.
func newHTTP() *http.Client {
	return &http.Client{
		Timeout: requestTimeout,
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: requestTimeout}).DialContext,
			MaxIdleConns:        0,
			MaxIdleConnsPerHost: 1 << 10,
			DisableCompression:  true,
		},
	}
}

func (c *client) nextID() string {
	c.groups++
	return "g-" + strconv.Itoa(c.groups)
}

func (c *client) single(budget time.Duration) ([]string, error) {
	var latencies []string
	until := time.Now().Add(budget)
	for n := 0; n < maxSingle && (n == 0 || time.Now().Before(until)); n++ {
		start := time.Now()
		if err := c.create(c.nextID()); err != nil {
			return nil, err
		}
		latencies = append(latencies, strconv.FormatInt(time.Since(start).Microseconds(), 10))
	}
	return latencies, nil
}

func (c *client) bulk(budget time.Duration) ([]string, error) {
	ids := make(chan string)
	failed := make(chan error, inFlight)
	var workers sync.WaitGroup
	for i := 0; i < inFlight; i++ {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for id := range ids {
				if err := c.create(id); err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	until := time.Now().Add(budget)
	var err error
	for n := 0; err == nil && n < maxBulk && (n == 0 || time.Now().Before(until)); n++ {
		select {
		case ids <- c.nextID():
		case err = <-failed:
		}
	}
	close(ids)
	workers.Wait()
	close(failed)
	if err == nil {
		err = <-failed
	}
	return nil, err
}

// One operation: POST on all hosts, then GET on all hosts.
func (c *client) create(id string) error {
	if err := c.onAll(func(host string) error {
		body := strings.NewReader(`{"groupId":"` + id + `"}`)
		answer, err := c.http.Post("http://"+host+"/v1/group/", "application/json", body)
		return read(answer, err, http.StatusCreated)
	}); err != nil {
		return err
	}
	return c.onAll(func(host string) error {
		answer, err := c.http.Get("http://" + host + "/v1/group/" + id + "/")
		return read(answer, err, http.StatusOK)
	})
}

func (c *client) onAll(request func(host string) error) error {
	errs := make([]error, len(c.hosts))
	var all sync.WaitGroup
	all.Add(len(c.hosts))
	for i, host := range c.hosts {
		go func(i int, host string) {
			defer all.Done()
			errs[i] = request(host)
		}(i, host)
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Reads the answer to its end, so that its connection is kept.
func read(answer *http.Response, err error, wanted int) error {
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return err
	}
	if answer.StatusCode != wanted {
		return fmt.Errorf("the status is %d, not %d", answer.StatusCode, wanted)
	}
	return nil
}

func cpuTime() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func peakKiB() int {
	status, _ := os.ReadFile("/proc/self/status")
	for _, line := range strings.Split(string(status), "\n") {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "VmHWM:" {
			kib, _ := strconv.Atoi(fields[1])
			return kib
		}
	}
	return 0
}
