"""The Python peers. `peer.py sequential|gathered KIND WARMUP_MS BUDGET_MS HOST,HOST,...`

`sequential` works as the original does: a new httpx client for each operation, one host after the other, every
request wrapped by tenacity. `gathered` is what the original could be: one client for all operations, and asyncio.gather over
the hosts. Job and report are those of the Rust clients (src/job.rs and src/pace.rs).
"""

import asyncio
import itertools
import json
import sys
import time

import httpx
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_exponential

IN_FLIGHT = 32
REQUEST_TIMEOUT = 10
# As in src/pace.rs: every loop is bounded.
MAX_SINGLE = 2_000
MAX_BULK = 20_000

transient = retry(
    retry=retry_if_exception_type(httpx.RequestError),
    stop=stop_after_attempt(3),
    wait=wait_exponential(multiplier=1, min=1, max=10),
    reraise=True,
)


def new_http():
    # httpx's own limits (100 connections, 20 kept): with higher ones its pool is slower from 64 hosts on.
    # The environment is not asked for proxies, as nowhere in the comparison.
    return httpx.AsyncClient(timeout=REQUEST_TIMEOUT, trust_env=False)


def expect(wanted, got):
    if got != wanted:
        raise RuntimeError(f"the status is {got}, not {wanted}")


@transient
async def post(http, host, group):
    answer = await http.post(f"http://{host}/v1/group/", json={"groupId": group})
    expect(201, answer.status_code)


@transient
async def get(http, host, group):
    answer = await http.get(f"http://{host}/v1/group/{group}/")
    expect(200, answer.status_code)


class Sequential:
    at_once = 1

    def __init__(self, hosts):
        self.hosts = hosts

    async def create(self, group):
        async with new_http() as http:
            for request in (post, get):
                for host in self.hosts:
                    await request(http, host, group)


class Gathered:
    at_once = IN_FLIGHT

    def __init__(self, hosts):
        self.hosts = hosts
        self.http = new_http()

    async def create(self, group):
        for request in (post, get):
            await asyncio.gather(*(request(self.http, host, group) for host in self.hosts))


def ids_until(budget, most, numbers):
    """At least one id, then more until the time is up."""
    until = time.monotonic() + budget
    for n in range(most):
        if n and time.monotonic() >= until:
            return
        yield f"g-{next(numbers)}"


async def single(client, budget, numbers):
    latencies = []
    for group in ids_until(budget, MAX_SINGLE, numbers):
        start = time.perf_counter()
        await client.create(group)
        latencies.append(int((time.perf_counter() - start) * 1e6))
    return len(latencies), latencies


async def bulk(client, budget, numbers):
    ids = ids_until(budget, MAX_BULK, numbers)

    async def worker():
        done = 0
        for group in ids:
            await client.create(group)
            done += 1
        return done

    return sum(await asyncio.gather(*(worker() for _ in range(client.at_once)))), []


def peak_kib():
    with open("/proc/self/status") as status:
        return next((int(line.split()[1]) for line in status if line.startswith("VmHWM:")), 0)


async def main(style, kind, warmup_ms, budget_ms, hosts):
    client = {"sequential": Sequential, "gathered": Gathered}[style](hosts.split(","))
    if kind == "once":
        await client.create("g-0")
        return
    phase = {"single": single, "bulk": bulk}[kind]
    numbers = itertools.count()
    await phase(client, int(warmup_ms) / 1e3, numbers)
    cpu, start = time.process_time(), time.perf_counter()
    groups, latencies = await phase(client, int(budget_ms) / 1e3, numbers)
    elapsed, cpu = time.perf_counter() - start, time.process_time() - cpu
    print(json.dumps({
        "latencies_us": latencies,
        "groups": groups,
        "elapsed_us": int(elapsed * 1e6),
        "cpu_us": int(cpu * 1e6),
        "peak_kib": peak_kib(),
    }))


asyncio.run(main(*sys.argv[1:]))
