#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* pthread_setaffinity_np */
#endif
#include "traffic.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "guard.h"
#include "traffic_pair.h"

#define LOOK_EVERY 4096u /* rounds between two looks at the clock while frames flow */

struct vdp_traffic {
	struct vdp_traffic_conf conf;
	struct vdp_traffic_stats *stats;
	struct vdp_pair *pairs;
	uint64_t sleeps;
	int epoll, stop_fd, done_fd;
	bool stopping, started, done; /* stopping: atomic; done: the thread's */
	bool armed;                   /* calls are wanted */
	pthread_t thread;
};

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void signal_fd(int fd)
{
	uint64_t one = 1;

	/* EAGAIN only: the counter is full and the fd readable. */
	if (write(fd, &one, sizeof(one)) < 0)
		return;
}

static bool stopping(const struct vdp_traffic *traffic)
{
	return __atomic_load_n(&traffic->stopping, __ATOMIC_RELAXED);
}

static uint32_t round_of(struct vdp_traffic *traffic, bool send)
{
	uint32_t work = 0;

	for (uint32_t i = 0; i < traffic->conf.pairs; i++) {
		work += vdp_pair_receive(&traffic->pairs[i]);
		if (send)
			work += vdp_pair_send(&traffic->pairs[i]);
	}
	if (work)
		return work;
	/* Nothing better to do: see what the device gave back. */
	for (uint32_t i = 0; i < traffic->conf.pairs; i++)
		work += vdp_pair_reclaim(&traffic->pairs[i]);
	return work;
}

static void look_around(struct vdp_traffic *traffic, uint64_t now)
{
	bool done = true;

	for (uint32_t i = 0; i < traffic->conf.pairs; i++) {
		vdp_pair_look_for_stall(&traffic->pairs[i], now / 1000);
		done &= vdp_pair_finished(&traffic->pairs[i]);
	}
	if (done && !traffic->done) {
		traffic->done = true;
		signal_fd(traffic->done_fd);
	}
}

static bool all_drained(const struct vdp_traffic *traffic)
{
	for (uint32_t i = 0; i < traffic->conf.pairs; i++)
		if (!vdp_pair_drained(&traffic->pairs[i]))
			return false;
	return true;
}

static void disarm(struct vdp_traffic *traffic)
{
	if (!traffic->armed)
		return;
	for (uint32_t i = 0; i < traffic->conf.pairs; i++)
		vdp_pair_no_calls(&traffic->pairs[i]);
	traffic->armed = false;
}

static bool arm(struct vdp_traffic *traffic)
{
	bool quiet = true;

	traffic->armed = true;
	for (uint32_t i = 0; i < traffic->conf.pairs; i++)
		quiet &= vdp_pair_want_calls(&traffic->pairs[i]);
	return quiet;
}

static bool waits_for_answers(const struct vdp_traffic *traffic)
{
	for (uint32_t i = 0; i < traffic->conf.pairs; i++)
		if (vdp_pair_in_flight(&traffic->pairs[i]))
			return true;
	return false;
}

static void on_event(struct vdp_traffic *traffic, uint64_t data)
{
	const struct vdp_pair *pair = &traffic->pairs[data / 2];
	uint64_t count;

	if (read(data % 2 ? pair->tx.call : pair->rx.call, &count, sizeof(count)) == sizeof(count))
		pair->stats->calls++;
}

static void sleep_until(struct vdp_traffic *traffic, int timeout_ms)
{
	struct epoll_event events[16];
	int n;

	traffic->sleeps++;
	n = epoll_wait(traffic->epoll, events, 16, timeout_ms);
	for (int i = 0; i < n; i++)
		if (events[i].data.u64 != UINT64_MAX) /* the stop fd stays readable */
			on_event(traffic, events[i].data.u64);
}

static void go_to_sleep(struct vdp_traffic *traffic)
{
	int timeout = waits_for_answers(traffic) ? (int)traffic->conf.stall_ms / 2 + 1 : -1;

	if (arm(traffic))
		sleep_until(traffic, timeout);
}

static void run(struct vdp_traffic *traffic)
{
	uint64_t idle_since = 0, now;
	uint32_t rounds = 0;

	while (!stopping(traffic)) {
		if (round_of(traffic, true)) {
			disarm(traffic);
			idle_since = 0;
			if (++rounds % LOOK_EVERY == 0)
				look_around(traffic, now_us());
			continue;
		}
		now = now_us();
		idle_since = idle_since ? idle_since : now;
		look_around(traffic, now);
		if (traffic->conf.poll_us != UINT32_MAX && now - idle_since >= traffic->conf.poll_us)
			go_to_sleep(traffic);
	}
}

static void drain(struct vdp_traffic *traffic)
{
	uint64_t end = now_us() + (uint64_t)traffic->conf.drain_ms * 1000;

	while (!all_drained(traffic) && now_us() < end)
		if (!round_of(traffic, false))
			usleep(50);
}

/* In its own function: nothing here is changed between sigsetjmp and the jump. */
static bool guarded_run(struct vdp_traffic *traffic)
{
	if (sigsetjmp(*vdp_guard_arm(), 0)) {
		vdp_guard_disarm();
		return false;
	}
	for (uint32_t i = 0; i < traffic->conf.pairs; i++)
		vdp_pair_begin(&traffic->pairs[i], now_us() / 1000);
	run(traffic);
	drain(traffic);
	vdp_guard_disarm();
	return true;
}

static void *thread_main(void *arg)
{
	struct vdp_traffic *traffic = arg;

	if (guarded_run(traffic))
		return NULL;
	for (uint32_t i = 0; i < traffic->conf.pairs; i++)
		traffic->stats[i].fault = VDP_DRIVER_MEMORY_GONE;
	look_around(traffic, now_us());
	return NULL;
}

static int watch(struct vdp_traffic *traffic, int fd, uint64_t data)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = data};

	return epoll_ctl(traffic->epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int init_events(struct vdp_traffic *traffic)
{
	int rc;

	traffic->epoll = epoll_create1(EPOLL_CLOEXEC);
	traffic->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	traffic->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (traffic->epoll < 0 || traffic->stop_fd < 0 || traffic->done_fd < 0)
		return -errno;
	rc = watch(traffic, traffic->stop_fd, UINT64_MAX);
	for (uint32_t i = 0; rc == 0 && i < traffic->conf.pairs; i++) {
		if (traffic->pairs[i].rx.driver)
			rc = watch(traffic, traffic->pairs[i].rx.call, 2 * i);
		if (rc == 0 && traffic->pairs[i].tx.driver)
			rc = watch(traffic, traffic->pairs[i].tx.call, 2 * i + 1);
	}
	return rc;
}

static int init_pairs(struct vdp_traffic *traffic, const struct vdp_traffic_conf *conf)
{
	traffic->conf = *conf;
	traffic->conf.together = conf->together ? conf->together : 1;
	traffic->stats = calloc(conf->pairs, sizeof(*traffic->stats));
	traffic->pairs = calloc(conf->pairs, sizeof(*traffic->pairs));
	if (!traffic->stats || !traffic->pairs)
		return -ENOMEM;
	for (uint32_t i = 0; i < conf->pairs; i++)
		if (vdp_pair_init(&traffic->pairs[i], &traffic->conf, i, &traffic->stats[i]) < 0)
			return -ENOMEM;
	return 0;
}

static bool ring_ok(const struct vdp_traffic_ring *ring, bool needed, uint32_t least)
{
	if (!ring->driver)
		return !needed;
	return ring->buffers && ring->stride >= least && ring->call >= 0 && ring->segments &&
	       ring->segments <= VDP_TRAFFIC_MAX_SEGMENTS;
}

/* Bytes to send at most, or 0 when these frames cannot be sent so. */
static uint32_t longest(const struct vdp_traffic_conf *conf, uint32_t largest)
{
	uint32_t together = conf->together ? conf->together : 1;
	uint32_t header = conf->header ? conf->header : VDP_TRAFFIC_HEADER;

	if (header != VDP_TRAFFIC_HEADER && header != VDP_TRAFFIC_HEADER_HASH)
		return 0;
	if (!conf->offload)
		return together > 1 ? 0 : header + largest;
	if (conf->offload > VDP_TRAFFIC_TSO || conf->mode == VDP_TRAFFIC_RECEIVE)
		return 0;
	if (together > 1 && (conf->offload != VDP_TRAFFIC_TSO || conf->size_count > 1))
		return 0;
	if (together > (VDP_FRAME_MAX - VDP_ENVELOPE) / largest)
		return 0;
	return header + VDP_ENVELOPE + together * largest;
}

static bool conf_ok(const struct vdp_traffic_conf *conf)
{
	uint32_t largest = VDP_FRAME_MIN, bytes;

	if (conf->mode > VDP_TRAFFIC_TRANSMIT || !conf->pairs || conf->pairs > VDP_TRAFFIC_MAX_PAIRS)
		return false;
	if (!conf->window || !conf->burst || conf->burst > VDP_TRAFFIC_MAX_BURST || !conf->size_count)
		return false;
	for (uint32_t i = 0; i < conf->size_count; i++) {
		if (conf->sizes[i] < VDP_FRAME_MIN || conf->sizes[i] > VDP_FRAME_MAX)
			return false;
		largest = conf->sizes[i] > largest ? conf->sizes[i] : largest;
	}
	bytes = longest(conf, largest);
	if (!bytes)
		return false;
	for (uint32_t i = 0; i < conf->pairs; i++) {
		if (!ring_ok(&conf->pair[i].rx, conf->mode != VDP_TRAFFIC_TRANSMIT, VDP_FRAME_MIN) ||
		    !ring_ok(&conf->pair[i].tx, conf->mode != VDP_TRAFFIC_RECEIVE, bytes))
			return false;
	}
	return true;
}

static int start_thread(struct vdp_traffic *traffic)
{
	int rc = -pthread_create(&traffic->thread, NULL, thread_main, traffic);
	cpu_set_t cpus;

	if (rc < 0)
		return rc;
	traffic->started = true;
	if (traffic->conf.cpu < 0)
		return 0;
	CPU_ZERO(&cpus);
	CPU_SET((uint32_t)traffic->conf.cpu, &cpus);
	return -pthread_setaffinity_np(traffic->thread, sizeof(cpus), &cpus);
}

int vdp_traffic_init(struct vdp_traffic **ret, const struct vdp_traffic_conf *conf)
{
	struct vdp_traffic *traffic;
	int rc;

	if (!conf_ok(conf))
		return -EINVAL;
	rc = vdp_guard_install();
	if (rc < 0)
		return rc;
	traffic = calloc(1, sizeof(*traffic));
	if (!traffic)
		return -ENOMEM;
	traffic->epoll = traffic->stop_fd = traffic->done_fd = -1;
	traffic->armed = true; /* rings start with calls wanted */
	rc = init_pairs(traffic, conf);
	if (rc == 0)
		rc = init_events(traffic);
	if (rc == 0)
		rc = start_thread(traffic);
	if (rc < 0) {
		vdp_traffic_fini(traffic);
		return rc;
	}
	*ret = traffic;
	return 0;
}

void vdp_traffic_stop(struct vdp_traffic *traffic)
{
	if (!traffic->started)
		return;
	__atomic_store_n(&traffic->stopping, true, __ATOMIC_RELAXED);
	signal_fd(traffic->stop_fd);
	pthread_join(traffic->thread, NULL);
	traffic->started = false;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

void vdp_traffic_fini(struct vdp_traffic *traffic)
{
	if (!traffic)
		return;
	vdp_traffic_stop(traffic);
	for (uint32_t i = 0; traffic->pairs && i < traffic->conf.pairs; i++)
		vdp_pair_fini(&traffic->pairs[i]);
	close_fd(traffic->epoll);
	close_fd(traffic->stop_fd);
	close_fd(traffic->done_fd);
	free(traffic->pairs);
	free(traffic->stats);
	free(traffic);
}

const struct vdp_traffic_stats *vdp_traffic_stats(const struct vdp_traffic *traffic, uint32_t pair)
{
	return pair < traffic->conf.pairs ? &traffic->stats[pair] : NULL;
}

uint64_t vdp_traffic_sleeps(const struct vdp_traffic *traffic)
{
	return traffic->sleeps;
}

int vdp_traffic_done_fd(const struct vdp_traffic *traffic)
{
	return traffic->done_fd;
}
